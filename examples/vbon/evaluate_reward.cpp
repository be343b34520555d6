// vbon evaluate-reward: how well a reward tells good responses from bad ones.
#include "models.hpp"
#include "vbon/eval/rmb_data.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::program {
namespace {
struct EvaluateRewardOptions {
  Common common;
  std::string reward, data;
};

int evaluate_reward(const EvaluateRewardOptions& o) {
  begin(o.common);
  require<ConfigError>(!o.reward.empty(), "--reward is missing; ", reward_help);
  require<ConfigError>(!o.data.empty(), "--data is missing; see 'vbon evaluate-reward --help'");
  const auto lines = eval::read_judged_lines(o.data);
  remark_bf16(o.common, false);
  const reward::Any reward = open_reward(o.reward, o.common);
  RolloutBatch batch = eval::judged_batch(lines);
  rollout::score(reward, batch);
  const auto accuracy = eval::reward_accuracy(lines, batch.reward);
  nlohmann::ordered_json json;
  if (accuracy.pairs > 0)
    json["pairwise"] = {{"pairs", accuracy.pairs},
                        {"accuracy", accuracy.pairwise.accuracy},
                        {"accuracy_half_ties", accuracy.pairwise.accuracy_half_ties},
                        {"mean_margin", io::json_of(accuracy.pairwise.mean_margin)}};
  if (accuracy.tuples > 0) {
    auto& best = json["best_of_n"] = {{"tuples", accuracy.tuples},
                                      {"accuracy", accuracy.best_of_n.accuracy},
                                      {"macro_accuracy", accuracy.best_of_n.macro_accuracy},
                                      {"pairwise_accuracy", accuracy.best_of_n.pairwise_accuracy}};
    for (const auto& [number, value] : accuracy.best_of_n.by_category)
      best["by_category"][accuracy.category[static_cast<std::size_t>(number)]] = value;
  }
  print_line(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return 0;
}
}  // namespace

void add_evaluate_reward(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("evaluate-reward", "How often a reward prefers the better response (RMB)");
  auto o = std::make_shared<EvaluateRewardOptions>();
  c->footer(
      "A pair counts when chosen scores above rejected, a tuple when the best scores above every loser (a tie is wrong).\n"
      "The lines of RMB (conversation_input, bon_best, loser_list, ...) are read as well; its files are JSON lists:\n"
      "         jq -c '.[]' RMB/BoN_set/Helpfulness/*/*.json > rmb.jsonl\n"
      "Example: vbon evaluate-reward --reward classifier:my-reward-model --data pairs.jsonl");
  c->add_option("--reward", o->reward, reward_help);
  c->add_option(
      "--data", o->data,
      "JSON lines {\"prompt\", \"chosen\", \"rejected\"} or {\"prompt\", \"best\", \"losers\": [...]}, each with an "
      "optional \"category\"");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return evaluate_reward(*o); }; });
}
}  // namespace vbon::program
