// vbon/objective/vbon_bound.hpp
//
// The surrogates of variational best-of-N: L_G = (N - 1) E[log G(y)] - KL(pi || pi_ref), where G is the
// strict CDF (the paper's lower bound), the weak one, or their mean. For every policy
// log N + L_strict <= -KL(pi || pi_bon) <= log N + L_weak; the mean is the tightest lower bound for N >= 2.
// The optimum is pi_ref G^(N-1) / Z, which is pi_bon itself for rewards without ties.
#pragma once
#include "vbon/bon/checks.hpp"
#include "vbon/objective/cdf_side.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// Score (N - 1) log G(y) - (log pi(y) - log pi_ref(y)) [R], nats.
template <class Array = vbon::Array>
Array bound_score(std::string_view who, const RolloutBatch& batch, double n, Side side) {
  bon::require_n(n, who);
  const Array log_cdf = side_log_cdf(who, batch, side), ratio = log_ratio(who, batch);
  return (n - 1) * log_cdf - ratio;
}

/// @throws DomainError `invalid_n`, `unsupported_sample`, `group_too_small`
template <Baseline B = LeaveOneOut>
struct VbonBound {
  static constexpr std::string_view name = "vbon_bound";
  static constexpr Needs needs{.ref_log_prob = true, .ref_reward = true, .min_group = B::min_group};
  using laws = Laws<law::Enumerable, law::GroupTuple, law::Ranks, law::PerPrompt>;
  template <Baseline Other>
  using with_baseline = VbonBound<Other>;

  double n = 4;
  Side side = Side::strict;
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    f("n", n, "draws of best-of-N, real, >= 1");
    f("side", side, "the CDF at ties: strict, mid or weak");
    baseline_option(baseline, f);
  }

  Array score(const RolloutBatch& batch) const { return bound_score(name, batch, n, side); }
  ObjectiveResult operator()(const RolloutBatch& batch) const { return score_function(name, batch, score(batch), baseline); }
};
}  // namespace vbon::objective
