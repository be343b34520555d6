// methods/pfppo.json: which responses the filters keep.
#include "support/method_vectors.hpp"
#include "vbon/objective/pfppo.hpp"

namespace vbon::test {
namespace {
using namespace objective;

const MethodVectors pfppo_file("pfppo", [](const std::string&, const Json&, const Json& input) -> Json {
  const Array reward = to_array(input["rewards"]);
  const auto [best, worst] = extremes(reward);
  // The law of the random second index, by walking the uniform over a fine even grid.
  Array law = Array::Zero(reward.size());
  const Index grid = 840 * (reward.size() - 1);
  for (Index i = 0; i < grid; ++i)
    law[kept(Filter::br, reward, (static_cast<double>(i) + 0.5) / static_cast<double>(grid))[1]] += 1;
  return {{"best", best},
          {"worst", worst},
          {"kept_bon", to_json(kept(Filter::bon, reward))},
          {"kept_bw", to_json(kept(Filter::bw, reward))},
          {"br_second_law", to_json(Array(law / static_cast<double>(grid)))},
          {"expected_weight_bon", to_json(filter_weights(Filter::bon, reward))},
          {"expected_weight_bw", to_json(filter_weights(Filter::bw, reward))},
          {"expected_weight_br", to_json(filter_weights(Filter::br, reward))}};
});
}  // namespace
}  // namespace vbon::test
