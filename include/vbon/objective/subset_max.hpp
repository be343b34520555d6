// vbon/objective/subset_max.hpp
//
// Averages of the maximum over all k-subsets of n rewards, and what each reward adds to them: weights of
// sorted rewards by a downward recurrence, so O(n log n) and no binomial coefficient is ever formed.
// Source: Walder and Karkhanis, "Pass@K policy optimization", arXiv 2505.15201.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "vbon/objective/check.hpp"

namespace vbon::objective {
/// Rewards of one group, sorted once.
class SubsetMax {
 public:
  /// @throws DomainError unless 1 <= k <= n and rewards are finite
  template <class = void>
  SubsetMax(const Array& reward, Index k) : k_(k), order_(static_cast<std::size_t>(reward.size())), sorted_(reward.size()) {
    require<DomainError>(reward.size() > 0, ErrorCode{"empty_group"}, "subset_max: at least one reward expected, got none");
    require<DomainError>(k >= 1 && k <= reward.size(), "subset_max: k in [1, ", reward.size(), "] expected, got ", k);
    require_finite("subset_max", "reward", reward, reward.size());
    std::iota(order_.begin(), order_.end(), Index{0});
    std::stable_sort(order_.begin(), order_.end(), [&](Index a, Index b) { return reward[a] < reward[b]; });
    for (Index i = 0; i < sorted_.size(); ++i) sorted_[i] = reward[order_[static_cast<std::size_t>(i)]];
  }

  /// Mean over all k-subsets of their maximum (pass@k for rewards 0 and 1).
  template <class = void>
  double mean() const {
    return (top_weight(sorted_.size(), k_) * sorted_).sum();
  }

  /// s_i = (1/C(n,k)) sum over the k-subsets that contain i of their maximum; their sum is k times the mean.
  Array inclusion() const {
    const Index n = sorted_.size();
    const Array a = top_weight(n, k_), b = partner_weight(n, k_);
    Array s(n);
    double above = 0;  // sum of b_j g_j over the rewards after i
    for (Index i = n - 1; i >= 0; --i) {
      s[order_[static_cast<std::size_t>(i)]] = a[i] * sorted_[i] + above;
      above += b[i] * sorted_[i];
    }
    return s;
  }

  /// For each i the mean over k'-subsets of the others of their maximum.
  /// @throws DomainError unless 1 <= k' <= n - 1
  template <class = void>
  Array without_own(Index k) const {
    const Index n = sorted_.size();
    require<DomainError>(k >= 1 && k <= n - 1, "subset_max: k in [1, ", n - 1, "] expected without one reward, got ", k);
    const Array w = top_weight(n - 1, k);
    Array rest(n);
    double above = 0;  // rewards after i lose one rank
    for (Index i = n - 1; i >= 0; --i) {
      rest[i] = above;
      if (i > 0) above += w[i - 1] * sorted_[i];
    }
    Array mean_of_rest(n);
    double below = 0;
    for (Index i = 0; i < n; ++i) {
      mean_of_rest[order_[static_cast<std::size_t>(i)]] = below + rest[i];
      if (i < n - 1) below += w[i] * sorted_[i];
    }
    return mean_of_rest;
  }

 private:
  /// P(the reward of rank j is the maximum of a random k-subset) = C(j-1, k-1)/C(n, k).
  static Array top_weight(Index n, Index k) {
    Array a = Array::Zero(n);
    double value = static_cast<double>(k) / static_cast<double>(n);
    for (Index j = n; j >= k; --j) {
      a[j - 1] = value;
      if (j > 1) value *= static_cast<double>(j - k) / static_cast<double>(j - 1);
    }
    return a;
  }
  /// The same jointly with one given reward of lower rank: C(j-2, k-2)/C(n, k).
  static Array partner_weight(Index n, Index k) {
    Array b = Array::Zero(n);
    if (k < 2) return b;
    double value =
        static_cast<double>(k) * static_cast<double>(k - 1) / (static_cast<double>(n) * static_cast<double>(n - 1));
    for (Index j = n; j >= k; --j) {
      b[j - 1] = value;
      if (j > 2) value *= static_cast<double>(j - k) / static_cast<double>(j - 2);
    }
    return b;
  }

  Index k_;
  std::vector<Index> order_;  // response of each rank, ascending
  Array sorted_;
};
}  // namespace vbon::objective
