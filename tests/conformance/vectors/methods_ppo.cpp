// methods/ppo.json: token rewards, GAE, clipped losses, the adaptive KL weight.
#include "support/method_vectors.hpp"
#include "vbon/objective/ppo.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Json token_rewards(const Json& params, const Json& input) {
  const Json& mask = input["mask"];
  RolloutBatch batch = masked_batch(mask);
  batch.old_log_prob = valid_values(input["logp"], mask);
  batch.ref_log_prob = valid_values(input["ref_logp"], mask);
  const auto estimator = option<KlEstimator>(params["estimator"]);
  Array kl(batch.tokens());
  for (Index t = 0; t < kl.size(); ++t) kl[t] = kl_estimate(estimator, batch.old_log_prob[t] - batch.ref_log_prob[t]);
  const Array reward = shaped_token_reward("ppo", batch, to_array(input["scores"]), params["beta"], estimator);
  return {{"rewards", padded_json(reward, mask)}, {"sequence_kl", to_json(per_response(batch, kl))}};
}

Json gae_of(const Json& params, const Json& input) {
  const Json& mask = input["mask"];
  const RolloutBatch batch = masked_batch(mask);
  const Array value = valid_values(input["values"], mask);
  const Array raw = gae(batch, valid_values(input["rewards"], mask), value, {params["gamma"], params["lambda"]});
  const Array advantage = params["whiten"].get<bool>() ? whitened(raw, params["eps"]) : raw;
  return {{"advantages", padded_json(advantage, mask)}, {"returns", padded_json(raw + value, mask)}};
}

Json clipped_losses(const Json& params, const Json& input) {
  const Json& mask = input["mask"];
  const auto valid = [&](const char* field) { return valid_values(input[field], mask); };
  const Array log_prob = valid("logp"), old_log_prob = valid("old_logp"), advantage = valid("advantages"),
              value = valid("values"), old_value = valid("old_values"), returns = valid("returns");
  const Array weight = Array::Constant(log_prob.size(), 1.0 / static_cast<double>(log_prob.size()));
  const ObjectiveResult result = ppo_loss({log_prob, old_log_prob, advantage, value, old_value, returns, weight},
                                          {params["clip"], params["clip_value"], params["vf_coef"]});
  return {{"loss", result.loss},
          {"policy_loss", metric(result, "policy_loss")},
          {"value_loss", metric(result, "value_loss")},
          {"clip_fraction", metric(result, "clip_fraction")},
          {"dloss_dlogp", padded_json(result.dlog_prob, mask)},
          {"dloss_dvalue", padded_json(result.dvalue, mask)}};
}

const MethodVectors ppo_file("ppo", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "kl_rewards") return token_rewards(params, input);
  if (kind == "gae") return gae_of(params, input);
  if (kind == "loss") return clipped_losses(params, input);
  return {{"coef",
           adapted_kl_weight(input["coef"], input["current_kl"], params["target"], params["horizon"], input["n_steps"])}};
});
}  // namespace
}  // namespace vbon::test
