// vbon/bon/expected_reward.hpp
//
// What best-of-N gains: its win rate against the reference (a tie counts one half), in closed form for
// continuous rewards and estimated without bias from M reference samples, and its expected reward.
#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/bon/subset_weights.hpp"

namespace vbon::bon {
/// Win rate of best-of-N against one reference response: N / (N+1); an upper bound when rewards tie.
/// @throws DomainError invalid_n unless 0 < N <= 2^53
inline double win_rate(double n) {
  require_positive_n(n, "bon::win_rate");
  return n / (n + 1);
}
/// Win rate of best-of-N against best-of-M: N / (N+M).
inline double win_rate(double n, double m) {
  require_positive_n(n, "bon::win_rate");
  require_positive_n(m, "bon::win_rate");
  return n / (n + m);
}
/// Win rate against the reference where the best response is one atom of reference mass e and the rest is
/// continuous: N/(N+1) c^(N+1) + T (1 - e/2) with c = 1-e, T = 1 - c^N.
/// @param atom  e, in [0, 1]
/// @throws DomainError invalid_n, invalid_probability
inline double win_rate_with_atom(double n, double atom) {
  require_positive_n(n, "bon::win_rate_with_atom");
  require<DomainError>(atom >= 0 && atom <= 1, ErrorCode{"invalid_probability"},
                       "bon::win_rate_with_atom: 0 <= atom <= 1 expected, got ", atom);
  const double log_c = std::log1p(-atom);
  return n / (n + 1) * std::exp((n + 1) * log_c) - std::expm1(n * log_c) * (1 - atom / 2);
}

/// Unbiased estimate of E_bon[f] from M reference samples: the mean of f over the best of all N-subsets.
/// @param rewards, values  [M] r(y_i) and f(y_i); pass the rewards twice for the expected reward
/// @throws ShapeError; DomainError as subset_max_weights
template <class = void>
double expected_value(std::span<const double> rewards, std::span<const double> values, Index n) {
  require<ShapeError>(rewards.size() == values.size(), "bon::expected_value: one value per reward expected, got ", values.size(),
                      " for ", rewards.size());
  const std::vector<double> weight = subset_max_weights(rewards, n);
  double sum = 0;
  for (std::size_t i = 0; i < weight.size(); ++i)
    if (weight[i] > 0) sum += weight[i] * values[i];  // an infinite value of weight 0 adds nothing
  return sum;
}
/// Unbiased estimate of the expected reward of best-of-N.
template <class = void>
double expected_reward(std::span<const double> rewards, Index n) {
  return expected_value(rewards, rewards, n);
}

/// Unbiased estimate of the win rate of best-of-N against a fresh reference response: over all
/// (N+1)-subsets and all choices of the opponent in them. Without ties it is N/(N+1) whatever the rewards.
/// @throws DomainError invalid_n, empty_cache, nan_reward, cache_too_small (N >= M)
template <class = void>
double expected_win_rate(std::span<const double> rewards, Index n) {
  const Index samples = static_cast<Index>(rewards.size());
  detail::require_subset(n, samples, "bon::expected_win_rate");
  require<DomainError>(n < samples, ErrorCode{"cache_too_small"}, "bon::expected_win_rate: more than N = ", n,
                       " rewards expected, got ", samples);
  const EmpiricalCdf cdf(rewards);
  std::vector<double> at_most(static_cast<std::size_t>(samples) + 1, 0.0);  // C(k, N) / C(M, N)
  at_most.back() = 1;
  for (Index k = samples; k > n; --k)
    at_most[static_cast<std::size_t>(k - 1)] = at_most[static_cast<std::size_t>(k)] * static_cast<double>(k - n) / static_cast<double>(k);
  // An opponent at the top level of the subset costs a whole win when alone there, half a win when tied.
  double lost = 0;
  for (const double reward : rewards) {
    const RankCounts others = cdf.count_among_others(reward);
    lost += at_most[static_cast<std::size_t>(others.below + others.equal)] + at_most[static_cast<std::size_t>(others.below)];
  }
  return 1 - lost / (2 * static_cast<double>(samples - n));
}
}  // namespace vbon::bon
