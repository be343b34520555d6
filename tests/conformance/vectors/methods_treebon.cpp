// methods/treebon.json: implicit reward, expansion, the exact two-layer law.
#include "support/method_vectors.hpp"
#include "vbon/decode/tree_law.hpp"

namespace vbon::test {
namespace {
std::vector<std::vector<double>> rows(const Json& values) {
  std::vector<std::vector<double>> out;
  for (const auto& row : values) out.push_back(numbers(row));
  return out;
}

const MethodVectors treebon("treebon", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "implicit_reward")
    return {{"reward", decode::implicit_reward(numbers(input["dpo_logp"]), numbers(input["ref_logp"]), params["beta"],
                                               option<decode::TokenWeight>(params["weights"]))}};
  const Index nodes = params["n_nodes"], children = params["n_children"];
  decode::require_tree(nodes, children);
  if (kind == "expand") {
    const auto child_parent = decode::tree_children(numbers(input["scores"]), children);
    Json parents = Json::array();
    for (std::size_t i = 0; i < child_parent.size(); i += static_cast<std::size_t>(children))
      parents.push_back(child_parent[i]);
    return {{"parents", parents}, {"child_parent", child_parent}};
  }
  const auto reward = rows(input["rewards"]);
  const auto law = decode::two_layer_law(numbers(input["probs_first"]), rows(input["probs_second"]),
                                         numbers(input["partial_scores"]), reward, nodes, children);
  double mean = 0;
  for (std::size_t k = 0; k < law.size(); ++k)
    for (std::size_t l = 0; l < law[k].size(); ++l) mean += law[k][l] * reward[k][l];
  return {{"law", law}, {"expected_reward", mean}};
});
}  // namespace
}  // namespace vbon::test
