// methods/bonbon.json: the margin, the mixed loss, the margin on a finite law.
#include "support/method_vectors.hpp"
#include "vbon/objective/bonbon.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Json beta_star(const Json& params) {
  const double n = params["n"], margin = bonbon_margin(n);
  return {{"margin", margin},
          {"beta_star", 1 / (2 * margin)},
          {"expected_log_best", digamma_difference(n, n + 1)},
          {"expected_log_worst", -harmonic_number(n)}};
}

Json bonbon_loss(const Json& params, const Json& input) {
  const auto merged = [&](const char* best, const char* worst) {
    Json rows = Json::array();
    for (std::size_t i = 0; i < input[best].size(); ++i) rows.push_back({input[best][i], input[worst][i]});
    return rows;
  };
  RolloutBatch batch = one_token_batch(merged("logp_best", "logp_worst"));
  batch.log_prob = flattened(merged("logp_best", "logp_worst"));
  batch.ref_log_prob = flattened(merged("ref_logp_best", "ref_logp_worst"));
  batch.reward = Array(batch.responses());
  for (Index i = 0; i < batch.responses(); ++i) batch.reward[i] = i % 2 == 0 ? 1 : 0;
  const ObjectiveResult result = BonBon{.alpha = params["alpha"], .n = params["n"]}(batch);
  Json best = Json::array(), worst = Json::array();
  for (Index i = 0; i < batch.responses(); ++i) (i % 2 == 0 ? best : worst).push_back(result.dlog_prob[i]);
  return {{"sft_loss", metric(result, "sft_loss")},
          {"ipo_loss", metric(result, "ipo_loss")},
          {"loss", result.loss},
          {"dloss_dlogp_best", best},
          {"dloss_dlogp_worst", worst}};
}

const MethodVectors bonbon("bonbon", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "beta_star") return beta_star(params);
  if (kind == "loss") return bonbon_loss(params, input);
  return {{"expected_margin", finite_margin(numbers(input["probs"]), numbers(input["rewards"]), params["n"])},
          {"continuous_margin", bonbon_margin(params["n"])}};
});
}  // namespace
}  // namespace vbon::test
