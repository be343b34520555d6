// methods/bond.json: quantiles and the backward signal, the exact divergence, iterated best-of-n.
#include "support/method_vectors.hpp"
#include "vbon/objective/annotate.hpp"
#include "vbon/objective/bond.hpp"
#include "vbon/objective/quantile.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Json backward(const Json& params, const Json& input) {
  RolloutBatch batch = one_group(input["rewards"].size());
  batch.reward = to_array(input["rewards"]);
  batch.log_prob = to_array(input["logp"]);
  batch.ref_log_prob = to_array(input["ref_logp"]);
  batch.ref_reward = {numbers(input["ref_rewards"])};
  std::sort(batch.ref_reward[0].begin(), batch.ref_reward[0].end());
  annotate(batch, bon::AddOne{});
  const double n = params["N"];
  Json floored = Json::array(), plus_one = Json::array();
  for (const double r : batch.reward) {
    floored.push_back(floored_quantile(batch.ref_reward[0], r));
    plus_one.push_back(plus_one_quantile(batch.ref_reward[0], r));
  }
  // beta = 1: only the backward part remains, so no reference stream is read.
  const Bond<GroupMean> mean{.n = n, .beta = 1};
  const Bond<LeaveOneOut> loo{.n = n, .beta = 1};
  const Array score = mean.score(batch);
  const auto responses = static_cast<double>(batch.responses());
  Streams streams;
  streams.policy = batch;
  Json out = {{"quantile_floor", floored},
              {"quantile_plus_one", plus_one},
              {"r_bond", to_json(batch.log_cdf_le)},
              {"beta_bond", 1 / (n - 1)},
              {"signal", to_json(score)},
              {"advantages_batch_mean", to_json(Array(-responses * mean(streams).policy))}};
  if (batch.responses() > 1) out["advantages_loo"] = to_json(Array(-responses * loo(streams).policy));
  return out;
}

Json exact(const Json& params, const Json& input) {
  const auto probability = numbers(input["probs"]), reward = numbers(input["rewards"]);
  const bon::Law policy = bon::tilted_law(std::vector<double>(probability.size(), 1), numbers(input["logits"]), 1);
  const bon::Law target = bon::best_of_n_law(probability, reward, params["N"]);
  const Jeffreys result = jeffreys(policy, target, params["beta"]);
  return {{"policy", policy},
          {"bon", target},
          {"forward_kl", result.forward_kl},
          {"backward_kl", result.backward_kl},
          {"jeffreys", result.value},
          {"dJ_dlogits", result.dlogits}};
}

Json iterated(const Json& params, const Json& input) {
  const auto probability = numbers(input["probs"]), reward = numbers(input["rewards"]);
  Json laws = Json::array(), kl = Json::array();
  bon::Law law = probability;
  for (int step = 0; step < params["steps"].get<int>(); ++step) {
    law = bon::best_of_n_law(law, reward, params["n"]);
    laws.push_back(law);
    kl.push_back(bon::kl_of_laws(law, probability));
  }
  return {{"laws", laws}, {"kl_to_ref", kl}};
}

const MethodVectors bond("bond", [](const std::string& kind, const Json& params, const Json& input) {
  if (kind == "backward") return backward(params, input);
  return kind == "jeffreys_exact" ? exact(params, input) : iterated(params, input);
});
}  // namespace
}  // namespace vbon::test
