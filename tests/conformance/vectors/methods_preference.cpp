// methods/preference.json: pair losses on log-probabilities.
#include "support/method_vectors.hpp"
#include "vbon/objective/preference.hpp"

namespace vbon::test {
namespace {
using namespace objective;

/// Groups of two, winner first.
RolloutBatch pairs_batch(const Json& input) {
  const auto merged = [&](const char* winner, const char* loser) {
    require<ShapeError>(input[winner].size() == input[loser].size(), "pairs: as many losers as winners expected");
    Json rows = Json::array();
    for (std::size_t i = 0; i < input[winner].size(); ++i) rows.push_back({input[winner][i], input[loser][i]});
    return rows;
  };
  const Json log_prob = merged("logp_w", "logp_l");
  RolloutBatch batch = one_token_batch(log_prob);
  batch.log_prob = flattened(log_prob);
  batch.ref_log_prob = flattened(merged("ref_logp_w", "ref_logp_l"));
  batch.reward = Array(batch.responses());
  for (Index i = 0; i < batch.responses(); ++i) batch.reward[i] = i % 2 == 0 ? 1 : 0;
  return batch;
}

template <PairLoss L>
Json pair_losses(const Json& params, const RolloutBatch& batch, bool reference_free) {
  const L loss{{.beta = params["beta"], .label_smoothing = params.value("label_smoothing", 0.0)}};
  const ObjectiveResult result = Preference<L>{.pair_loss = loss, .reference_free = reference_free}(batch);
  const Array score = reference_free ? batch.log_prob : Array(batch.log_prob - batch.ref_log_prob);
  Json margins = Json::array(), losses = Json::array(), winner = Json::array(), loser = Json::array();
  for (Index i = 0; i < batch.responses(); i += 2) {
    margins.push_back(score[i] - score[i + 1]);
    losses.push_back(loss(score[i] - score[i + 1]).loss);
    winner.push_back(result.dlog_prob[i]);
    loser.push_back(result.dlog_prob[i + 1]);
  }
  return {{"margins", margins},      {"losses", losses},       {"loss", result.loss},
          {"dloss_dlogp_w", winner}, {"dloss_dlogp_l", loser}, {"accuracy", metric(result, "accuracy")}};
}

const MethodVectors preference_losses("preference", [](const std::string&, const Json& params, const Json& input) -> Json {
  const auto name = params["loss"].get<std::string>();
  const RolloutBatch batch = pairs_batch(input);
  if (name == "cdpo") return pair_losses<Cdpo>(params, batch, false);
  if (name == "robust") return pair_losses<RobustDpo>(params, batch, false);
  if (name == "ipo") return pair_losses<Ipo>(params, batch, false);
  if (name == "hinge") return pair_losses<Hinge>(params, batch, false);
  return pair_losses<Dpo>(params, batch, name == "dpo_reference_free");
});
}  // namespace
}  // namespace vbon::test
