// vbon/bon/empirical_cdf.hpp
//
// Where a reward stands among the M cached reference rewards of one prompt. Everything else about the
// reward's CDF F is an estimator on top of two counts: K rewards strictly below, E equal (estimator.hpp).
#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"

namespace vbon::bon {
/// Ranks of one reward among M others.
struct RankCounts {
  Index below = 0;  // K
  Index equal = 0;  // E
  friend bool operator==(const RankCounts&, const RankCounts&) = default;
};

/// K and E of a reward in rewards that ascend; O(log M). No checks: for use in loops.
template <class T>
RankCounts count_ranks(std::span<const T> sorted, T reward) {
  // Branch-free bisection: a mispredicted branch costs more than the comparison it saves.
  const T* base = sorted.data();
  std::size_t size = sorted.size();
  while (size > 1) {
    const std::size_t half = size / 2;
    base += half & (std::size_t{0} - static_cast<std::size_t>(base[half - 1] < reward));
    size -= half;
  }
  const std::size_t below = static_cast<std::size_t>(base - sorted.data()) + (size == 1 && *base < reward ? 1 : 0);
  std::size_t equal = 0;  // ties are few or long: look at the next one before bisecting for the end
  if (below < sorted.size() && sorted[below] == reward)
    equal = below + 1 < sorted.size() && sorted[below + 1] == reward
                ? static_cast<std::size_t>(std::upper_bound(sorted.begin() + static_cast<Index>(below), sorted.end(), reward) -
                                           sorted.begin()) - below
                : 1;
  return {static_cast<Index>(below), static_cast<Index>(equal)};
}

/// The cached rewards of one prompt, ascending. T is the type they are compared in: a cache kept in
/// float32 must be BasicEmpiricalCdf<float>, which rounds cache and query alike, so that ties stay ties.
template <std::floating_point T>
class BasicEmpiricalCdf {
 public:
  /// @param rewards  [M], any order; +-inf are legal, they order
  /// @throws DomainError empty_cache (M = 0), nan_reward
  explicit BasicEmpiricalCdf(std::span<const double> rewards) {
    require_rewards(rewards, "bon::EmpiricalCdf");
    sorted_.reserve(rewards.size());
    for (const double reward : rewards) sorted_.push_back(static_cast<T>(reward));
    std::sort(sorted_.begin(), sorted_.end());
  }

  Index size() const { return static_cast<Index>(sorted_.size()); }
  std::span<const T> sorted() const { return sorted_; }

  /// K and E of a reward that is not in the cache.
  /// @throws DomainError nan_reward
  RankCounts count(double reward) const {
    require_reward(reward, "bon::EmpiricalCdf::count");
    return count_ranks(sorted(), static_cast<T>(reward));
  }
  /// K and E of a cached reward among the other M - 1: leave-one-out.
  /// @throws DomainError nan_reward; cache_too_small (M = 1 leaves nothing); unknown_reward (not cached)
  RankCounts count_among_others(double reward) const {
    require<DomainError>(size() > 1, ErrorCode{"cache_too_small"},
                         "bon::EmpiricalCdf::count_among_others: a cache of at least 2 rewards expected, got 1");
    RankCounts counts = count(reward);
    require<DomainError>(counts.equal > 0, ErrorCode{"unknown_reward"},
                         "bon::EmpiricalCdf::count_among_others: a cached reward expected, got ", reward);
    --counts.equal;
    return counts;
  }

 private:
  std::vector<T> sorted_;
};
using EmpiricalCdf = BasicEmpiricalCdf<double>;
}  // namespace vbon::bon
