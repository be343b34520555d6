// methods/soft_bon.json: weights, the pick at a given uniform, the exact law.
#include "support/method_vectors.hpp"
#include "vbon/decode/soft_bon_law.hpp"

namespace vbon::test {
namespace {
const MethodVectors soft_bon("soft_bon", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  const auto reward = numbers(input["rewards"]);
  const double lambda = number(params["lambda"]);
  if (kind == "weights") {
    const auto weight = decode::softmax_weights(reward, lambda);
    return {{"weights", weight}, {"index", decode::pick(weight, input["uniform"])}};
  }
  const auto probability = numbers(input["probs"]);
  const auto law = decode::soft_best_of_n_law(probability, reward, params["N"], lambda);
  const auto limit = decode::soft_limit_law(probability, reward, lambda);
  return {{"law", law},
          {"tilted_limit", limit},
          {"kl_to_ref", bon::kl_of_laws(law, probability)},
          {"kl_tilted_to_law", bon::kl_of_laws(limit, law)},
          {"expected_reward", bon::mean_under(law, reward)}};
});
}  // namespace
}  // namespace vbon::test
