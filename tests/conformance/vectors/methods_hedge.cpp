// methods/hedge.json: true reward of best-of-N by a proxy, and the choice of N or mu.
#include "support/method_vectors.hpp"
#include "vbon/bon/divergence.hpp"
#include "vbon/decode/hedge.hpp"

namespace vbon::test {
namespace {
const MethodVectors hedge("hedge", [](const std::string&, const Json& params, const Json& input) -> Json {
  const decode::HedgeCurve curve(numbers(input["proxy"]), numbers(input["true"]));
  Json out;
  const auto record = [&](const char* grid, const char* values, const char* best, const auto& at) {
    std::vector<double> points;
    for (const auto& setting : params[grid]) points.push_back(at(setting));
    out[values] = points;
    if (!points.empty()) out[best] = params[grid][decode::hedge_choice(points).index];
  };
  record("N_list", "true_reward_bon", "best_N", [&](const Json& n) { return curve.best_of_n(n); });
  record("N_list_unbiased", "true_reward_bon_unbiased", "best_N_unbiased",
         [&](const Json& n) { return curve.best_of_n_unbiased(n); });
  record("mu_list", "true_reward_bop", "best_mu", [&](const Json& mu) { return curve.best_of_poisson(mu); });
  out["kl_bound_bon"] = Json::array();
  for (const double n : params["N_list"]) out["kl_bound_bon"].push_back(bon::kl_to_reference(n));
  return out;
});
}  // namespace
}  // namespace vbon::test
