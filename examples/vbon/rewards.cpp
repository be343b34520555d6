#include "models.hpp"
#include "vbon/reward/agreement.hpp"
#include "vbon/reward/registry.hpp"

namespace vbon::program {
const char* const reward_help =
    "what to reward, as NAME or NAME:ARGUMENT: length or length:WORDS (near that many), lexicon:FILE (word<TAB>score "
    "lines), "
    "table:FILE (rewards by text), encoder_head:FOLDER (as align keeps it), classifier:FOLDER (a Hugging Face "
    "sequence classifier; classifier:FOLDER,label=NAME_OR_NUMBER where it has several labels), process:COMMAND (for "
    "/bin/sh; it reads lines {\"id\": 7, \"prompt\": ..., \"response\": ...} and "
    "writes for each, "
    "flushed and in any order, a line {\"id\": 7, \"reward\": 0.5}; see README)";

reward::Any open_reward(const std::string& spec, const Common& common) {
  const auto [name, argument] = name_and_argument(spec);
  if (common.reward_bf16 && !reward::is_network(name))
    remark(common, message("--reward-bf16: the reward ", name, " is no network and stays as it is"));
  return reward::open(name, argument,
                      {.process = {.timeout = common.reward_timeout, .stop = stop_requested},
                       .precision = common.reward_bf16 ? kernel::Precision::bfloat16 : kernel::Precision::float32});
}

std::string list_rewards() { return known_names<reward::Rewards>(); }

RewardQuality train_reward(const std::filesystem::path& encoder, const ScoredTexts& training, const ScoredTexts& unseen,
                           const std::filesystem::path& folder) {
  reward::EncoderHead head(std::make_shared<const reward::SentenceEncoder>(reward::SentenceEncoder::load(encoder)));
  head.train(training.texts, training.scores);
  const Array predicted = head.score(unseen.texts);
  const auto agreement = reward::agreement({predicted.data(), static_cast<std::size_t>(predicted.size())}, unseen.scores);
  head.save(folder);
  return {static_cast<Index>(training.texts.size()), static_cast<Index>(unseen.texts.size()), agreement.sign_accuracy,
          agreement.pearson, agreement.spearman};
}
}  // namespace vbon::program
