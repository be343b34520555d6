// vbon/decode/rejection_law.hpp
//
// Rejection sampling with a limit on tries, and the chi-square normaliser of InferenceTimePessimism.
// Each of up to M draws of the reference is accepted with probability a(y); if none is, one more fresh
// draw is returned: p a (1 - (1 - abar)^M)/abar + (1 - abar)^M p with abar = E[a].
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
struct RejectionLaw {
  double accept_rate = 0;           // abar
  double fallback_probability = 0;  // no try accepted
  double expected_tries = 0;
  bon::Law law;
};
template <class = void>
RejectionLaw rejection_law(std::span<const double> probability, std::span<const double> accept, double tries) {
  RejectionLaw result;
  result.accept_rate = bon::mean_under(probability, accept);
  // (1 - abar)^M and its complement, each to full accuracy.
  const double log_none = tries * std::log1p(-std::min(1.0, result.accept_rate));
  result.fallback_probability = std::exp(log_none);
  result.expected_tries = result.accept_rate > 0 ? -std::expm1(log_none) / result.accept_rate : tries;
  for (std::size_t k = 0; k < probability.size(); ++k)
    result.law.push_back(probability[k] * (accept[k] * result.expected_tries + result.fallback_probability));
  return result;
}

/// exp((r - r_max)/beta): the acceptance that makes an accepted draw follow pi_ref e^(r/beta)/Z; 0 for r = -inf.
/// @throws DomainError for beta <= 0, a NaN reward, or one above r_max, which would have to be accepted more than surely
inline double tilted_acceptance(double reward, double r_max, double beta) {
  require<DomainError>(beta > 0, "rejection: beta > 0 expected, got ", beta);
  require<DomainError>(reward <= r_max, ErrorCode{"r_max_violated"}, "rejection: rewards up to r_max = ", r_max,
                       " expected, got ", reward, "; set r_max to the largest reward there can be");
  if (reward == -std::numeric_limits<double>::infinity()) return 0;  // for beta = inf too, where the ratio would be NaN
  return std::exp((reward - r_max) / beta);
}

/// The lambda that solves sum_i p_i relu((r_i - lambda)/beta) = 1, by suffix sums of the sorted rewards.
/// @param weight  p, summing to 1 (1/N for a sample)
/// @throws DomainError for beta <= 0, no rewards, rewards that are not finite
template <class = void>
double pessimism_normalizer(std::span<const double> weight, std::span<const double> reward, double beta) {
  require<DomainError>(beta > 0, "pessimism: beta > 0 expected, got ", beta);
  require_finite_scores(reward, "pessimism");
  std::vector<std::size_t> order(reward.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return reward[a] > reward[b]; });
  // Take rewards in from the top until the next one lies at or below lambda. Sums are of gaps to the top:
  // that keeps their digits.
  const double top = reward[order.front()];
  double gaps = 0, mass = 0, lambda = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    gaps += weight[order[i]] * (reward[order[i]] - top);
    mass += weight[order[i]];
    if (mass == 0) continue;
    lambda = (gaps - beta) / mass;
    if (i + 1 == order.size() || reward[order[i + 1]] - top <= lambda) break;
  }
  return top + lambda;
}
/// relu((r - lambda)/beta): the density of the target against the reference.
inline double pessimism_weight(double reward, double lambda, double beta) { return std::max(0.0, (reward - lambda) / beta); }
/// Accepts with min(w/M, 1), M = (r_max - lambda)/beta.
/// @throws DomainError for a reward above r_max
inline double pessimism_acceptance(double reward, double lambda, double r_max) {
  require<DomainError>(reward <= r_max, ErrorCode{"r_max_violated"}, "pessimism: rewards up to r_max = ", r_max,
                       " expected, got ", reward, "; set r_max to the largest reward there can be");
  if (r_max == lambda) return 1;
  return std::clamp((reward - lambda) / (r_max - lambda), 0.0, 1.0);
}
}  // namespace vbon::decode
