// vbon/kernel/simd.hpp
//
// The few vector operations the kernels need beyond xsimd: a true fused multiply-add on AVX-512 (xsimd
// 8.1 multiplies, then adds), partial loads and stores for the ends of rows, reductions in a fixed order,
// and an exp whose value depends on its argument alone, so that a row's end gives the bits of its middle.
#pragma once
#include <algorithm>
#include <type_traits>

#include "vbon/core/simd.hpp"
#include "vbon/core/tensor.hpp"

// Loops over registers must be unrolled completely, or g++ 12 keeps the accumulators in memory at -O2.
#if defined(__clang__)
#define VBON_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define VBON_UNROLL _Pragma("GCC unroll 32")
#else
#define VBON_UNROLL
#endif

// For small functions and lambdas over registers, which a call would send through memory.
#if defined(__GNUC__)
#define VBON_INLINE __attribute__((always_inline))
#else
#define VBON_INLINE
#endif

namespace vbon::kernel::detail {
template <class Arch>
using Batch = xsimd::batch<float, Arch>;

/// Floats per register.
template <class Arch>
inline constexpr Index lanes = static_cast<Index>(Batch<Arch>::size);

/// 512-bit registers: the instruction sets with masks, 32 registers and a scaling instruction.
template <class Arch>
inline constexpr bool is_wide = lanes<Arch> == 16;

/// Vector registers of the instruction set.
template <class Arch>
inline constexpr int registers = is_wide<Arch> ? 32 : 16;

constexpr std::size_t size(Index i) { return static_cast<std::size_t>(i); }

template <class Arch>
inline Batch<Arch> load(const float* from) {
  return Batch<Arch>::load_unaligned(from);
}
template <class Arch>
inline void store(float* to, Batch<Arch> value) {
  value.store_unaligned(to);
}

/// The first `count` values, zero after them; memory beyond them is not touched.
template <class Arch>
inline Batch<Arch> load_partial(const float* from, Index count) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), from);
#endif
  alignas(64) float values[lanes<Arch>] = {};
  for (Index i = 0; i < count; ++i) values[i] = from[i];
  return Batch<Arch>::load_aligned(values);
}
template <class Arch>
inline void store_partial(float* to, Batch<Arch> value, Index count) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1u), value);
    return;
  }
#endif
  alignas(64) float values[lanes<Arch>];
  value.store_aligned(values);
  for (Index i = 0; i < count; ++i) to[i] = values[i];
}

#if XSIMD_WITH_SSE2
using FourLanes = xsimd::sse2;
#else
using FourLanes = xsimd::default_arch;
#endif
/// Four values of each of four rows, rows becoming columns. Registers of four do as well as longer ones, whose halves would
/// have to change places.
template <class Arch = FourLanes>
VBON_INLINE inline void transpose_four(const float* from, Index from_row, float* to, Index to_row) {
  if constexpr (lanes<Arch> == 4) {
    const Batch<Arch> a = load<Arch>(from), b = load<Arch>(from + from_row);
    const Batch<Arch> c = load<Arch>(from + 2 * from_row), d = load<Arch>(from + 3 * from_row);
    store<Arch>(to, zip_lo(zip_lo(a, c), zip_lo(b, d)));
    store<Arch>(to + to_row, zip_hi(zip_lo(a, c), zip_lo(b, d)));
    store<Arch>(to + 2 * to_row, zip_lo(zip_hi(a, c), zip_hi(b, d)));
    store<Arch>(to + 3 * to_row, zip_hi(zip_hi(a, c), zip_hi(b, d)));
  } else {
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < 4; ++j) to[i * to_row + j] = from[j * from_row + i];
  }
}

/// Instruction sets without a fused multiply-add.
#if XSIMD_WITH_SSE2
template <class Arch, class... Plain>
inline constexpr bool is_one_of = (std::is_same_v<Arch, Plain> || ...);
template <class Arch>
inline constexpr bool rounds_twice =
    is_one_of<Arch, xsimd::sse2, xsimd::sse3, xsimd::ssse3, xsimd::sse4_1, xsimd::sse4_2, xsimd::avx, xsimd::avx2>;
#elif defined(XSIMD_NO_SUPPORTED_ARCHITECTURE) && !defined(__FP_FAST_FMAF)
template <class Arch>
inline constexpr bool rounds_twice = true;
#else
template <class Arch>
inline constexpr bool rounds_twice = false;
#endif

/// a b, rounded, wherever it stands: in a build for a processor with fused multiply-adds the compiler would fuse some
/// products with the sum behind them and not others. It may not look through this.
template <class Arch>
inline Batch<Arch> rounded_product(Batch<Arch> a, Batch<Arch> b) {
#if XSIMD_WITH_SSE2 && defined(__GNUC__)
  auto product = (a * b).data;
  asm("" : "+v"(product));
  return Batch<Arch>(product);
#else
  return a * b;
#endif
}

/// a b + c, rounded once where the instruction set can.
template <class Arch>
inline Batch<Arch> fma(Batch<Arch> a, Batch<Arch> b, Batch<Arch> c) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_fmadd_ps(a, b, c);
#endif
#if XSIMD_WITH_SSE2
  if constexpr (rounds_twice<Arch>) return rounded_product<Arch>(a, b) + c;
#endif
  return xsimd::fma(a, b, c);
}

template <class Arch, class Op>
inline float reduce(Batch<Arch> value, Op op) {
  alignas(64) float values[lanes<Arch>];
  value.store_aligned(values);
  for (Index half = lanes<Arch> / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) values[i] = op(values[i], values[i + half]);
  return values[0];
}
/// Sum of the lanes: halves are added until one is left.
template <class Arch>
inline float sum(Batch<Arch> value) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_reduce_add_ps(value);
#endif
  return reduce<Arch>(value, [](float a, float b) { return a + b; });
}
template <class Arch>
inline float largest(Batch<Arch> value) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_reduce_max_ps(value);
#endif
  return reduce<Arch>(value, [](float a, float b) { return std::max(a, b); });
}

/// The first `count` lanes of value, `other` in the rest.
template <class Arch>
inline Batch<Arch> keep_first(Batch<Arch> value, Index count, Batch<Arch> other) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_mask_mov_ps(other, static_cast<__mmask16>((1u << count) - 1u), value);
#endif
  static constexpr float number[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  static_assert(is_wide<Arch> || lanes<Arch> <= 8);
  return xsimd::select(load<Arch>(number) < Batch<Arch>(static_cast<float>(count)), value, other);
}

/// Lane i of the result is the sum of the lanes of row[i], by one tree for every i. (xsimd 8.1 orders the
/// sums of its AVX-512 version differently.)
template <class Arch>
inline Batch<Arch> sum_each(const Batch<Arch> (&row)[lanes<Arch>]) {
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) {
    __m512 pair[8], four[4], half[2];
    VBON_UNROLL
    for (int i = 0; i < 8; ++i)
      pair[i] =
          _mm512_add_ps(_mm512_unpacklo_ps(row[2 * i], row[2 * i + 1]), _mm512_unpackhi_ps(row[2 * i], row[2 * i + 1]));
    VBON_UNROLL
    for (int i = 0; i < 4; ++i) {  // four rows side by side in each quarter
      const __m512d a = _mm512_castps_pd(pair[2 * i]), b = _mm512_castps_pd(pair[2 * i + 1]);
      four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    VBON_UNROLL
    for (int i = 0; i < 2; ++i)  // quarters 0 + 1 and 2 + 3
      half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x88),
                              _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88), _mm512_shuffle_f32x4(half[0], half[1], 0xdd));
  }
#endif
  return xsimd::haddp(row);
}

/// e^x within 1.5 units in the last place; 0 below -87.33 (results are never subnormal: those cost the
/// processor a hundred cycles each), inf above 88.73, NaN for NaN.
/// x = n log 2 + r with |r| <= log(2) / 2, e^r by its Taylor series (the next term is below 6e-9).
template <class Arch>
inline Batch<Arch> exp(Batch<Arch> x) {
  using B = Batch<Arch>;
  const B lowest(-87.33f);
  const B bounded = xsimd::min(B(89.0f), xsimd::max(lowest, x));  // in this order a NaN passes through
  const B n = xsimd::nearbyint(bounded * B(1.44269504f));
  const B r = fma<Arch>(n, B(2.12194440e-4f), fma<Arch>(n, B(-0.693359375f), bounded));
  B p(1.0f / 5040);
  p = fma<Arch>(p, r, B(1.0f / 720));
  p = fma<Arch>(p, r, B(1.0f / 120));
  p = fma<Arch>(p, r, B(1.0f / 24));
  p = fma<Arch>(p, r, B(1.0f / 6));
  p = fma<Arch>(p, r, B(0.5f));
  p = fma<Arch>(p, r, B(1.0f));
  p = fma<Arch>(p, r, B(1.0f));
#if XSIMD_WITH_AVX512F
  if constexpr (is_wide<Arch>) return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, lowest, _CMP_NLT_UQ), p, n);
#endif
  // 2^n in two factors, because n = 128 has no single one.
  using Int = xsimd::batch<std::int32_t, Arch>;
  const Int whole = xsimd::to_int(n);
  const Int half = whole >> 1;
  const B first = xsimd::bitwise_cast<B>((half + Int(127)) << 23);
  const B second = xsimd::bitwise_cast<B>((whole - half + Int(127)) << 23);
  return xsimd::select(x < lowest, B(0.0f), p * first * second);
}

/// 1 / (1 + e^-x), with full relative precision where it is small.
template <class Arch>
inline Batch<Arch> sigmoid(Batch<Arch> x) {
  return Batch<Arch>(1.0f) / (Batch<Arch>(1.0f) + exp<Arch>(-x));
}

/// Memory for `count` values that this thread keeps between calls; each Tag is a buffer of its own. It grows
/// in steps, because a sequence that grows token by token asks for a little more each time.
template <class Tag, class T = float>
inline T* scratch(Index count) {
  thread_local Tensor<T> buffer;
  if (buffer.size() < count) buffer = Tensor<T>(std::max(count, buffer.size() + buffer.size() / 2));
  return buffer.data();
}

/// Calls step(offset, count) over [begin, end) in registers: count is `lanes` but at the end.
template <class Arch, class Step>
inline void for_lanes(Index begin, Index end, const Step& step) {
  Index i = begin;
  for (; i + lanes<Arch> <= end; i += lanes<Arch>) step(i, std::integral_constant<Index, lanes<Arch>>{});
  if (i < end) step(i, end - i);
}
/// Load and store for for_lanes(): a compile-time count means the whole register.
template <class Arch, class Count>
inline Batch<Arch> load_some(const float* from, Count count) {
  if constexpr (std::is_same_v<Count, Index>)
    return load_partial<Arch>(from, count);
  else
    return load<Arch>(from);
}
template <class Arch, class Count>
inline void store_some(float* to, Batch<Arch> value, Count count) {
  if constexpr (std::is_same_v<Count, Index>)
    store_partial<Arch>(to, value, count);
  else
    store<Arch>(to, value);
}
}  // namespace vbon::kernel::detail
