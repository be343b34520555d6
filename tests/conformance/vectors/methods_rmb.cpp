// methods/rmb.json: pairwise and best-of-N accuracy of a reward.
#include "support/method_vectors.hpp"
#include "vbon/eval/rmb.hpp"

namespace vbon::test {
namespace {
const MethodVectors rmb("rmb", [](const std::string& kind, const Json&, const Json& input) -> Json {
  if (kind == "pairwise") {
    const auto [accuracy, half, margin] = eval::pairwise_accuracy(numbers(input["chosen"]), numbers(input["rejected"]));
    return {{"accuracy", accuracy}, {"accuracy_half_ties", half}, {"mean_margin", margin}};
  }
  std::vector<std::vector<double>> losers;
  for (const auto& row : input["losers"]) losers.push_back(numbers(row));
  const auto category = input["category"].get<std::vector<std::int64_t>>();
  const auto result = eval::best_of_n_accuracy(numbers(input["best"]), losers, category);
  Json correct = Json::array(), ids = Json::array(), by_category = Json::array();
  for (const bool right : result.correct) correct.push_back(right ? 1 : 0);
  for (const auto& [id, accuracy] : result.by_category) {
    ids.push_back(id);
    by_category.push_back(accuracy);
  }
  return {{"correct", correct},
          {"accuracy", result.accuracy},
          {"category_ids", ids},
          {"category_accuracy", by_category},
          {"macro_accuracy", result.macro_accuracy},
          {"pairwise_accuracy", result.pairwise_accuracy}};
});
}  // namespace
}  // namespace vbon::test
