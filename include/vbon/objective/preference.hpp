// vbon/objective/preference.hpp
//
// Offline preference optimisation: pairs of reference samples of one prompt, a loss of their margin, the
// mean over pairs. Log-probs are sums over tokens, never averages, unless length_normalised asks for them.
#pragma once
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/pair_builder.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// The pairs of a whole batch, as response indices.
template <class = void>
std::vector<IndexPair> batch_pairs(const RolloutBatch& batch, PairRule rule) {
  std::vector<IndexPair> pairs;
  for (const Group& g : groups(batch))
    for (const IndexPair& pair : build_pairs(rule, batch.reward.segment(g.begin, g.size)))
      pairs.push_back({g.begin + pair.winner, g.begin + pair.loser, pair.weight});
  return pairs;
}

/// loss = weighted mean over pairs of L(score_w - score_l); d loss / d score [R].
struct PairTerm {
  double loss = 0;
  Array dscore;         // [R]
  double accuracy = 0;  // share of pairs with a positive margin
  double pairs = 0;     // sum of the weights: how many pairs were labelled
};
template <PairLoss L>
PairTerm pair_term(const std::vector<IndexPair>& pairs, const Array& score, const L& pair_loss) {
  PairTerm term{.dscore = Array::Zero(score.size())};
  for (const IndexPair& pair : pairs) term.pairs += pair.weight;
  for (const auto& [winner, loser, weight] : pairs) {
    const double share = weight / term.pairs;
    const double margin = score[winner] - score[loser];
    const PairGrad grad = pair_loss(margin);
    term.loss += share * grad.loss;
    term.dscore[winner] += share * grad.slope;
    term.dscore[loser] -= share * grad.slope;
    term.accuracy += margin > 0 ? share : 0;
  }
  return term;
}

/// @tparam L  Dpo, Cdpo, RobustDpo, Ipo or Hinge
/// @throws DomainError settings of L, `group_too_small`, `nan_reward`, log-probs that are not finite
template <PairLoss L>
struct Preference {
  static constexpr std::string_view name = L::name;
  static constexpr Needs needs{.ref_log_prob = true, .min_group = 0, .reference_group = 2};
  using laws = Laws<law::Surrogate, law::Contrast, law::Ranks, law::PerPrompt>;

  L pair_loss = {};
  PairRule pairs = PairRule::best_worst;
  bool reference_free = false;     // D without the reference's part
  bool length_normalised = false;  // log-probs per token
  void each_option(auto&& f) {
    pair_loss.each_option(f);
    f("pairs", pairs,
      "how samples become pairs: best_worst, best_random, all_strict or bradley_terry (both orders, weighted)");
    f("reference_free", reference_free, "leave the reference out of the margin");
    f("length_normalised", length_normalised, "divide log-probs by the length of the response");
  }

  ObjectiveResult operator()(const RolloutBatch& batch) const {
    pair_loss.check();
    require_groups(name, batch, 2);
    require_ordered(name, "reward", batch.reward, batch.responses());
    require_finite(name, "log_prob", batch.log_prob, batch.tokens());
    Array scale = Array::Ones(batch.responses());
    if (length_normalised)
      for (Index i = 0; i < scale.size(); ++i) scale[i] = 1 / static_cast<double>(batch.length(i));
    const Array score = scale * (reference_free ? per_response(batch, batch.log_prob) : log_ratio(name, batch));
    const std::vector<IndexPair> chosen = batch_pairs(batch, pairs);
    const PairTerm term = pair_term(chosen, score, pair_loss);
    return {.loss = term.loss,
            .dlog_prob = per_token(batch, scale * term.dscore),
            .metrics = {{"accuracy", term.accuracy}, {"pairs", term.pairs}}};
  }
};
}  // namespace vbon::objective
