// methods/rloo.json: leave-one-out advantages, optionally normalised over the batch.
#include "support/method_vectors.hpp"
#include "vbon/objective/reinforce.hpp"

namespace vbon::test {
namespace {
const MethodVectors rloo("rloo", [](const std::string&, const Json& params, const Json& input) -> Json {
  RolloutBatch batch = one_token_batch(input["rewards"]);
  batch.reward = flattened(input["rewards"]);
  batch.log_prob = flattened(input["logp"]);
  batch.ref_log_prob = flattened(input["ref_logp"]);
  const objective::Rloo rule{.beta = params["beta"], .normalize = params["normalize"], .epsilon = params["eps"]};
  const ObjectiveResult result = rule(batch);
  return {{"shaped_rewards", grouped_json(batch, objective::shaped_reward("rloo", batch, batch.reward, rule.beta))},
          {"advantages", grouped_json(batch, -static_cast<double>(batch.responses()) * result.dlog_prob)},
          {"dloss_dlogp", grouped_json(batch, result.dlog_prob)}};
});
}  // namespace
}  // namespace vbon::test
