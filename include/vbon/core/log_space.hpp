// vbon/core/log_space.hpp
//
// Arithmetic on logarithms of probabilities (natural log, nats). A response of -2000 nats underflows
// exp(); these functions never leave log space where that would lose digits.
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <numbers>
#include <span>

namespace vbon {
/// log(1 - e^x) for x <= 0; -inf at 0. Each branch is the one that keeps full relative accuracy.
template <std::floating_point T>
T log1mexp(T x) {
  return x >= -std::numbers::ln2_v<T> ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x));
}

/// log(1 + e^x), without overflow.
template <std::floating_point T>
T log1pexp(T x) {
  return std::max(x, T(0)) + std::log1p(std::exp(-std::abs(x)));
}

/// log(e^a + e^b); -inf when both are.
template <std::floating_point T>
T log_add(T a, T b) {
  const T high = std::max(a, b);
  if (std::isinf(high)) return high;
  return high + std::log1p(std::exp(std::min(a, b) - high));
}

/// log(e^a - e^b) for a >= b; -inf when they are equal.
template <std::floating_point T>
T log_sub(T a, T b) {
  if (a == b) return -std::numeric_limits<T>::infinity();
  return a + log1mexp(b - a);
}

/// log of the sum of e^x; -inf for no values. The order of addition is the order of the values.
inline double log_sum_exp(std::span<const double> x) {
  double high = -std::numeric_limits<double>::infinity();
  for (const double value : x) high = std::max(high, value);
  if (std::isinf(high)) return high;
  double sum = 0;
  for (const double value : x) sum += std::exp(value - high);
  return high + std::log(sum);
}

/// log(1 - (1 - p)^n): at least one of n draws hits an event of probability p = e^log_p.
/// Where n p < 1e-16 it is log n + log_p, which holds far below the point where e^log_p underflows.
inline double log_any_hit(double n, double log_p) {
  if (log_p < -37) {
    const double log_hits = std::log(n) + log_p;
    if (log_hits < -37) return log_hits;
  }
  return log1mexp(n * log1mexp(log_p));
}

/// log(1 + x) - x for x > -1, without the cancellation at small x.
inline double log1p_minus(double x) {
  if (x < -0.5 || x > 0.5) return std::log1p(x) - x;
  // With s = x / (2 + x): log(1 + x) = 2 atanh(s) and x = 2s + s x, so 2s cancels exactly.
  const double s = x / (2 + x), z = s * s;
  double sum = 0, power = 1;
  for (int k = 3; power > std::numeric_limits<double>::epsilon() * sum; k += 2) {
    sum += power / k;
    power *= z;
  }
  return s * (2 * z * sum - x);
}
}  // namespace vbon
