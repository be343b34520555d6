// methods/wind.json: the exact game, the sample losses, one win-rate multiplication.
#include "support/method_vectors.hpp"
#include "vbon/objective/wind.hpp"
#include "vbon/objective/wind_game.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Json exact(const Json& params, const Json& input) {
  const auto probability = numbers(input["probs"]);
  const auto rule = params["preference"].get<std::string>();
  const auto game = [&] {
    if (rule != "general")
      return WindGame::from_rewards(probability, numbers(input["rewards"]), option<PreferenceRule>(rule));
    const Array matrix = flattened(input["preference"]);
    return WindGame(probability, std::vector<double>(matrix.begin(), matrix.end()));
  }();
  const double beta = params["beta"], eta = params["eta"];
  bon::Law policy = probability;
  for (int step = 0; step < params["steps"].get<int>(); ++step) policy = game.step(policy, beta, eta);
  const bon::Law fixed = game.fixed_point(beta);
  return {{"policy", policy},
          {"fixed_point", fixed},
          {"fixed_point_winrates", game.win_rates(fixed)},
          {"fixed_point_kl", bon::kl_of_laws(fixed, probability)},
          {"fixed_point_winrate_vs_ref", bon::mean_under(fixed, game.win_rates(probability))}};
}

Json sample_loss(const Json& params, const Json& input) {
  RolloutBatch batch = one_group(input["rewards"].size());
  batch.reward = to_array(input["rewards"]);
  batch.log_prob = to_array(input["logp"]);
  batch.anchor_log_prob = to_array(input["anchor_logp"]);
  batch.ref_log_prob = to_array(input["ref_logp"]);
  Wind rule{.beta = params["beta"], .eta = params["eta"], .loss = WindLoss::pointwise};
  const ObjectiveResult pointwise = rule(batch);
  rule.loss = WindLoss::pairwise;
  const ObjectiveResult pairwise = rule(batch);
  return {{"winrates", to_json(group_win_rate(batch.reward))},
          {"pointwise_loss", pointwise.loss},
          {"pointwise_dloss_dlogp", to_json(pointwise.dlog_prob)},
          {"pairwise_loss", pairwise.loss},
          {"pairwise_dloss_dlogp", to_json(pairwise.dlog_prob)}};
}

const MethodVectors wind("wind", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "exact") return exact(params, input);
  if (kind == "sample_loss") return sample_loss(params, input);
  const auto probability = numbers(input["probs"]);
  auto law = WindGame::from_rewards(probability, numbers(input["rewards"]), PreferenceRule::step).win_rates(probability);
  for (std::size_t k = 0; k < law.size(); ++k) law[k] *= 2 * probability[k];
  return {{"law", law}};
});
}  // namespace
}  // namespace vbon::test
