// vbon/eval/ideal.hpp
//
// The frontier of best-of-N under a continuous reward: (KL, win rate) = (log N - (N-1)/N, N/(N+1)) as N grows. A
// policy cannot do better at its divergence than the best-of-N of that divergence, near enough: the tilt that
// maximises the win rate at a given KL lies a hair above this curve.
#pragma once
#include <cmath>

#include "vbon/core/error.hpp"

namespace vbon::eval {
/// The N whose best-of-N is `kl` nats from the reference: the root of log N - (N-1)/N = kl, N >= 1.
/// @throws DomainError when kl is negative or not finite
inline double ideal_n(double kl) {
  require<DomainError>(kl >= 0 && std::isfinite(kl), "eval::ideal_n: a finite KL >= 0 expected, got ", kl);
  // In x = log N: x + e^-x - 1 = kl, convex and increasing; Newton from the right converges without a step aside.
  double x = kl + std::sqrt(2 * kl);
  for (int i = 0; i < 60; ++i) {
    const double value = x + std::expm1(-x) - kl, slope = -std::expm1(-x);
    if (slope == 0) break;
    const double next = x - value / slope;
    if (std::abs(next - x) <= 1e-15 * x) break;
    x = next;
  }
  return std::exp(x);
}
/// Win rate of that best-of-N against the reference.
inline double ideal_win_rate(double kl) {
  const double n = ideal_n(kl);
  return n / (n + 1);
}
}  // namespace vbon::eval
