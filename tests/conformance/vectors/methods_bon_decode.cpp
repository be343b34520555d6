// methods/bon_decode.json: selection and exact laws of best-of-N, worst-of-N and best-of-Poisson.
#include "support/method_vectors.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::test {
namespace {
Json select(const std::vector<double>& reward) {
  decode::require_scores(reward, "best_of_n");
  const Index best = decode::best_index(reward);
  Json tied = Json::array();
  for (std::size_t i = 0; i < reward.size(); ++i)
    if (reward[i] == reward[static_cast<std::size_t>(best)]) tied.push_back(i);
  return {{"best", best}, {"worst", decode::worst_index(reward)}, {"tied_best", tied}};
}

const MethodVectors bon_decode("bon_decode", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  const auto reward = numbers(input["rewards"]);
  if (kind == "select") return select(reward);
  const auto probability = numbers(input["probs"]);
  if (kind == "poisson_law") {
    const double mu = params["mu"];
    const auto law = bon::best_of_poisson_law(probability, reward, mu);
    return {{"law", law}, {"kl", bon::kl_of_laws(law, probability)}, {"expected_samples", 1 + mu}};
  }
  const auto best = bon::best_of_n_law(probability, reward, params["N"]),
             worst = bon::worst_of_n_law(probability, reward, params["N"]);
  return {{"best_of_n", best},
          {"worst_of_n", worst},
          {"kl_best", bon::kl_of_laws(best, probability)},
          {"expected_reward_best", bon::mean_under(best, reward)},
          {"expected_reward_worst", bon::mean_under(worst, reward)}};
});
}  // namespace
}  // namespace vbon::test
