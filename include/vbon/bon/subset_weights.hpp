// vbon/bon/subset_weights.hpp
//
// Unbiased (U-statistic) estimates from M reference samples: powers of F, and the weights with which
// cached samples stand for best-of-N draws. w_i is the probability that sample i is the best of a random
// N-subset, so sum_i w_i f(y_i) is the mean of f over best-of-N without drawing N samples once.
// The algebra is that of 1 - pass@k.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/bon/empirical_cdf.hpp"

namespace vbon::bon {
namespace detail {
inline void require_subset(Index n, Index samples, std::string_view where) {
  require<DomainError>(n >= 1, ErrorCode{"invalid_n"}, where, ": N >= 1 expected, got ", n);
  require<DomainError>(samples >= 1, ErrorCode{"empty_cache"}, where, ": at least one reward expected, got none");
  require<DomainError>(n <= samples, ErrorCode{"cache_too_small"}, where, ": a cache of at least N = ", n,
                       " rewards expected, got ", samples);
}
/// C(k, n) / C(m, n) for k <= m.
inline double binomial_ratio(Index k, Index m, Index n) {
  if (k < n) return 0;
  double ratio = 1;
  for (Index i = 0; i < n; ++i) ratio *= static_cast<double>(k - i) / static_cast<double>(m - i);
  return ratio;
}
}  // namespace detail

/// Unbiased estimate of F^n: C(K, n) / C(M, n).
/// @throws DomainError invalid_n, empty_cache, cache_too_small (n > M), inconsistent_counts
template <class = void>
double unbiased_power(Index below, Index samples, Index n) {
  detail::require_subset(n, samples, "bon::unbiased_power");
  require<DomainError>(below >= 0 && below <= samples, ErrorCode{"inconsistent_counts"},
                       "bon::unbiased_power: 0 <= K <= M = ", samples, " expected, got ", below);
  return detail::binomial_ratio(below, samples, n);
}

/// Unbiased estimate of (F + tau)^N - F^N, the best-of-N mass of a level: [C(K+E, N) - C(K, N)] / C(M, N).
/// @throws DomainError as unbiased_power
template <class = void>
double unbiased_level_mass(RankCounts counts, Index samples, Index n) {
  detail::require_subset(n, samples, "bon::unbiased_level_mass");
  const Index k = counts.below, e = counts.equal;
  require<DomainError>(k >= 0 && e >= 0 && k + e <= samples, ErrorCode{"inconsistent_counts"},
                       "bon::unbiased_level_mass: K + E <= M = ", samples, " expected, got K = ", k, ", E = ", e);
  const double at_most = detail::binomial_ratio(k + e, samples, n);
  if (k < n || e == 0) return e == 0 ? 0 : at_most;
  double log_missed = 0;  // C(K, N) / C(K+E, N) in logs, so that the difference below keeps its digits
  for (Index i = 0; i < n; ++i) log_missed += std::log1p(-static_cast<double>(e) / static_cast<double>(k + e - i));
  return at_most * -std::expm1(log_missed);
}

namespace detail {
/// Weights of the ranks 1..M (no ties): rank k is the best of a random N-subset with probability
/// C(k-1, N-1) / C(M, N). From the top down w_k = w_(k+1) (k - N + 1) / k, no factorials.
template <class = void>
std::vector<double> rank_weights(Index samples, Index n) {
  std::vector<double> weight(static_cast<std::size_t>(samples), 0.0);
  double w = static_cast<double>(n) / static_cast<double>(samples);
  for (Index k = samples; k >= n; --k) {
    weight[static_cast<std::size_t>(k - 1)] = w;
    if (k > 1) w *= static_cast<double>(k - n) / static_cast<double>(k - 1);
  }
  return weight;
}
/// Hands rank weights to rewards in their own order; equal rewards share evenly.
template <class = void>
std::vector<double> share_by_rank(std::span<const double> rewards, const std::vector<double>& rank_weight) {
  std::vector<std::size_t> order(rewards.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rewards[a] < rewards[b]; });
  std::vector<double> weight(rewards.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    double level = 0;
    while (last < order.size() && rewards[order[last]] == rewards[order[first]]) level += rank_weight[last++];
    for (std::size_t i = first; i < last; ++i) weight[order[i]] = level / static_cast<double>(last - first);
    first = last;
  }
  return weight;
}
}  // namespace detail

/// P(sample i is the best of a random N-subset), ties shared evenly: [M], >= 0, sums to 1.
/// @param rewards  [M], any order
/// @throws DomainError invalid_n, empty_cache, nan_reward, cache_too_small (N > M)
template <class = void>
std::vector<double> subset_max_weights(std::span<const double> rewards, Index n) {
  detail::require_subset(n, static_cast<Index>(rewards.size()), "bon::subset_max_weights");
  require_rewards(rewards, "bon::subset_max_weights");
  return detail::share_by_rank(rewards, detail::rank_weights(static_cast<Index>(rewards.size()), n));
}

/// P(sample i is the best of N draws with replacement): the law of best-of-N over the cache itself, for
/// real N and for N > M. Biased towards the law of a smaller N where subset_max_weights is exact.
/// @throws DomainError invalid_n, empty_cache, nan_reward
template <class = void>
std::vector<double> resampled_max_weights(std::span<const double> rewards, double n) {
  require_n(n, "bon::resampled_max_weights");
  require_rewards(rewards, "bon::resampled_max_weights");
  const double m = static_cast<double>(rewards.size());
  std::vector<double> rank_weight;
  for (double k = 1; k <= m; ++k)  // (k/M)^N - ((k-1)/M)^N
    rank_weight.push_back(std::exp(n * std::log(k / m)) * -std::expm1(n * std::log1p(-1 / k)));
  return detail::share_by_rank(rewards, rank_weight);
}
}  // namespace vbon::bon
