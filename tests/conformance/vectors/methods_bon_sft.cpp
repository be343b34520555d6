// methods/bon_sft.json: likelihood of the best of each group; pair builders.
#include "support/method_vectors.hpp"
#include "vbon/objective/bon_sft.hpp"
#include "vbon/objective/pair_builder.hpp"

namespace vbon::test {
namespace {
using namespace objective;

/// Responses of the given lengths; a response's log-prob stands on its first token.
Json bon_sft_loss(const Json& params, const Json& input) {
  RolloutBatch batch;
  std::vector<double> token_log_prob;
  for (std::size_t p = 0; p < input["lengths"].size(); ++p) {
    batch.add_prompt({});
    for (std::size_t i = 0; i < input["lengths"][p].size(); ++i) {
      const auto length = input["lengths"][p][i].get<std::size_t>();
      batch.add_response(std::vector<TokenId>(length, 0), true);
      token_log_prob.push_back(number(input["logp"][p][i]));
      token_log_prob.resize(token_log_prob.size() + length - 1, 0);
    }
  }
  batch.reward = flattened(input["rewards"]);
  batch.log_prob = Eigen::Map<const Array>(token_log_prob.data(), static_cast<Index>(token_log_prob.size()));
  const ObjectiveResult result = BonSft{.token_mean = params["reduction"] == "token_mean"}(batch);
  Json best = Json::array(), slope = Json::array();
  for (const Group& g : groups(batch)) {
    best.push_back(first_best(batch.reward.segment(g.begin, g.size)));
    const Index i = g.begin + best.back().get<Index>();
    slope.push_back(result.dlog_prob[batch.offset[static_cast<std::size_t>(i)]]);
  }
  return {{"best", best}, {"loss", result.loss}, {"dloss_dlogp_best", slope}};
}

Json pairs(const Json& input) {
  const Array reward = to_array(input["rewards"]);
  const auto list = [&](PairRule rule) {
    Json out = Json::array();
    for (const IndexPair& pair : build_pairs(rule, reward)) out.push_back({pair.winner, pair.loser});
    return out;
  };
  const Json best_worst = list(PairRule::best_worst);
  Json probability = Json::array();
  for (const double a : reward) {
    Json row = Json::array();
    for (const double b : reward) row.push_back(bradley_terry(a, b));
    probability.push_back(row);
  }
  return {{"best_worst", best_worst.empty() ? Json() : best_worst[0]},
          {"all_strict", list(PairRule::all_strict)},
          {"bt_probability", probability}};
}

const MethodVectors bon_sft("bon_sft", [](const std::string& kind, const Json& params, const Json& input) {
  return kind == "loss" ? bon_sft_loss(params, input) : pairs(input);
});
}  // namespace
}  // namespace vbon::test
