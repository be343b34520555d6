// methods/quantile_regression.json: regression on a quantile reward with its partition function.
#include "support/method_vectors.hpp"
#include "vbon/objective/quantile_regression.hpp"

namespace vbon::test {
namespace {
using namespace objective;

const MethodVectors quantile_regression("quantile_regression",
                                        [](const std::string&, const Json& params, const Json& input) -> Json {
                                          const Array quantile = to_array(input["quantiles"]);
                                          RolloutBatch batch = one_group(input["quantiles"].size());
                                          batch.log_cdf_le = quantile.log();
                                          batch.log_prob = to_array(input["logp"]);
                                          batch.ref_log_prob = to_array(input["ref_logp"]);
                                          const QuantileRegression rule{.phi = {.kind = option<PhiKind>(params["phi"]),
                                                                                .n = params.value("N", 4.0),
                                                                                .t = params.value("t", 1.0),
                                                                                .floor = params.value("floor", 0.0)},
                                                                        .beta = params["beta"],
                                                                        .side = Side::weak};
                                          const ObjectiveResult result = rule(batch);
                                          const auto responses = static_cast<double>(batch.responses());
                                          return {
                                              {"log_partition", log_partition(rule.phi, rule.beta)},
                                              {"residuals", to_json(Array(-responses / (2 * rule.beta) * result.dlog_prob))},
                                              {"loss", result.loss},
                                              {"dloss_dlogp", to_json(result.dlog_prob)}};
                                        });
}  // namespace
}  // namespace vbon::test
