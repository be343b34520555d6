// methods/iad.json: the trace of best and worst, and the exact law of the returned best.
#include "support/method_vectors.hpp"
#include "vbon/decode/iad_law.hpp"

namespace vbon::test {
namespace {
const MethodVectors iad("iad", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  const auto reward = numbers(input["rewards"]);
  if (kind == "trace") {
    Json trace = Json::array();
    for (const auto& [best, worst] : decode::feedback_trace(reward)) trace.push_back({best, worst});
    return {{"best_worst", trace}};
  }
  const auto kernel = input["kernel"].get<std::vector<std::vector<std::vector<double>>>>();
  const auto law = decode::iad_law(numbers(input["probs"]), reward, kernel, params["rounds"], params["candidates"]);
  return {{"law", law}, {"expected_reward", bon::mean_under(law, reward)}};
});
}  // namespace
}  // namespace vbon::test
