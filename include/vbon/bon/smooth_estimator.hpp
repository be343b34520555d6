// vbon/bon/smooth_estimator.hpp
//
// Estimates of log F that use the values of the rewards and not only their ranks, so they borrow strength
// from neighbours but change under an increasing map of the reward. At the optimum of the objective they
// cost 0.5 to 1 times the error of ranks (KL of the law they imply).
#pragma once
#include <cmath>
#include <numbers>

#include "vbon/bon/estimator.hpp"
#include "vbon/core/quantile.hpp"

namespace vbon::bon {
/// F^(r) = (1/2 + sum_i Phi((r - r_i) / h)) / (M + 1/2) with the bandwidth
/// h = 1.3 min(sd, IQR / 1.349) M^(-1/3). The 1/2 keeps the left tail finite. Where the spread is 0 (all
/// rewards equal) the estimate is that of ranks; otherwise it is continuous and knows no ties. O(M) a query.
struct Kernel {
  static constexpr std::string_view name = "kernel";

  /// @throws DomainError empty_cache, nan_reward
  template <class = void>
  double log_cdf(std::span<const double> sorted, double reward) const {
    const double h = bandwidth(sorted);
    return h > 0 ? smooth(sorted, reward, h) : Half{}.log_cdf(sorted, reward);
  }
  template <class = void>
  double log_cdf_le(std::span<const double> sorted, double reward) const {
    const double h = bandwidth(sorted);
    return h > 0 ? smooth(sorted, reward, h) : Half{}.log_cdf_le(sorted, reward);
  }
  /// h of the formula above; infinite rewards do not count. 0 where the finite ones do not spread.
  template <class = void>
  static double bandwidth(std::span<const double> sorted) {
    require<DomainError>(!sorted.empty(), ErrorCode{"empty_cache"}, "bon::Kernel: at least one reward expected, got none");
    const auto finite_begin = std::upper_bound(sorted.begin(), sorted.end(), -std::numeric_limits<double>::infinity());
    const auto finite_end = std::lower_bound(finite_begin, sorted.end(), std::numeric_limits<double>::infinity());
    const std::span<const double> finite(finite_begin, finite_end);
    if (finite.size() < 2) return 0;
    double mean = 0, squares = 0;
    for (const double r : finite) mean += r / detail::count(static_cast<Index>(finite.size()));
    for (const double r : finite) squares += (r - mean) * (r - mean);
    const double sd = std::sqrt(squares / (static_cast<double>(finite.size()) - 1));
    const double spread = (quantile(finite, 0.75) - quantile(finite, 0.25)) / 1.349;
    // Heavy ties can make the quartiles meet while the rewards still spread.
    return 1.3 * (spread > 0 ? std::min(sd, spread) : sd) / std::cbrt(static_cast<double>(sorted.size()));
  }

 private:
  static double smooth(std::span<const double> sorted, double reward, double h) {
    require_reward(reward, "bon::Kernel");
    double sum = 0.5;
    for (const double r : sorted) sum += r == reward ? 0.5 : 0.5 * std::erfc((r - reward) / (h * std::numbers::sqrt2));
    return std::min(0.0, detail::log_count_ratio(sum, static_cast<double>(sorted.size()) + 0.5));
  }
};

/// Linear interpolation between the points (r_(k), E log F(r_(k)) = psi(k) - psi(M+1)), constant outside.
struct Interpolated {
  static constexpr std::string_view name = "interpolated";

  /// @throws DomainError empty_cache, nan_reward
  double log_cdf(std::span<const double> sorted, double reward) const { return at(sorted, reward, false); }
  double log_cdf_le(std::span<const double> sorted, double reward) const { return at(sorted, reward, true); }

 private:
  template <class = void>
  static double at(std::span<const double> sorted, double reward, bool inclusive) {
    require<DomainError>(!sorted.empty(), ErrorCode{"empty_cache"}, "bon::Interpolated: at least one reward expected, got none");
    require_reward(reward, "bon::Interpolated");
    const RankCounts counts = count_ranks(sorted, reward);
    const Index samples = static_cast<Index>(sorted.size());
    const auto point = [&](Index k) { return digamma_difference(detail::count(k), detail::count(samples) + 1); };
    if (counts.equal > 0) return point(inclusive ? counts.below + counts.equal : counts.below + 1);
    if (counts.below == 0) return point(1);
    if (counts.below == samples) return point(samples);
    const double left = sorted[static_cast<std::size_t>(counts.below) - 1], right = sorted[static_cast<std::size_t>(counts.below)];
    const double share = (reward - left) / (right - left);
    return std::lerp(point(counts.below), point(counts.below + 1), std::isfinite(right - left) ? share : 0.5);
  }
};
}  // namespace vbon::bon
