// vbon/reward/score_loss.hpp
//
// Losses of rewards: squared error and logistic on scored texts, Bradley and Terry's on preferences. Each gives
// the mean over what has weight and overwrites d value / d score. `curvature` bounds the second derivative of one
// term.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "vbon/core/types.hpp"

namespace vbon::reward {
inline double log_one_plus_exp(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
inline double logistic(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

/// (s - target)^2 / 2
struct SquaredLoss {
  static constexpr double curvature = 1;
  std::vector<double> target;  // [n]
  std::vector<double> weight;  // [n] >= 0
  template <class = void>
  double operator()(const Array& score, Array& dscore) const {
    double sum = 0, total = 0;
    for (Index i = 0; i < score.size(); ++i) {
      const auto u = static_cast<std::size_t>(i);
      const double off = score[i] - target[u];
      sum += weight[u] * off * off / 2;
      dscore[i] = weight[u] * off;
      total += weight[u];
    }
    dscore /= total;
    return sum / total;
  }
};

/// -target log p - (1 - target) log(1 - p) with p = logistic(s)
struct LogisticLoss {
  static constexpr double curvature = 0.25;
  std::vector<double> target;  // [n] in [0, 1]
  std::vector<double> weight;  // [n] >= 0
  template <class = void>
  double operator()(const Array& score, Array& dscore) const {
    double sum = 0, total = 0;
    for (Index i = 0; i < score.size(); ++i) {
      const auto u = static_cast<std::size_t>(i);
      sum += weight[u] * (log_one_plus_exp(score[i]) - target[u] * score[i]);
      dscore[i] = weight[u] * (logistic(score[i]) - target[u]);
      total += weight[u];
    }
    dscore /= total;
    return sum / total;
  }
};

/// -log logistic(s_chosen - s_rejected - margin) + centering (s_chosen + s_rejected)^2: Bradley and Terry's
/// model with the margin of Touvron et al. (arXiv 2307.09288) and the centring of Eisenstein et al. (arXiv
/// 2312.09244). Rows [0, n) are the chosen, [n, 2n) the rejected.
struct PreferenceLoss {
  static constexpr double curvature = 0.5;
  std::vector<double> margin;  // [n]
  double centering = 0;
  template <class = void>
  double operator()(const Array& score, Array& dscore) const {
    const Index n = score.size() / 2;
    double sum = 0;
    for (Index i = 0; i < n; ++i) {
      const double gap = score[i] - score[n + i] - margin[static_cast<std::size_t>(i)];
      const double both = score[i] + score[n + i];
      sum += log_one_plus_exp(-gap) + centering * both * both;
      const double pull = -logistic(-gap);
      dscore[i] = pull + 2 * centering * both;
      dscore[n + i] = -pull + 2 * centering * both;
    }
    dscore /= static_cast<double>(n);
    return sum / static_cast<double>(n);
  }
};
}  // namespace vbon::reward
