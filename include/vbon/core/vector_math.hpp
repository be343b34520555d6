// vbon/core/vector_math.hpp
//
// exp, expm1, log and log1p on xsimd batches of double, branch-free, on just the ranges log-space work
// needs. xsimd's own versions serve every argument and take longer; these are within 2 units in the last
// place (tested against the standard library). Coefficients: minimax polynomials found by the Remez
// exchange in 60 digits, relative error below 2e-17 on the reduced range.
//
// Each function works on a pack of K batches, statement by statement: the dependent steps of one batch
// take longer than a processor looks ahead, so it is other batches that keep the arithmetic units busy.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "vbon/core/simd.hpp"

namespace vbon::vector_math {
template <class B, std::size_t K>
using Pack = std::array<B, K>;

/// {f(0), f(1), ..., f(K-1)} with compile-time indices: one statement of a kernel, for every batch of a pack.
template <std::size_t K, class F>
[[gnu::always_inline]] inline auto each(const F& f) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) __attribute__((always_inline)) {
    return std::array{f(std::integral_constant<std::size_t, i>{})...};
  }(std::make_index_sequence<K>{});
}

namespace detail {
template <class B>
using Bits = xsimd::batch<std::int64_t, typename B::arch_type>;
template <class B>
[[gnu::always_inline]] inline Bits<B> to_bits(const B& x) {
  return xsimd::bitwise_cast<Bits<B>>(x);
}
template <class B>
[[gnu::always_inline]] inline B from_bits(const Bits<B>& x) {
  return xsimd::bitwise_cast<B>(x);
}

/// e^x = scale (1 + rest) for -708 <= x <= 0: scale is a power of two, |rest| < 0.42.
template <class B, std::size_t K>
struct ExpParts {
  Pack<B, K> scale, rest;
};
template <class B, std::size_t K>
[[gnu::always_inline]] inline ExpParts<B, K> exp_parts(const Pack<B, K>& x) {
  // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits of the sum.
  const B magic(0x1.8p52);
  const auto shifted = each<K>([&](auto i) { return xsimd::fma(x[i], B(1.4426950408889634), magic); });
  const auto k = each<K>([&](auto i) { return shifted[i] - magic; });
  // log 2 in two parts; k times the first is exact.
  const auto high_rest = each<K>([&](auto i) { return xsimd::fnma(k[i], B(0x1.62e42feep-1), x[i]); });
  const auto r = each<K>([&](auto i) { return xsimd::fnma(k[i], B(0x1.a39ef35793c76p-33), high_rest[i]); });
  const auto r2 = each<K>([&](auto i) { return r[i] * r[i]; });
  // (e^r - 1 - r) / r^2 by pairs of terms: shorter chains than Horner's scheme.
  const auto pair = [&](double odd, double even) { return each<K>([&](auto i) { return xsimd::fma(B(odd), r[i], B(even)); }); };
  const auto push = [&](const auto& sum, const auto& next) { return each<K>([&](auto i) { return xsimd::fma(sum[i], r2[i], next[i]); }); };
  auto series = pair(2.5114502136652765e-08, 2.7626383049292985e-07);
  series = push(series, pair(2.7557227858336982e-06, 2.4801504309938646e-05));
  series = push(series, pair(0.00019841269903147238, 0.0013888888932486122));
  series = push(series, pair(0.008333333333314527, 0.041666666666573315));
  series = push(series, pair(0.16666666666666685, 0.5000000000000006));
  const Bits<B> one(std::int64_t{1023} << 52);
  return {each<K>([&](auto i) { return from_bits<B>((to_bits(shifted[i]) << 52) + one); }), push(series, r)};
}

/// log(1 + f) for 1 + f in [sqrt(1/2), sqrt(2)], to full relative accuracy.
template <class B, std::size_t K>
[[gnu::always_inline]] inline Pack<B, K> log1p_reduced(const Pack<B, K>& f) {
  const auto s = each<K>([&](auto i) { return f[i] / (f[i] + B(2.0)); });  // log(1 + f) = 2 atanh(s)
  const auto z = each<K>([&](auto i) { return s[i] * s[i]; });
  const auto z2 = each<K>([&](auto i) { return z[i] * z[i]; });
  const auto pair = [&](double odd, double even) { return each<K>([&](auto i) { return xsimd::fma(B(odd), z[i], B(even)); }); };
  const auto push = [&](const auto& sum, const auto& next) { return each<K>([&](auto i) { return xsimd::fma(sum[i], z2[i], next[i]); }); };
  // (2 atanh(s) - 2s) / s^3
  auto series = pair(0.15313976463811652, 0.181835670472267);
  series = each<K>([&](auto i) { return xsimd::fma(B(0.14796733597149536), z2[i], series[i]); });
  series = push(series, pair(0.22222198524389347, 0.285714287428258));
  series = push(series, pair(0.39999999999412894, 0.6666666666666735));
  const auto excess = each<K>([&](auto i) { return xsimd::fnma(z[i], series[i], f[i]); });
  return each<K>([&](auto i) { return xsimd::fnma(s[i], excess[i], f[i]); });  // 2s = f - s f
}
}  // namespace detail

/// e^x for -708 <= x <= 0.
template <class B, std::size_t K>
[[gnu::always_inline]] inline Pack<B, K> exp_nonpositive(const Pack<B, K>& x) {
  const auto parts = detail::exp_parts(x);
  return each<K>([&](auto i) { return xsimd::fma(parts.scale[i], parts.rest[i], parts.scale[i]); });
}

/// 1 - e^-x for x >= 0, to full relative accuracy; x = inf gives 1.
template <class B, std::size_t K>
[[gnu::always_inline]] inline Pack<B, K> one_minus_exp_neg(const Pack<B, K>& x) {
  // e^-40 is lost beside 1
  const auto parts = detail::exp_parts(each<K>([&](auto i) { return xsimd::max(-x[i], B(-40.0)); }));
  return each<K>([&](auto i) { return xsimd::fnma(parts.scale[i], parts.rest[i], B(1.0) - parts.scale[i]); });
}

/// log(1 + x) for 0 <= x <= 1, to full relative accuracy. Where 0 < x < 1e-38 powers of x underflow: the
/// result stands, but denormal numbers are slow.
template <class B, std::size_t K>
[[gnu::always_inline]] inline Pack<B, K> log1p_unit(const Pack<B, K>& x) {
  const B split(0.41421356237309503);  // (1 + x) / 2 - 1 is exact above it
  const auto value = detail::log1p_reduced(
      each<K>([&](auto i) { return xsimd::select(x[i] > split, xsimd::fma(x[i], B(0.5), B(-0.5)), x[i]); }));
  return each<K>([&](auto i) { return value[i] + xsimd::select(x[i] > split, B(0.6931471805599453), B(0.0)); });
}

/// log(x) for positive normal x, to within a unit of 2^-52 of 1 + |log x| (absolute near x = 1).
template <class B, std::size_t K>
[[gnu::always_inline]] inline Pack<B, K> log_positive(const Pack<B, K>& x) {
  using Bits = detail::Bits<B>;
  using Unsigned = xsimd::batch<std::uint64_t, typename B::arch_type>;
  constexpr std::int64_t root_half = 0x3fe6a09e667f3bcd;  // the bits of sqrt(1/2)
  // Split x = 2^k m with m in [sqrt(1/2), sqrt(2)): subtract those bits, read off the exponent.
  const auto offset = each<K>([&](auto i) { return detail::to_bits(x[i]) + Bits((std::int64_t{1024} << 52) - root_half); });
  const auto k = each<K>([&](auto i) {
    const Bits biased = xsimd::bitwise_cast<Bits>(xsimd::bitwise_cast<Unsigned>(offset[i]) >> 52);  // k + 1024
    return detail::from_bits<B>(biased | Bits(std::int64_t{0x433} << 52)) - B(0x1p52 + 1024);
  });
  const auto log_m = detail::log1p_reduced(each<K>([&](auto i) {
    return detail::from_bits<B>((offset[i] & Bits((std::int64_t{1} << 52) - 1)) + Bits(root_half)) - B(1.0);
  }));
  return each<K>([&](auto i) { return xsimd::fma(k[i], B(0.6931471805599453), log_m[i]); });
}
}  // namespace vbon::vector_math
