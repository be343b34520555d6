// vbon/core/quantile.hpp
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

namespace vbon {
/// Quantile of ascending finite values, linear between order statistics; level in [0, 1], at least one value.
inline double quantile(std::span<const double> sorted, double level) {
  const double at = level * static_cast<double>(sorted.size() - 1);
  const std::size_t low = static_cast<std::size_t>(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}
}  // namespace vbon
