// vbon/rollout/reference_cache.hpp
//
// M responses of the reference policy and their rewards for every prompt: drawn once, used by every step of
// every method. Kept as JSON Lines, one prompt per line:
//
//   {"prompt": ..., "responses": [...], "rewards": [...], "tokens": [[...]], "log_probs": [[...]],
//    "finished": [...], "sampler": {...}}
//
// A line is written when its prompt is done, so a killed run loses at most the prompts in flight and goes on
// where it stopped; a line cut in the middle is dropped. Two published layouts are read as well: the first three
// keys alone, and one {"prompt", "text", "reward"} per line with the lines of a prompt in any order.
#pragma once
#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/rollout/cache_file.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::rollout {
struct CacheOptions {
  Index samples = 32;                                          // M responses per prompt
  RngKey key = {};                                             // draws depend on (key, prompt id, sample) alone
  io::Json sampler = {};                                       // how responses are drawn; a cache drawn otherwise is refused
  std::filesystem::path file = {};                             // where it is kept; empty: in memory only
  Index batch = 128;                                           // responses drawn together
  std::function<bool(Index done, Index total)> progress = {};  // after every batch; false stops (RunError "stopped")
};

/// Reference responses by prompt text.
class ReferenceCache {
 public:
  ReferenceCache() = default;
  template <class = void>
  explicit ReferenceCache(std::vector<CachedPrompt> entries) {
    for (auto& entry : entries) add(std::move(entry));
  }
  /// Draws what the file does not hold yet.
  /// @throws DomainError sampler_mismatch (the file was drawn otherwise), nan_reward; RunError (I/O, stopped)
  template <Policy P, Reward R>
  ReferenceCache(P& reference, const R& reward, std::span<const Prompt> prompts, const CacheOptions& options) {
    fill(reference, reward, prompts, options);
  }

  /// Reads a file in any of the layouts.
  /// @throws FormatError (line and key), DomainError nan_reward, empty_cache, RunError
  template <class = void>
  static ReferenceCache load(const std::filesystem::path& path) {
    ReferenceCache cache(read_cache_file(path, false));
    require<DomainError>(!cache.entries_.empty(), ErrorCode{"empty_cache"}, path.string(),
                         ": no reference response in the file");
    return cache;
  }

  const std::vector<CachedPrompt>& entries() const { return entries_; }
  Index prompts() const { return static_cast<Index>(entries_.size()); }
  bool contains(const std::string& prompt) const { return index_.contains(prompt); }

  /// @throws DomainError unknown_prompt
  template <class = void>
  const CachedPrompt& find(const std::string& prompt) const {
    const auto found = index_.find(prompt);
    require<DomainError>(found != index_.end(), ErrorCode{"unknown_prompt"},
                         "the reference cache does not hold the prompt '", io::excerpt(prompt),
                         "'; draw its references first");
    return entries_[found->second];
  }
  /// Rewards of a prompt's reference samples, ascending.
  template <class = void>
  std::span<const double> sorted(const std::string& prompt) const {
    return find(prompt).sorted;
  }

  /// Gives tokens to responses that came as text alone, so that a policy can score and train on them.
  template <class = void>
  void tokenize(const std::function<std::vector<TokenId>(const std::string& prompt, const std::string& response)>& encode) {
    for (auto& entry : entries_) {
      if (!entry.token.empty()) continue;
      for (const auto& text : entry.text) entry.token.push_back(encode(entry.prompt, text));
      entry.finished.assign(entry.text.size(), 0);
      entry.log_prob.clear();
    }
  }

  /// The cached responses of some prompts as a batch: tokens, text, reward, weight 1/M, ref_reward, and
  /// ref_log_prob and old_log_prob where the cache holds log-probs. `choose(p)` lists the samples to take.
  /// @throws DomainError unknown_prompt, empty_response; ConfigError when responses have no tokens
  template <class = void>
  RolloutBatch batch(std::span<const Prompt> prompts,
                     const std::function<std::vector<Index>(Index p, const CachedPrompt&)>& choose = {}) const;

  /// Fills ref_reward, log_cdf, log_tie and log_cdf_le of freshly sampled responses.
  template <class = void>
  void annotate(RolloutBatch& batch, const AnyCdf& cdf) const {
    prepare(batch);
    for_each(batch, [&](Index i, const CachedPrompt& entry) {
      store(batch, i, cdf(entry.sorted, entry.rounded(batch.reward[i])));
    });
  }
  /// The same for responses that are themselves in the cache: each is left out of its own reference sample.
  /// @throws DomainError empty_cache where a prompt has one response only
  template <class = void>
  void annotate_left_out(RolloutBatch& batch, const AnyCdf& cdf) const {
    prepare(batch);
    std::vector<double> others;
    for_each(batch, [&](Index i, const CachedPrompt& entry) {
      others.assign(entry.sorted.begin(), entry.sorted.end());
      const double reward = entry.rounded(batch.reward[i]);
      const auto self = std::lower_bound(others.begin(), others.end(), reward);
      require<DomainError>(self != others.end() && *self == reward, ErrorCode{"unknown_prompt"},
                           "annotate_left_out: response ", i, " is not in the cache");
      others.erase(self);
      store(batch, i, cdf(others, reward));
    });
  }

 private:
  template <Policy P, Reward R>
  void fill(P& reference, const R& reward, std::span<const Prompt> prompts, const CacheOptions& options);

  template <class = void>
  void add(CachedPrompt entry) {
    require<DomainError>(!entry.reward.empty(), ErrorCode{"empty_cache"}, "no reference response for the prompt '",
                         io::excerpt(entry.prompt), "'");
    if (entry.sorted.empty()) entry.sort();
    const auto [where, fresh] = index_.try_emplace(entry.prompt, entries_.size());
    if (fresh)
      entries_.push_back(std::move(entry));
    else
      entries_[where->second] = std::move(entry);
  }
  template <class = void>
  void prepare(RolloutBatch& batch) const {
    require<ShapeError>(batch.reward.size() == batch.responses(), "annotate: a reward for each of ", batch.responses(),
                        " responses expected, got ", batch.reward.size());
    batch.ref_reward.clear();
    for (const auto& prompt : batch.prompt) batch.ref_reward.push_back(find(prompt.text).sorted);
    for (Array* field : {&batch.log_cdf, &batch.log_tie, &batch.log_cdf_le}) field->resize(batch.responses());
  }
  template <class F>
  void for_each(const RolloutBatch& batch, const F& f) const {
    for (Index p = 0; p < batch.prompts(); ++p) {
      const CachedPrompt& entry = find(batch.prompt[static_cast<std::size_t>(p)].text);
      const auto begin = batch.group_offset[static_cast<std::size_t>(p)];
      for (Index i = begin; i < begin + batch.samples(p); ++i) f(i, entry);
    }
  }
  static void store(RolloutBatch& batch, Index i, const bon::CdfEstimate& s) {
    batch.log_cdf[i] = s.log_cdf;
    batch.log_tie[i] = s.log_tie;
    batch.log_cdf_le[i] = s.log_cdf_le;
  }

  std::vector<CachedPrompt> entries_;
  std::unordered_map<std::string, std::size_t> index_;
};

template <class>
RolloutBatch ReferenceCache::batch(std::span<const Prompt> prompts,
                                   const std::function<std::vector<Index>(Index p, const CachedPrompt&)>& choose) const {
  RolloutBatch out;
  std::vector<double> reward, log_prob;
  bool has_log_prob = true;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    const CachedPrompt& entry = find(prompts[p].text);
    require<ConfigError>(
        entry.token.size() == entry.reward.size(),
        "the cached responses carry no tokens; give them the policy's tokens first (ReferenceCache::tokenize)");
    out.add_prompt(prompts[p]);
    std::vector<Index> chosen;
    if (choose)
      chosen = choose(static_cast<Index>(p), entry);
    else
      for (Index m = 0; m < entry.samples(); ++m) chosen.push_back(m);
    for (const Index m : chosen) {
      const auto s = static_cast<std::size_t>(m);
      require<DomainError>(!entry.token[s].empty(), ErrorCode{"empty_response"}, "response ", m, " of the prompt '",
                           io::excerpt(entry.prompt), "' has no token; remove it from the cache");
      out.add_response(entry.token[s], entry.finished[s] != 0);
      out.text.push_back(entry.text.empty() ? std::string() : entry.text[s]);
      reward.push_back(entry.reward[s]);
      if (entry.log_prob.empty())
        has_log_prob = false;
      else
        log_prob.insert(log_prob.end(), entry.log_prob[s].begin(), entry.log_prob[s].end());
    }
    out.ref_reward.push_back(entry.sorted);
  }
  const auto to_array = [](const std::vector<double>& values) {
    return Array(Eigen::Map<const Array>(values.data(), static_cast<Index>(values.size())));
  };
  out.reward = to_array(reward);
  out.weight = uniform_weight(out);
  if (has_log_prob) out.ref_log_prob = out.old_log_prob = to_array(log_prob);
  return out;
}

template <Policy P, Reward R>
void ReferenceCache::fill(P& reference, const R& reward, std::span<const Prompt> prompts, const CacheOptions& options) {
  require<ConfigError>(options.samples >= 1, "ReferenceCache: samples >= 1 expected, got ", options.samples);
  if (!options.file.empty() && std::filesystem::exists(options.file))
    for (auto& entry : read_cache_file(options.file, true)) {
      require_same_sampler(entry, options.sampler, options.file);
      if (entry.samples() == options.samples && !entry.token.empty()) add(std::move(entry));
    }
  std::vector<Prompt> missing;
  std::unordered_map<std::string, bool> seen;
  for (const auto& prompt : prompts)
    if (!contains(prompt.text) && !std::exchange(seen[prompt.text], true)) missing.push_back(prompt);
  std::optional<io::JsonlWriter> file;
  if (!options.file.empty()) file.emplace(options.file);
  const std::size_t step = static_cast<std::size_t>(std::max<Index>(1, options.batch / options.samples));
  const Index total = static_cast<Index>(prompts.size());
  Index done = total - static_cast<Index>(missing.size());
  for (std::size_t first = 0; first < missing.size(); first += step) {
    const auto part = std::span(missing).subspan(first, std::min(step, missing.size() - first));
    const RolloutBatch batch = collect(reference, reward, part, options.samples, options.key);
    for (std::size_t p = 0; p < part.size(); ++p) {
      CachedPrompt entry = cached_prompt(batch, static_cast<Index>(p));
      entry.sampler = options.sampler;
      if (file) file->append(cache_row(entry));
      add(std::move(entry));
    }
    done += static_cast<Index>(part.size());
    if (options.progress && !options.progress(done, total) && done < total)
      throw RunError(message("stopped after ", done, " of ", total, " prompts of the reference cache"),
                     ErrorCode{"stopped"});
  }
}
}  // namespace vbon::rollout
