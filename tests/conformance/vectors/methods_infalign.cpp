// methods/infalign.json: calibration, transforms, and the exact optimum with its decoded win rates.
#include "support/method_vectors.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/infalign.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Phi phi_from(const Json& params) {
  return {.kind = option<PhiKind>(params["phi"]),
          .n = params.value("N", 4.0),
          .t = params.value("t", 1.0),
          .floor = params.value("floor", 0.0)};
}

Json transform(const Json& params, const Json& input) {
  RolloutBatch batch = one_group(input["rewards"].size());
  batch.reward = to_array(input["rewards"]);
  batch.ref_reward = {numbers(input["ref_rewards"])};
  // The cache promises ascending rewards; it cannot hold NaN.
  for (const double r : batch.ref_reward[0]) bon::require_reward(r, "ref_rewards");
  std::sort(batch.ref_reward[0].begin(), batch.ref_reward[0].end());
  const Array quantile = calibrated_reward("infalign", batch);
  return {{"calibrated", to_json(quantile)}, {"transformed", to_json(Array(quantile.unaryExpr(phi_from(params))))}};
}

Json optimum(const Json& params, const Json& input) {
  const auto probability = numbers(input["probs"]), reward = numbers(input["rewards"]);
  const auto quantile = bon::mid_quantiles(probability, reward);
  std::vector<double> score;
  for (const double u : quantile) score.push_back(phi_from(params)(u));
  const bon::Law policy = bon::tilted_law(probability, score, params["beta"]);
  Json best = Json::array(), worst = Json::array(), reference = Json::array();
  for (const double n : params["N_list"]) {
    const auto rival = bon::best_of_n_law(probability, reward, n);
    best.push_back(bon::win_rate_of_laws(bon::best_of_n_law(policy, reward, n), rival, reward));
    worst.push_back(
        bon::win_rate_of_laws(bon::worst_of_n_law(policy, reward, n), bon::worst_of_n_law(probability, reward, n), reward));
    reference.push_back(bon::win_rate_of_laws(rival, rival, reward));
  }
  return {{"calibrated", quantile}, {"policy", policy},     {"kl", bon::kl_of_laws(policy, probability)},
          {"bon_winrate", best},    {"won_winrate", worst}, {"ref_bon_winrate", reference}};
}

const MethodVectors infalign("infalign", [](const std::string& kind, const Json& params, const Json& input) {
  return kind == "transform" ? transform(params, input) : optimum(params, input);
});
}  // namespace
}  // namespace vbon::test
