// vbon/objective/kl_shaping.hpp
//
// The KL penalty inside the reward. For a sequence R = r - beta (log pi - log pi_ref); for tokens
// R_t = -beta k_t + [t last] r with one of the estimators of KL(pi || pi_ref) from y ~ pi
// (d = log pi - log pi_ref): k1 = d, k2 = d^2/2, k3 = e^-d - 1 + d. k1 and k3 are unbiased, k3 >= 0.
#pragma once
#include <algorithm>
#include <string_view>

#include "vbon/objective/check.hpp"
#include "vbon/objective/concept.hpp"

namespace vbon::objective {
enum class KlEstimator { k1, k2, k3 };

/// e^x, capped at e^700 so that a product with it stays finite.
inline double bounded_exp(double x) { return std::exp(std::min(x, 700.0)); }

inline double kl_estimate(KlEstimator estimator, double d) {
  switch (estimator) {
    case KlEstimator::k1:
      return d;
    case KlEstimator::k2:
      return d * d / 2;
    case KlEstimator::k3:
      return d > -700 ? std::expm1(-d) + d : bounded_exp(-d) - 1 + d;
  }
  return d;
}

/// log pi - log pi_ref of whole responses [R], nats.
template <class Array = vbon::Array>
Array log_ratio(std::string_view who, const RolloutBatch& batch) {
  require_finite(who, "log_prob", batch.log_prob, batch.tokens());
  require_finite(who, "ref_log_prob", batch.ref_log_prob, batch.tokens());
  const Array &log_prob = batch.log_prob, &ref_log_prob = batch.ref_log_prob;
  return per_response(batch, log_prob - ref_log_prob);
}

/// A weight of 0 on everything that reads the reference spares its forward pass.
constexpr Needs without_reference(Needs needs, bool unread) {
  if (unread) needs.ref_log_prob = false;
  return needs;
}

/// reward - beta log-ratio [R]; beta = 0 does not read the reference.
template <class Array = vbon::Array>
Array shaped_reward(std::string_view who, const RolloutBatch& batch, const vbon::Array& reward, double beta) {
  require_at_least(who, "beta", beta, 0);
  require_finite(who, "reward", reward, batch.responses());
  if (beta == 0) return reward;
  const Array ratio = log_ratio(who, batch);
  return reward - beta * ratio;
}

/// Token rewards of the policy that drew the sample [T]: -beta k_t, plus the reward at the last token.
template <class = void>
Array shaped_token_reward(std::string_view who, const RolloutBatch& batch, const Array& reward, double beta,
                          KlEstimator estimator) {
  require_at_least(who, "beta", beta, 0);
  require_finite(who, "reward", reward, batch.responses());
  Array shaped = Array::Zero(batch.tokens());
  if (beta > 0) {
    require_finite(who, "old_log_prob", batch.old_log_prob, batch.tokens());
    require_finite(who, "ref_log_prob", batch.ref_log_prob, batch.tokens());
    for (Index t = 0; t < batch.tokens(); ++t)
      shaped[t] = -beta * kl_estimate(estimator, batch.old_log_prob[t] - batch.ref_log_prob[t]);
  }
  for (Index i = 0; i < batch.responses(); ++i) {
    require<DomainError>(batch.length(i) > 0, ErrorCode{"empty_response"}, who, ": response ", i, " has no token");
    shaped[batch.offset[static_cast<std::size_t>(i) + 1] - 1] += reward[i];
  }
  return shaped;
}
}  // namespace vbon::objective
