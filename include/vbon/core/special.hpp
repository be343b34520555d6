// vbon/core/special.hpp
//
// The special functions behind estimates of a CDF: log-gamma, digamma (harmonic numbers) and the
// regularised incomplete beta function with its inverse. The standard library has none of the last
// three, and its lgamma writes a global, so threads may not share it.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace vbon {
/// log Gamma(x) for x > 0: recurrence up to x >= 16, then Stirling's series.
inline double log_gamma(double x) {
  double product = 1;
  while (x < 16) product *= x++;
  const double r = 1 / x, z = r * r;
  const double series = r * (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z / 1188))));
  return (x - 0.5) * std::log(x) - x + 0.5 * std::log(2 * std::numbers::pi) + series - std::log(product);
}

namespace detail {
// Bernoulli coefficients of psi(x) ~ log x - 1/(2x) - sum_k c_k x^-2k.
inline constexpr std::array<double, 7> digamma_series = {1.0 / 12,  -1.0 / 120, 1.0 / 252, -1.0 / 240,
                                                         1.0 / 132, -691.0 / 32760, 1.0 / 12};
}  // namespace detail

/// psi(x) = d log Gamma(x) / dx for x > 0. H_n = digamma(n + 1) + Euler's gamma.
inline double digamma(double x) {
  double shift = 0;
  for (; x < 12; ++x) shift += 1 / x;
  const double z = 1 / (x * x);
  double series = 0;
  for (auto c = detail::digamma_series.rbegin(); c != detail::digamma_series.rend(); ++c) series = (series + *c) * z;
  return std::log(x) - 0.5 / x - series - shift;
}

/// psi(x) - psi(y) for x, y > 0, to full relative accuracy also where the two nearly agree: every
/// part is written as a multiple of y - x before anything is subtracted.
inline double digamma_difference(double x, double y) {
  if (x > y) return -digamma_difference(y, x);
  const double gap = y - x;
  double shift = 0;
  for (; x < 12; ++x, ++y) shift += gap / (x * y);
  const double p = 1 / (x * x), q = 1 / (y * y);
  const double slope = gap * (1 / x + 1 / y) / (x * y);  // p - q
  // sum_k c_k (p^k - q^k) with p^k - q^k = (p - q)(p^(k-1) + ... + q^(k-1)).
  double series = 0, chain = 0, q_power = 1;
  for (const double c : detail::digamma_series) {
    chain = chain * p + q_power;
    q_power *= q;
    series += c * chain;
  }
  const double log_ratio = gap < 0.5 * y ? std::log1p(-gap / y) : std::log(x / y);
  return log_ratio - 0.5 * gap / (x * y) - slope * series - shift;
}

/// H_k = 1 + 1/2 + ... + 1/k for k >= 0.
inline double harmonic_number(double k) { return digamma_difference(k + 1, 1.0); }

namespace detail {
/// Continued fraction of the incomplete beta function (modified Lentz), for x < (a + 1) / (a + b + 2).
inline double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  const auto guard = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / guard(1 - (a + b) * x / (a + 1)), value = d;
  const int limit = 200 + static_cast<int>(20 * std::sqrt(std::max(a, b)));
  for (int m = 1; m <= limit; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guard(1 + even * d);
    c = guard(1 + even / c);
    value *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guard(1 + odd * d);
    c = guard(1 + odd / c);
    value *= d * c;
    if (std::abs(d * c - 1) < 4 * std::numeric_limits<double>::epsilon()) break;
  }
  return value;
}
}  // namespace detail

/// Regularised incomplete beta function I_x(a, b) = P(Beta(a, b) <= x), for a, b > 0 and 0 <= x <= 1.
inline double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front = log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log1p(-x);
  if (x < (a + 1) / (a + b + 2)) return std::exp(log_front) * detail::beta_fraction(a, b, x) / a;
  return 1 - std::exp(log_front) * detail::beta_fraction(b, a, 1 - x) / b;
}

/// The x with incomplete_beta(a, b, x) = p: Newton's method that a shrinking bracket keeps safe.
inline double incomplete_beta_inverse(double a, double b, double p) {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  const double log_norm = log_gamma(a + b) - log_gamma(a) - log_gamma(b);
  double low = 0, high = 1, x = a / (a + b);
  for (int step = 0; step < 200; ++step) {
    const double error = incomplete_beta(a, b, x) - p;
    (error > 0 ? high : low) = x;
    const double log_density = log_norm + (a - 1) * std::log(x) + (b - 1) * std::log1p(-x);
    double next = x - error * std::exp(-log_density);
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    if (std::abs(next - x) <= 4 * std::numeric_limits<double>::epsilon() * next) return next;
    x = next;
  }
  return x;
}
}  // namespace vbon
