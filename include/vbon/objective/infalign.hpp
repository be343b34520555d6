// vbon/objective/infalign.hpp
//
// InfAlign-CTRL: calibrate the reward to its quantile C under the reference, transform it for the decoder
// that will be used, and run KL-constrained RL on Phi(C). The optimum is pi_ref e^(Phi(C)/beta) / Z; with
// Phi = (N-1) log u and beta = 1 it is the lower bound of variational best-of-N.
// Source: Balashankar et al., "InfAlign", arXiv 2412.19792.
#pragma once
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/quantile.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// Mid quantile of each response among its prompt's cached rewards [R], in [0, 1].
template <class = void>
Array calibrated_reward(std::string_view who, const RolloutBatch& batch) {
  require_ordered(who, "reward", batch.reward, batch.responses());
  require<ShapeError>(static_cast<Index>(batch.ref_reward.size()) == batch.prompts(), who, ": cached rewards of ",
                      batch.prompts(), " prompts expected, got ", batch.ref_reward.size());
  Array quantile(batch.responses());
  for (const Group& g : groups(batch))
    for (Index i = g.begin; i < g.end(); ++i)
      quantile[i] = mid_quantile(batch.ref_reward[static_cast<std::size_t>(g.prompt)], batch.reward[i]);
  return quantile;
}

/// Score Phi(C) - beta (log pi - log pi_ref); a logarithm without floor has the floor 1/(2m).
/// @throws DomainError `empty_cache`, `nan_reward`, beta <= 0, a setting of phi
template <Baseline B = LeaveOneOut>
struct InfAlign {
  static constexpr std::string_view name = "infalign";
  static constexpr Needs needs{.ref_log_prob = true, .ref_reward = true, .min_group = B::min_group};
  using laws = Laws<law::Enumerable, law::GroupTuple, law::Ranks, law::PerPrompt>;
  template <Baseline Other>
  using with_baseline = InfAlign<Other>;

  // e^(5 u) spans 1 to 148: this beta keeps the optimum near 0.6 nats from the reference, as best of four is.
  Phi phi = {.kind = PhiKind::exp, .t = 5};
  double beta = 45;
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    phi.each_option(f);
    f("beta", beta, "weight of KL(policy || reference), > 0");
    baseline_option(baseline, f);
  }

  template <class Array = vbon::Array>
  Array score(const RolloutBatch& batch) const {
    require_positive(name, "beta", beta);
    Array value = calibrated_reward(name, batch);
    for (const Group& g : groups(batch)) {
      Phi floored = phi;  // below all m cached rewards the quantile is 0: a logarithm takes 1/(2m) there (spec, section 2)
      const auto m = static_cast<double>(batch.ref_reward[static_cast<std::size_t>(g.prompt)].size());
      if (phi.is_log() && phi.floor == 0) floored.floor = 0.5 / m;
      for (Index i = g.begin; i < g.end(); ++i) value[i] = floored(value[i]);
    }
    const Array ratio = log_ratio(name, batch);
    return value - beta * ratio;
  }
  ObjectiveResult operator()(const RolloutBatch& batch) const { return score_function(name, batch, score(batch), baseline); }
};
}  // namespace vbon::objective
