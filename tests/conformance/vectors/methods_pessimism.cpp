// methods/pessimism.json: the chi-square normaliser, its weights, the exact law.
#include "support/method_vectors.hpp"
#include "vbon/decode/rejection_law.hpp"

namespace vbon::test {
namespace {
using namespace decode;

struct Accepted {
  std::vector<double> weight, accept;
};
Accepted accepted(const std::vector<double>& reward, double lambda, double beta, double r_max) {
  Accepted out;
  for (const double r : reward) {
    out.weight.push_back(pessimism_weight(r, lambda, beta));
    out.accept.push_back(pessimism_acceptance(r, lambda, r_max));
  }
  return out;
}

const MethodVectors pessimism("pessimism", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  const auto reward = numbers(input["rewards"]);
  const double beta = params["beta"];
  if (kind == "normalizer") {
    const std::vector<double> even(reward.size(), 1 / static_cast<double>(reward.size()));
    const double lambda = pessimism_normalizer(even, reward, beta), r_max = params["r_max"];
    const Accepted at = accepted(reward, lambda, beta, r_max);
    return {{"lambda", lambda}, {"weights", at.weight}, {"M", (r_max - lambda) / beta}, {"accept", at.accept}};
  }
  const auto probability = numbers(input["probs"]);
  const double lambda = pessimism_normalizer(probability, reward, beta);
  const Accepted at = accepted(reward, lambda, beta, *std::max_element(reward.begin(), reward.end()));
  std::vector<double> target;
  double chi2 = -1;
  for (std::size_t k = 0; k < reward.size(); ++k) {
    target.push_back(probability[k] * at.weight[k]);
    chi2 += probability[k] * at.weight[k] * at.weight[k];
  }
  const RejectionLaw law = rejection_law(probability, at.accept, params["max_tries"]);
  return {{"lambda", lambda}, {"target", target},
          {"chi2", chi2},     {"accept_rate", law.accept_rate},
          {"law", law.law},   {"expected_reward_target", bon::mean_under(target, reward)}};
});
}  // namespace
}  // namespace vbon::test
