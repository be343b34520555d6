#include "align_data.hpp"

#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "vbon/core/hash.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/rollout/snippets.hpp"

namespace vbon::program {
namespace {
struct SnippetData {
  rollout::SnippetSplit split;
  SnippetData()
      : split(rollout::split_snippets(
            rollout::load_snippets(cached("snippets/movieReviewSnippets_GroundTruth.txt", "--prompts and --reward")))) {}
};

/// The sentiment head: trained on the reward part of the snippets, judged on the held-out part, kept in the run.
reward::Any sentiment(const SnippetData& data, const std::filesystem::path& folder, const Common& common,
                      const std::function<void(const std::string&)>& stage, std::string& summary) {
  const auto quality = folder / "quality.json";
  const auto encoder = cached("minilm", "--reward");
  if (!std::filesystem::exists(quality)) {
    stage("train reward");
    const auto columns = [](const std::vector<rollout::Snippet>& snippets) {
      ScoredTexts out;
      for (const auto& snippet : snippets) out.texts.push_back(snippet.text), out.scores.push_back(snippet.score);
      return out;
    };
    const auto q = train_reward(encoder, columns(data.split.reward_train), columns(data.split.held_out), folder);
    const nlohmann::ordered_json json = {{"trained_on", q.trained_on},
                                         {"judged_on", q.judged_on},
                                         {"sign_accuracy", q.sign_accuracy},
                                         {"pearson", q.pearson},
                                         {"spearman", q.spearman}};
    io::write_file_atomically(quality, json.dump(1) + "\n");
  }
  const auto json = io::read_json(quality);
  const auto number = [&](const char* key) { return io::json_get<double>(json, key, quality.string()); };
  summary += message("reward: sentiment head, trained on ", number("trained_on"), " snippets; on ", number("judged_on"),
                     " unseen ones sign accuracy ");
  char figures[96];
  std::snprintf(figures, sizeof(figures), "%.3f, Pearson %.3f, Spearman %.3f\n", number("sign_accuracy"), number("pearson"),
                number("spearman"));
  summary += figures;
  return open_reward("encoder_head:" + folder.string(), common);
}

/// The first `count` prompts of a file, with a word about what is left out.
void cut(std::vector<Prompt>& prompts, Index count, const std::string& file, const char* flag, const Common& common) {
  const auto given = static_cast<Index>(prompts.size());
  if (given <= count) return;
  remark(common, message(file, ": ", count, " of ", given, " prompts are used; to use more, raise ", flag));
  prompts.resize(static_cast<std::size_t>(count));
}
/// Prompts of one file that also stand in the other would make the held-out figures a report on the training set.
void require_disjoint(const std::vector<Prompt>& training, const std::vector<Prompt>& held_out) {
  std::unordered_map<std::string_view, std::uint64_t> seen;
  for (const auto& prompt : training) seen.emplace(prompt.text, prompt.id);
  for (const auto& prompt : held_out)
    require<ConfigError>(!seen.contains(prompt.text), "held-out prompt ", prompt.id, " ('", io::excerpt(prompt.text),
                         "') is a training prompt too; remove it from --evaluation-prompts");
}
/// Each prompt of the pairs once, in their order.
std::vector<Prompt> prompts_of(const std::vector<Preference>& pairs) {
  std::vector<Prompt> prompts;
  std::unordered_set<std::string_view> seen;
  for (const auto& pair : pairs)
    if (seen.insert(pair.prompt.text).second) prompts.push_back(pair.prompt);
  return prompts;
}
void keep_pairs_of(const std::vector<Prompt>& prompts, std::vector<Preference>& pairs) {
  std::unordered_set<std::string_view> kept;
  for (const auto& prompt : prompts) kept.insert(prompt.text);
  std::erase_if(pairs, [&](const Preference& pair) { return !kept.contains(pair.prompt.text); });
}
}  // namespace

AlignData prepare_data(const AlignOptions& o, train::RunFolder& run, const Policy& policy,
                       const std::function<void(const std::string&)>& stage) {
  AlignData data;
  std::optional<SnippetData> snippets;
  const bool own_prompts = !o.prompts.empty() || !o.pairs.empty();
  if (o.reward.empty() || !own_prompts) snippets.emplace();
  if (!own_prompts) {
    data.training = rollout::snippet_prompts(snippets->split.policy_train, o.training_prompts);
    data.held_out = rollout::snippet_prompts(snippets->split.held_out, o.evaluation_count, data.training);
    for (auto* prompts : {&data.training, &data.held_out})
      for (auto& prompt : *prompts) prompt = policy.encoded(prompt.text, prompt.id);
  } else {
    if (o.pairs.empty()) {
      data.training = distinct(policy.load_prompts(o.prompts), o.prompts, o.common);
    } else {
      data.pairs = policy.load_preferences(o.pairs);
      data.training = prompts_of(data.pairs);
    }
    if (o.evaluation_prompts.empty()) {
      for (const auto& prompt : data.training)
        if (stable_hash(prompt.text) % 5 == 0) data.held_out.push_back(prompt);
      std::erase_if(data.training, [](const Prompt& prompt) { return stable_hash(prompt.text) % 5 == 0; });
      require<ConfigError>(!data.held_out.empty() && !data.training.empty(), o.prompts + o.pairs,
                           " has too few prompts to hold some out; give --evaluation-prompts");
    }
  }
  if (!o.evaluation_prompts.empty()) {
    data.held_out = distinct(policy.load_prompts(o.evaluation_prompts), o.evaluation_prompts, o.common);
    require_disjoint(data.training, data.held_out);
  }
  const auto all_pairs = data.pairs.size();
  cut(data.training, o.training_prompts, o.prompts + o.pairs, "--training-prompts", o.common);
  keep_pairs_of(data.training, data.pairs);
  if (data.pairs.size() < all_pairs)
    remark(o.common, message(o.pairs, ": ", data.pairs.size(), " of ", all_pairs,
                             " pairs are learnt from, those of the training prompts"));
  cut(data.held_out, o.evaluation_count, o.evaluation_prompts.empty() ? o.prompts + o.pairs : o.evaluation_prompts,
      "--evaluation-count", o.common);
  policy.require_room(data.training);
  policy.require_room(data.held_out);
  if (!o.reward.empty()) data.reward = open_reward(o.reward, o.common);
  run.begin();  // all that was named is there
  if (o.reward.empty()) data.reward = sentiment(*snippets, run.path() / "reward", o.common, stage, data.summary);
  data.summary +=
      message(data.training.size(), " training prompts, ", o.pairs.empty() ? "" : message(data.pairs.size(), " pairs, "),
              data.held_out.size(), " held out; best of ", o.n);
  const std::string name =
      o.model.empty() ? "SmolLM2-135M-Instruct" : std::filesystem::path(o.model).lexically_normal().filename().string();
  data.title = message(name, ", aligned to the best of ", o.n);
  return data;
}
}  // namespace vbon::program
