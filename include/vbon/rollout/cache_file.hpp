// vbon/rollout/cache_file.hpp
//
// One prompt of a reference cache, and its line in the file: reading any of the layouts, appending a line.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/io/bare_numbers.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/io/utf8.hpp"

namespace vbon::rollout {
/// M reference responses of one prompt.
struct CachedPrompt {
  std::string prompt;
  std::vector<std::string> text;              // [M]
  std::vector<double> reward;                 // [M]
  std::vector<std::vector<TokenId>> token;    // [M][length]; empty when the file holds texts only
  std::vector<std::vector<double>> log_prob;  // [M][length] nats under the law that was sampled; may be empty
  std::vector<std::uint8_t> finished;         // [M] 1: ended by itself
  io::Json sampler;                           // how the responses were drawn; null when unknown
  std::vector<double> sorted;                 // [M] rewards, ascending
  bool single_precision = false;              // every reward is a float: queries are rounded to float too

  Index samples() const { return static_cast<Index>(reward.size()); }
  /// A reward in the precision of the cache; otherwise equal rewards would tie or not at random.
  double rounded(double value) const { return single_precision ? static_cast<double>(static_cast<float>(value)) : value; }
  template <class = void>
  void sort() {
    sorted = reward;
    std::sort(sorted.begin(), sorted.end());
    single_precision =
        std::all_of(sorted.begin(), sorted.end(), [](double r) { return static_cast<double>(static_cast<float>(r)) == r; });
  }
};

/// The group of prompt p as a cache entry.
template <class = void>
CachedPrompt cached_prompt(const RolloutBatch& batch, Index p) {
  CachedPrompt entry;
  entry.prompt = batch.prompt[static_cast<std::size_t>(p)].text;
  const Index begin = batch.group_offset[static_cast<std::size_t>(p)];
  for (Index i = begin; i < begin + batch.samples(p); ++i) {
    const auto tokens = batch.response(i);
    entry.token.emplace_back(tokens.begin(), tokens.end());
    entry.text.push_back(batch.text.empty() ? std::string() : batch.text[static_cast<std::size_t>(i)]);
    entry.reward.push_back(batch.reward[i]);
    entry.finished.push_back(batch.finished.empty() ? std::uint8_t{1} : batch.finished[static_cast<std::size_t>(i)]);
    if (batch.old_log_prob.size() > 0) {
      const auto part = batch.old_log_prob.segment(batch.offset[static_cast<std::size_t>(i)], batch.length(i));
      entry.log_prob.emplace_back(part.begin(), part.end());
    }
  }
  entry.sort();
  return entry;
}

namespace detail {
template <class Json>
double reward_of(const Json& value, const std::string& prompt, std::size_t sample, const std::string& where) {
  const auto number = io::number_of(value);
  require<FormatError>(number || value == "nan" || value == "NaN", where, ": the reward of sample ", sample,
                       " must be a number");
  const double reward = number.value_or(NAN);
  require<DomainError>(!std::isnan(reward), ErrorCode{"nan_reward"}, where, ": the reward of sample ", sample,
                       " of the prompt '", io::excerpt(prompt), "' is NaN; remove that sample");
  return reward;
}

/// The entries of a list, each through io::json_as, which narrows nothing.
template <class T, class Json>
std::vector<T> entries_of(const Json& value, const std::string& where) {
  require<FormatError>(value.is_array(), where, " must be a list");
  std::vector<T> entries;
  entries.reserve(value.size());
  for (const Json& entry : value) entries.push_back(io::json_as<T>(entry, where));
  return entries;
}
/// The list under a key of the row, one entry for each sample.
template <class T, class Json>
std::vector<T> list_of(const Json& row, const char* key, std::size_t count, const std::string& where) {
  const Json& value = row.at(key);
  require<FormatError>(value.is_array() && value.size() == count, where, ": \"", key, "\" must be a list of ", count,
                       " entries");
  const std::string place = message(where, ": \"", key, "\"");
  if constexpr (std::is_same_v<T, std::string> || std::is_arithmetic_v<T>) {
    return entries_of<T>(value, place);
  } else {
    std::vector<T> lists;
    for (std::size_t m = 0; m < count; ++m)
      lists.push_back(entries_of<typename T::value_type>(value[m], message(place, " of sample ", m)));
    return lists;
  }
}
/// 0 and 1, or false and true, for each sample.
template <class Json>
std::vector<std::uint8_t> flags_of(const Json& value, std::size_t count, const std::string& where) {
  require<FormatError>(value.is_array() && value.size() == count, where, ": \"finished\" must be a list of ", count,
                       " entries");
  std::vector<std::uint8_t> flags;
  for (const Json& flag : value) {
    require<FormatError>(flag.is_boolean() || flag == 0 || flag == 1, where, ": \"finished\": 0 or 1 expected, got ",
                         flag.dump(-1, ' ', true));
    flags.push_back(flag == true || flag == 1 ? 1 : 0);
  }
  return flags;
}
}  // namespace detail

/// One line of the grouped layout.
template <class Json>
CachedPrompt parse_cached_prompt(const Json& row, const std::string& where) {
  CachedPrompt entry;
  require<FormatError>(row.contains("rewards") && row["rewards"].is_array(), where, ": a list under \"rewards\" expected");
  require<FormatError>(!row["rewards"].empty(), ErrorCode{"empty_cache"}, where,
                       ": at least one reward expected, the list is empty");
  entry.prompt = row["prompt"].template get<std::string>();
  // Rewards alone are enough for an empirical CDF.
  const bool texts = row.contains("responses");
  require<FormatError>(!texts || row["responses"].is_array(), where, ": a list under \"responses\" expected");
  const std::size_t count = row[texts ? "responses" : "rewards"].size();
  if (texts) entry.text = detail::list_of<std::string>(row, "responses", count, where);
  require<FormatError>(row["rewards"].size() == count, where, ": ", count, " responses but ", row["rewards"].size(),
                       " rewards");
  for (std::size_t m = 0; m < count; ++m)
    entry.reward.push_back(detail::reward_of(row["rewards"][m], entry.prompt, m, where));
  if (row.contains("tokens")) {
    entry.token = detail::list_of<std::vector<TokenId>>(row, "tokens", count, where);
    for (std::size_t m = 0; m < count; ++m)
      for (const TokenId token : entry.token[m])
        require<FormatError>(token >= 0, where, ": \"tokens\" of sample ", m, ": a token id >= 0 expected, got ", token);
    entry.finished =
        row.contains("finished") ? detail::flags_of(row["finished"], count, where) : std::vector<std::uint8_t>(count, 0);
    if (row.contains("log_probs")) {
      entry.log_prob = detail::list_of<std::vector<double>>(row, "log_probs", count, where);
      for (std::size_t m = 0; m < count; ++m)
        require<FormatError>(entry.log_prob[m].size() == entry.token[m].size(), where, ": sample ", m, " has ",
                             entry.token[m].size(), " tokens but ", entry.log_prob[m].size(), " log-probs");
    }
  }
  if (const Json* sampler = io::json_find(row, "sampler")) {
    require<FormatError>(sampler->is_object(), where, ": an object of settings under \"sampler\" expected, got ",
                         sampler->is_primitive() ? sampler->dump(-1, ' ', true) : sampler->type_name());
    entry.sampler = *sampler;
  }
  entry.sort();
  return entry;
}

/// Reads a cache file of any layout. With `allow_cut_last_line` a last line that a killed run left unfinished is
/// passed over; without, it is an error like any other broken line.
/// @throws FormatError naming line and key, DomainError nan_reward, RunError
template <class Json = io::Json>
std::vector<CachedPrompt> read_cache_file(const std::filesystem::path& path, bool allow_cut_last_line) {
  std::vector<CachedPrompt> entries;
  std::unordered_map<std::string, std::size_t> by_prompt;  // for the layout of one response per line
  const auto visit = [&](const Json& row, std::size_t line) {
    const std::string where = message(path.string(), " line ", line);
    require<FormatError>(row.is_object() && row.contains("prompt") && row["prompt"].is_string(), where,
                         ": a text under \"prompt\" expected");
    if (row.contains("responses") || row.contains("rewards")) {
      entries.push_back(parse_cached_prompt(row, where));
      return;
    }
    require<FormatError>(row.contains("text") && row["text"].is_string(), where,
                         ": a text under \"text\", or lists under \"responses\" and \"rewards\" expected");
    require<FormatError>(row.contains("reward"), where, ": \"reward\" is missing");
    const auto prompt = row["prompt"].template get<std::string>();
    const auto [place, fresh] = by_prompt.try_emplace(prompt, entries.size());
    if (fresh) entries.emplace_back().prompt = prompt;
    CachedPrompt& entry = entries[place->second];
    entry.reward.push_back(detail::reward_of(row["reward"], prompt, entry.reward.size(), where));
    entry.text.push_back(row["text"].template get<std::string>());
  };
  const io::MappedFile file(path);
  const bool python =
      file.text().find("NaN") != std::string_view::npos || file.text().find("Infinity") != std::string_view::npos;
  const std::string rewritten = python ? io::quote_bare_numbers(file.text()) : std::string();
  io::parse_jsonl(python ? std::string_view(rewritten) : file.text(), path.string(), visit,
                  {.allow_cut_last_line = allow_cut_last_line});
  for (auto& entry : entries) entry.sort();
  return entries;
}

/// @throws DomainError sampler_mismatch, naming the setting that differs
template <class Json>
void require_same_sampler(const CachedPrompt& entry, const Json& sampler, const std::filesystem::path& path) {
  if (sampler.is_null() || entry.sampler.is_null()) return;
  for (const auto& [key, value] : sampler.items()) {
    const Json held = entry.sampler.value(key, Json());
    require<DomainError>(held == value, ErrorCode{"sampler_mismatch"}, path.string(), ": drawn with ", key, " = ",
                         held.dump(), ", now ", key, " = ", value.dump(), "; use the same setting or another file");
  }
}

/// The line of a prompt.
template <class Json = io::Json>
Json cache_row(const CachedPrompt& entry) {
  Json row = {{"prompt", entry.prompt}, {"responses", entry.text}, {"tokens", entry.token}, {"finished", entry.finished}};
  row["rewards"] = Json::array();
  for (const double r : entry.reward) row["rewards"].push_back(io::json_of(r));
  if (!entry.log_prob.empty()) row["log_probs"] = entry.log_prob;
  if (!entry.sampler.is_null()) row["sampler"] = entry.sampler;
  return row;
}
}  // namespace vbon::rollout
