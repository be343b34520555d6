// vbon/kernel/bfloat16.hpp
//
// Products of numbers rounded to bfloat16 with sums in float, and what the operands of a product look like in memory. A
// tile (matmul_tile.hpp) goes through slots of 32 bits: one step of the sum as a float, or two as a pair of bfloat16 where
// the processor multiplies those. What the kind of slot has to say is said here, by one type for each.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "vbon/core/half.hpp"
#include "vbon/kernel/simd.hpp"

namespace vbon::kernel {
/// What both factors of a matrix product are rounded to. Its sum is in float.
enum class Precision { float32, bfloat16 };

namespace detail {
template <class Arch>
using Bits = xsimd::batch<std::uint32_t, Arch>;

/// To the nearest bfloat16, ties to even, in the upper half of the result: the bits of float_to_bfloat16() (core/half.hpp).
template <class Arch>
inline Bits<Arch> bfloat16_bits(Batch<Arch> x) {
  using W = Bits<Arch>;
  const W bits = xsimd::bitwise_cast<W>(x), upper(0xffff0000u);
  const W nearest = (bits + W(0x7fffu) + ((bits >> 16) & W(1u))) & upper;
  const W quiet = (bits | W(0x00400000u)) & upper;  // of a NaN, which rounding could carry over to infinity or zero
  using B = Batch<Arch>;
  return xsimd::bitwise_cast<W>(xsimd::select(x == x, xsimd::bitwise_cast<B>(nearest), xsimd::bitwise_cast<B>(quiet)));
}

/// What a tile does with one slot of each operand.
template <class Arch_>
struct FloatStep {
  using Arch = Arch_;
  VBON_INLINE static Batch<Arch> broadcast(float slot) { return Batch<Arch>(slot); }
  VBON_INLINE static Batch<Arch> add_product(Batch<Arch> x, Batch<Arch> w, Batch<Arch> sum) { return fma<Arch>(x, w, sum); }
};

// AVX512-FP16 stands for Intel's processors since Sapphire Rapids, which leave bfloat16 to AMX: an Emerald Rapids starts the
// instruction for pairs at a quarter of the rate of the fused multiply-add, half of its products in a cycle. There widened
// factors are the faster ones.
#if XSIMD_WITH_AVX512F && defined(__AVX512BF16__) && !defined(__AVX512FP16__)
/// One instruction multiplies pairs of bfloat16 and adds both products to a float. It takes numbers below 2^-126 for zero.
template <class Arch>
struct PairInstruction {
  static constexpr bool exists = is_wide<Arch>;
  VBON_INLINE static Batch<Arch> broadcast(float slot) {
    __m512 all = _mm512_set1_ps(slot);
#if defined(__clang__)
    asm("" : "+v"(all));  // clang 16 dies of a broadcast that it sees through a cast to bfloat16
#endif
    return all;
  }
  VBON_INLINE static Batch<Arch> add_product(Batch<Arch> x, Batch<Arch> w, Batch<Arch> sum) {
    return _mm512_dpbf16_ps(sum, std::bit_cast<__m512bh>(w.data), std::bit_cast<__m512bh>(x.data));
  }
  /// A register of pairs.
  VBON_INLINE static Batch<Arch> pair(Batch<Arch> first, Batch<Arch> second) {
    alignas(64) static constexpr auto alternating = [] {
      std::array<std::uint16_t, 32> from{};
      for (std::size_t i = 0; i < 32; ++i) from[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * 16);
      return from;
    }();
    const auto both = std::bit_cast<__m512i>(_mm512_cvtne2ps_pbh(second.data, first.data));  // first in the lower half
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(alternating.data()), both));
  }
  /// A register of floats as bfloat16, one behind the other.
  static void store_rounded(const float* x, float* out) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), std::bit_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x))));
  }
};
#else
template <class Arch>
struct PairInstruction {
  static constexpr bool exists = false;
};
#endif

template <class Arch_>
struct PairStep {
  using Arch = Arch_;
  VBON_INLINE static Batch<Arch> broadcast(float slot) {
    if constexpr (PairInstruction<Arch>::exists) {
      return PairInstruction<Arch>::broadcast(slot);
    } else {
      return Batch<Arch>(slot);
    }
  }
  VBON_INLINE static Batch<Arch> add_product(Batch<Arch> x, Batch<Arch> w, Batch<Arch> sum) {
    if constexpr (PairInstruction<Arch>::exists) {
      return PairInstruction<Arch>::add_product(x, w, sum);
    } else {
      return fma<Arch>(second(x), second(w), fma<Arch>(first(x), first(w), sum));
    }
  }

 private:
  static Batch<Arch> first(Batch<Arch> pair) {
    return xsimd::bitwise_cast<Batch<Arch>>(xsimd::bitwise_cast<Bits<Arch>>(pair) << 16);
  }
  static Batch<Arch> second(Batch<Arch> pair) {
    return xsimd::bitwise_cast<Batch<Arch>>(xsimd::bitwise_cast<Bits<Arch>>(pair) & Bits<Arch>(0xffff0000u));
  }
};

/// Operands as they are.
template <class Arch_>
struct FloatSlots {
  using Arch = Arch_;
  using Step = FloatStep<Arch>;
  static constexpr Index steps = 1;  // of the sum in a slot
  static constexpr Precision precision = Precision::float32;
  /// A register of slots from registers of consecutive steps.
  VBON_INLINE static Batch<Arch> slot(const Batch<Arch> (&step)[steps]) { return step[0]; }
};

/// bfloat16 widened to float again. A product of two is exact, so their sums have but the roundings of additions.
template <class Arch_>
struct WidenedSlots {
  using Arch = Arch_;
  using Step = FloatStep<Arch>;
  static constexpr Index steps = 1;
  static constexpr Precision precision = Precision::bfloat16;
  VBON_INLINE static Batch<Arch> slot(const Batch<Arch> (&step)[steps]) {
    return xsimd::bitwise_cast<Batch<Arch>>(bfloat16_bits<Arch>(step[0]));
  }
  /// A row of a left operand.
  static void lay_row(const float* x, Index count, float* out) {
    for_lanes<Arch>(0, count, [&](Index i, auto some) {
      const Batch<Arch> step[steps] = {load_some<Arch>(x + i, some)};
      store_some<Arch>(out + i, slot(step), some);
    });
  }
};

/// Pairs of bfloat16, the first step in the lower half. Where the processor has no instruction for them they are slower
/// than WidenedSlots and give the same bits, by which the layout is tested.
template <class Arch_>
struct PairSlots {
  using Arch = Arch_;
  using Step = PairStep<Arch>;
  static constexpr Index steps = 2;
  static constexpr Precision precision = Precision::bfloat16;
  VBON_INLINE static Batch<Arch> slot(const Batch<Arch> (&step)[steps]) {
    if constexpr (PairInstruction<Arch>::exists)
      return PairInstruction<Arch>::pair(step[0], step[1]);
    else
      return xsimd::bitwise_cast<Batch<Arch>>((bfloat16_bits<Arch>(step[0]) >> 16) | bfloat16_bits<Arch>(step[1]));
  }
  static void lay_row(const float* x, Index count, float* out) {
    Index i = 0;
    if constexpr (PairInstruction<Arch>::exists)
      for (; i + lanes<Arch> <= count; i += lanes<Arch>) PairInstruction<Arch>::store_rounded(x + i, out + i / steps);
    for (; i < count; i += steps) {
      const std::uint32_t first = float_to_bfloat16(x[i]), second = i + 1 < count ? float_to_bfloat16(x[i + 1]) : 0;
      out[i / steps] = std::bit_cast<float>(first | second << 16);
    }
  }
};

/// How bfloat16 operands stand in memory where the caller does not say.
template <class Arch>
using Bfloat16Slots = std::conditional_t<PairInstruction<Arch>::exists, PairSlots<Arch>, WidenedSlots<Arch>>;

/// Slots for so many steps.
template <class Slots>
constexpr Index slots_of(Index steps) {
  return (steps + Slots::steps - 1) / Slots::steps;
}

/// Calls use(slots) for operands of this precision.
template <class Arch, class Low, class Use>
void with_slots(Precision precision, const Use& use) {
  precision == Precision::bfloat16 ? use(Low{}) : use(FloatSlots<Arch>{});
}

/// Rows that are the steps of a sum become rows of slots.
/// @param from  [depth, count], rows `from_row` apart
/// @param out   [slots, count], rows `out_row` apart
template <class Slots>
inline void lay_steps(const float* from, Index from_row, Index depth, Index count, float* out, Index out_row) {
  using Arch = typename Slots::Arch;
  for (Index k = 0; k < depth; k += Slots::steps, from += Slots::steps * from_row, out += out_row)
    for_lanes<Arch>(0, count, [&](Index i, auto some) {
      Batch<Arch> step[Slots::steps];
      VBON_UNROLL
      for (Index s = 0; s < Slots::steps; ++s)
        step[s] = k + s < depth ? load_some<Arch>(from + s * from_row + i, some) : Batch<Arch>(0.0f);
      store_some<Arch>(out + i, Slots::slot(step), some);
    });
}
}  // namespace detail

/// Whether this build has an instruction for products in bfloat16 that pays; without one they are no faster than in float.
inline constexpr bool multiplies_bfloat16 = detail::PairInstruction<xsimd::default_arch>::exists;
}  // namespace vbon::kernel
