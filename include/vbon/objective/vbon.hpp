// vbon/objective/vbon.hpp
//
// Variational best-of-N, the subject of this library: make one draw of the policy read like the best of N
// draws of the reference, by minimising KL(pi || pi_bon). Source: arXiv 2407.06057, extended to ties.
#pragma once
#include "vbon/bon/estimator.hpp"
#include "vbon/objective/cdf_side.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// log pi_bon(y) of whole responses [R], nats, from log_cdf, log_tie (NaN: alone at its level) and log_cdf_le.
template <class = void>
Array log_best_of_n(std::string_view who, const RolloutBatch& batch, double n) {
  require_finite(who, "ref_log_prob", batch.ref_log_prob, batch.tokens());
  require_ordered(who, "log_cdf", batch.log_cdf, batch.responses());
  require_size(who, "log_tie", batch.log_tie, batch.responses());
  require_ordered(who, "log_cdf_le", batch.log_cdf_le, batch.responses());
  const Array log_ref = per_response(batch, batch.ref_log_prob);
  Array log_bon(batch.responses());
  for (Index i = 0; i < log_bon.size(); ++i)
    log_bon[i] = bon::log_prob(log_ref[i], {batch.log_cdf[i], batch.log_tie[i], batch.log_cdf_le[i]}, n);
  return log_bon;
}

/// loss = KL(pi || pi_bon): score R(y) = log pi_bon(y) - log pi(y). `published` reproduces the arithmetic
/// of the paper's code instead, (1/N)(log pi_bon - log pi_ref) - 1/(N-1) (log pi - log pi_ref), whose
/// optimum is best-of-N at the smaller N - 1 + 1/N.
/// @throws DomainError `invalid_n` (N < 1; N = 1 when published), `unsupported_sample`, `group_too_small`
template <Baseline B = LeaveOneOut>
struct Vbon {
  static constexpr std::string_view name = "vbon";
  static constexpr Needs needs{.ref_log_prob = true, .ref_reward = true, .min_group = B::min_group};
  using laws = Laws<law::Enumerable, law::GroupTuple, law::Ranks, law::PerPrompt>;
  template <Baseline Other>
  using with_baseline = Vbon<Other>;

  double n = 4;
  bool published = false;
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    f("n", n, "draws of best-of-N, real, >= 1");
    f("published", published, "the coefficients of the published code (a smaller effective N)");
    baseline_option(baseline, f);
  }

  template <class Array = vbon::Array>
  Array score(const RolloutBatch& batch) const {
    const Array log_bon = log_best_of_n(name, batch, n);
    const Array ratio = log_ratio(name, batch);
    const Array log_ref = per_response(batch, batch.ref_log_prob);
    if (!published) return log_bon - log_ref - ratio;
    require<DomainError>(n > 1, ErrorCode{"invalid_n"}, "vbon: N > 1 expected in the published form, got ", n);
    return (log_bon - log_ref) / n - ratio / (n - 1);
  }
  ObjectiveResult operator()(const RolloutBatch& batch) const { return score_function(name, batch, score(batch), baseline); }
};
}  // namespace vbon::objective
