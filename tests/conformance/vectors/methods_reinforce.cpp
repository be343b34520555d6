// methods/reinforce.json: KL-shaped rewards and four baselines.
#include "support/method_vectors.hpp"
#include "vbon/objective/reinforce.hpp"

namespace vbon::test {
namespace {
template <Baseline B>
Json advantages(const RolloutBatch& batch, double beta, const B& baseline) {
  const objective::Reinforce<B> rule{.beta = beta, .baseline = baseline};
  const ObjectiveResult result = rule(batch);
  const Array score = rule.score(batch);
  return {{"shaped_rewards", grouped_json(batch, score)},
          {"advantages", grouped_json(batch, score - baseline(batch, score))},
          {"dloss_dlogp", grouped_json(batch, result.dlog_prob)}};
}

const MethodVectors reinforce("reinforce", [](const std::string&, const Json& params, const Json& input) {
  RolloutBatch batch = one_token_batch(input["rewards"]);
  batch.reward = flattened(input["rewards"]);
  batch.log_prob = flattened(input["logp"]);
  batch.ref_log_prob = flattened(input["ref_logp"]);
  const double beta = params["beta"];
  const auto baseline = params["baseline"].get<std::string>();
  if (baseline == "none") return advantages(batch, beta, objective::NoBaseline{});
  if (baseline == "batch_mean") return advantages(batch, beta, objective::BatchMean{});
  if (baseline == "group_mean") return advantages(batch, beta, objective::GroupMean{});
  const double value = params["ema_value"];
  Json out = advantages(batch, beta, objective::FixedBaseline{value});
  out["ema_value_after"] = objective::moving_average(value, params["ema_decay"], flattened(out["shaped_rewards"]));
  return out;
});
}  // namespace
}  // namespace vbon::test
