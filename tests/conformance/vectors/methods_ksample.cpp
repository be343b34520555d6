// methods/ksample.json: leave-one-out weights of group objectives, and the baseline across groups.
#include "support/method_vectors.hpp"
#include "vbon/objective/ksample.hpp"

namespace vbon::test {
namespace {
using namespace objective;

const MethodVectors ksample_file("ksample", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  const bool across = kind == "group_baseline";
  const Json rows = across ? input["rewards"] : Json::array({input["rewards"]});
  RolloutBatch batch = one_token_batch(rows);
  batch.reward = flattened(rows);
  if (input.contains("answers")) batch.answer = input["answers"].get<std::vector<std::int32_t>>();
  const Ksample rule{.value = option<SampleValue>(params["objective"]),
                     .baseline = across ? SampleBaseline::across_groups : SampleBaseline::leave_one_out};
  const ObjectiveResult result = rule(batch);
  Array values;
  const Array weight = rule.weights(batch, values) / static_cast<double>(batch.prompts());
  if (across) return {{"values", to_json(values)}, {"weights_sum", grouped_json(batch, weight)}};
  return {{"value", values[0]}, {"weights_sum", to_json(weight)}, {"dloss_dlogp", to_json(result.dlog_prob)}};
});
}  // namespace
}  // namespace vbon::test
