// vbon/bon/published_estimator.hpp
//
// The two estimates of log F in the code published with arXiv 2407.06057, to reproduce its numbers.
#pragma once
#include <cmath>
#include <vector>

#include "vbon/bon/estimator.hpp"

namespace vbon::bon {
/// The published table log((K+1)/(M+1)) in single precision. K = M gives exactly 0.
struct PublishedFormula {
  static constexpr std::string_view name = "published";
  static double log_cdf_of_rank(Index below, Index samples) {
    return static_cast<double>(std::log(static_cast<float>(below + 1) / static_cast<float>(samples + 1)));
  }
};
using Published = RankEstimator<PublishedFormula>;

/// The published curve log F(r) = -A exp(-B r) - C, fitted by least squares to (r_(k), log(k/(M+1))).
/// For comparison only: on normal rewards it is 20 to 200 times worse than ranks (KL of the law it implies),
/// and its tail leaves log F <= 0, which is clamped and counted.
class CurveFit {
 public:
  /// @param sorted  [M] rewards, ascending and finite
  /// @throws DomainError empty_cache, nan_reward, infinite_reward
  template <class = void>
  explicit CurveFit(std::span<const double> sorted) {
    require_rewards(sorted, "bon::CurveFit");
    for (const double r : sorted)
      require<DomainError>(std::isfinite(r), ErrorCode{"infinite_reward"}, "bon::CurveFit: finite rewards expected, got ", r);
    origin_ = sorted.front();
    const double scale = sorted.back() - sorted.front();
    if (scale == 0) {
      solve(sorted, 0);
      return;
    }
    // A and C are linear, so least squares is a search over B alone: a grid in log B, then golden section.
    const auto error = [&](double log_rate) { return solve(sorted, std::exp(log_rate) / scale); };
    double best = 0, lowest = std::numeric_limits<double>::infinity();
    constexpr double step = 0.25;
    for (double log_rate = -6; log_rate <= 9; log_rate += step)
      if (const double e = error(log_rate); e < lowest) lowest = e, best = log_rate;
    double left = best - step, right = best + step;
    const double golden = std::numbers::phi - 1;
    for (int i = 0; i < 60; ++i) {
      const double a = right - golden * (right - left), b = left + golden * (right - left);
      (error(a) < error(b) ? right : left) = error(a) < error(b) ? b : a;
    }
    solve(sorted, std::exp(0.5 * (left + right)) / scale);
  }

  /// The curve itself; may exceed 0.
  double curve(double reward) const { return -amplitude_ * std::exp(-rate_ * (reward - origin_)) - offset_; }
  /// The curve clamped to <= 0; `clamped` counts how often that was needed.
  /// @throws DomainError nan_reward
  double log_cdf(double reward, Index& clamped) const {
    require_reward(reward, "bon::CurveFit");
    const double value = curve(reward);
    if (value > 0) ++clamped;
    return std::min(value, 0.0);
  }
  double amplitude() const { return amplitude_; }  // A exp(-B r_(1))
  double rate() const { return rate_; }            // B
  double offset() const { return offset_; }        // C

 private:
  /// Sets A and C for this B; returns the sum of squared residuals.
  double solve(std::span<const double> sorted, double rate) {
    const double m = static_cast<double>(sorted.size());
    const auto target = [&](std::size_t i) { return std::log((static_cast<double>(i) + 1) / (m + 1)); };
    const auto basis = [&](std::size_t i) { return std::exp(-rate * (sorted[i] - origin_)); };
    double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
    for (std::size_t i = 0; i < sorted.size(); ++i) mean_x += basis(i) / m, mean_y += target(i) / m;
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      const double x = basis(i) - mean_x, y = target(i) - mean_y;
      xx += x * x, xy += x * y, yy += y * y;
    }
    const double slope = xx > 0 ? xy / xx : 0;
    rate_ = rate;
    amplitude_ = -slope;
    offset_ = -(mean_y - slope * mean_x);
    return yy - slope * xy;
  }

  double origin_ = 0, amplitude_ = 0, rate_ = 0, offset_ = 0;
};
}  // namespace vbon::bon
