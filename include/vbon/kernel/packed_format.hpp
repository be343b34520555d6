// vbon/kernel/packed_format.hpp
//
// How the panels of a packed weight may store their numbers: as floats, or in as few bits as the checkpoint
// has. A compact panel gives, in registers, exactly the floats that the checkpoint's decoder makes
// (core/block_format.hpp): a product has the same bits for either, and reads less memory.
//
// Each 32-bit word holds several steps of one column, so that a register of words becomes registers of
// floats by shifts alone.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "vbon/core/block_format.hpp"
#include "vbon/kernel/simd.hpp"

namespace vbon::kernel {
/// Columns of a panel.
inline constexpr Index panel_width = 32;

/// A way to store a panel [depth][32] other than as floats; one of packed_formats. The depth is cut into groups of `depth`
/// steps, each of `words` 32-bit words, [words / 32][32].
struct PackedFormat {
  BlockType type;  // of the stored rows that it holds, value for value; a zero of Q4_0 may lose its sign
  Index depth;
  Index words;
  /// One group from what is stored of it in each of its 32 columns; null columns are zeros.
  void (*pack)(const std::uint8_t* const* column, std::uint32_t* group);
};

namespace detail {
template <class Arch>
using Words = xsimd::batch<std::int32_t, Arch>;

template <class Arch>
inline Words<Arch> load_words(const float* group, Index word) {
  return xsimd::bitwise_cast<Words<Arch>>(Batch<Arch>::load_aligned(group + word));
}

/// A storage has `depth`, `words`, pack(), and
///   unpack<Arch, C>(group, use): use(k, w) for the steps k of a group in order, w [C] their first C registers of
///   columns; `group` is shifted to start from a later column.
template <class Decode>
struct SixteenBits {
  static constexpr Index depth = 2, words = panel_width;
  static void pack(const std::uint8_t* const* column, std::uint32_t* group) {
    for (Index n = 0; n < panel_width; ++n) group[n] = column[n] == nullptr ? 0 : block::u32(column[n]);
  }
  template <class Arch, int C, class Use>
  VBON_INLINE static inline void unpack(const float* group, const Use& use) {
    Batch<Arch> low[C], high[C];
    VBON_UNROLL
    for (int c = 0; c < C; ++c) {
      const auto pair = load_words<Arch>(group, c * lanes<Arch>);
      low[c] = Decode::template apply<Arch>(pair << 16);
      high[c] = Decode::template apply<Arch>(pair & Words<Arch>(static_cast<std::int32_t>(0xffff0000)));
    }
    use(0, low);
    use(1, high);
  }
};
/// From the upper half of a word.
struct DecodeBfloat16 {
  template <class Arch>
  static Batch<Arch> apply(Words<Arch> bits) {
    return xsimd::bitwise_cast<Batch<Arch>>(bits);
  }
};
struct DecodeHalf {
  template <class Arch>
  static Batch<Arch> apply(Words<Arch> bits) {
    using B = Batch<Arch>;
    using W = Words<Arch>;
    const B value = xsimd::bitwise_cast<B>((bits >> 3) & W(0x0fffe000)) * B(0x1p112f);  // right for subnormal numbers too
    const B special = xsimd::select(value >= B(65536.0f), B(std::numeric_limits<float>::infinity()), B(0.0f));
    const W sign = bits & W(std::numeric_limits<std::int32_t>::min());
    return xsimd::bitwise_cast<B>(xsimd::bitwise_cast<W>(value) | xsimd::bitwise_cast<W>(special) | sign);
  }
};

/// ggml's Q8_0: scale [32], then [8][32] words of four whole numbers.
struct Bytes {
  static constexpr Index depth = 32, words = 9 * panel_width;
  static void pack(const std::uint8_t* const* column, std::uint32_t* group) {
    for (Index n = 0; n < panel_width; ++n) {
      const std::uint8_t* b = column[n];
      group[n] = std::bit_cast<std::uint32_t>(b == nullptr ? 0.0f : block::half(b));
      for (Index j = 0; j < 8; ++j) group[(1 + j) * panel_width + n] = b == nullptr ? 0 : block::u32(b + 2 + 4 * j);
    }
  }
  template <class Arch, int C, class Use>
  VBON_INLINE static inline void unpack(const float* group, const Use& use) {
    using B = Batch<Arch>;
    B scale[C], w[C];
    VBON_UNROLL
    for (int c = 0; c < C; ++c) scale[c] = B::load_aligned(group + c * lanes<Arch>);
    for (Index j = 0; j < 8; ++j) {
      group += panel_width;
      VBON_UNROLL
      for (int i = 0; i < 4; ++i) {
        VBON_UNROLL
        for (int c = 0; c < C; ++c)
          w[c] = scale[c] * xsimd::to_float((load_words<Arch>(group, c * lanes<Arch>) << (24 - 8 * i)) >> 24);
        use(4 * j + i, w);
      }
    }
  }
};

/// ggml's Q4_0 and Q4_1: scale [32], offset [32], then [4][32] words of eight nibbles. d (q - 8) is d q - 8 d without
/// rounding, so that both have an offset.
template <bool has_minimum>
struct Nibbles {
  static constexpr Index depth = 32, words = 6 * panel_width;
  static void pack(const std::uint8_t* const* column, std::uint32_t* group) {
    for (Index n = 0; n < panel_width; ++n) {
      const std::uint8_t* b = column[n];
      const float scale = b == nullptr ? 0.0f : block::half(b);
      const float offset = b == nullptr ? 0.0f : has_minimum ? block::half(b + 2) : -8 * scale;
      group[n] = std::bit_cast<std::uint32_t>(scale);
      group[panel_width + n] = std::bit_cast<std::uint32_t>(offset);
      for (Index j = 0; j < 4; ++j) {
        std::uint32_t word = 0;
        for (Index i = 0; b != nullptr && i < 8; ++i) {
          const Index k = 8 * j + i;  // its nibble is the low one of byte k, or the high one of byte k - 16
          const std::uint32_t byte = b[(has_minimum ? 4 : 2) + k % 16];
          word |= (k < 16 ? byte & 15u : byte >> 4) << (4 * i);
        }
        group[(2 + j) * panel_width + n] = word;
      }
    }
  }
  template <class Arch, int C, class Use>
  VBON_INLINE static inline void unpack(const float* group, const Use& use) {
    using B = Batch<Arch>;
    B scale[C], offset[C], w[C];
    VBON_UNROLL
    for (int c = 0; c < C; ++c) {
      scale[c] = B::load_aligned(group + c * lanes<Arch>);
      offset[c] = B::load_aligned(group + panel_width + c * lanes<Arch>);
    }
    group += panel_width;
    for (Index j = 0; j < 4; ++j) {
      group += panel_width;
      VBON_UNROLL
      for (int i = 0; i < 8; ++i) {
        VBON_UNROLL
        for (int c = 0; c < C; ++c) {
          const auto q = (load_words<Arch>(group, c * lanes<Arch>) >> (4 * i)) & Words<Arch>(15);
          w[c] = fma<Arch>(scale[c], xsimd::to_float(q), offset[c]);
        }
        use(8 * j + i, w);
      }
    }
  }
};

template <BlockType type, class Storage>
struct Packing {
  using storage = Storage;
  static constexpr PackedFormat format{type, Storage::depth, Storage::words, Storage::pack};
};
/// Every compact format. A new one is a storage and a line here.
template <class Use>
constexpr auto with_packings(const Use& use) {
  return use(Packing<BlockType::bf16, SixteenBits<DecodeBfloat16>>{}, Packing<BlockType::f16, SixteenBits<DecodeHalf>>{},
             Packing<BlockType::q8_0, Bytes>{}, Packing<BlockType::q4_0, Nibbles<false>>{},
             Packing<BlockType::q4_1, Nibbles<true>>{});
}
}  // namespace detail

inline constexpr auto packed_formats =
    detail::with_packings([](auto... packing) { return std::array{decltype(packing)::format...}; });

/// The compact form of stored rows [.., cols] of this type, or nullptr: then panels hold floats.
constexpr const PackedFormat* find_packed_format(BlockType type, Index cols) {
  for (const PackedFormat& format : packed_formats)
    if (format.type == type && cols % format.depth == 0) return &format;
  return nullptr;
}

/// Pairs of bfloat16; behind an odd depth stands a zero.
inline constexpr const PackedFormat* bfloat16_format = find_packed_format(BlockType::bf16, 2);

namespace detail {
/// The kernels of a format: groups that follow each other to floats [groups * depth][32], and one row of a product.
struct PackedKernels {
  void (*widen)(const float* group, Index groups, float* out);
  /// y [32] += x [groups * depth] times the panel.
  void (*multiply)(const float* x, const float* group, Index groups, float* y);
};

/// Registers of columns that work together where one row alone would leave the multipliers waiting for each other.
template <class Arch>
inline constexpr int packed_columns = static_cast<int>(panel_width / lanes<Arch> < 4 ? panel_width / lanes<Arch> : 4);

template <class Storage, class Arch>
[[gnu::noinline]] void widen_panel(const float* group, Index groups, float* out) {
  constexpr int C = packed_columns<Arch>;
  for (Index g = 0; g < groups; ++g, group += Storage::words, out += Storage::depth * panel_width)
    for (Index n = 0; n < panel_width; n += C * lanes<Arch>)
      Storage::template unpack<Arch, C>(group + n, [&](Index k, const Batch<Arch>(&w)[C]) VBON_INLINE {
        VBON_UNROLL
        for (int c = 0; c < C; ++c) w[c].store_aligned(out + k * panel_width + n + c * lanes<Arch>);
      });
}
template <class Storage, class Arch>
[[gnu::noinline]] void multiply_packed(const float* x, const float* panel, Index groups, float* y) {
  constexpr int C = packed_columns<Arch>;
  for (Index n = 0; n < panel_width; n += C * lanes<Arch>) {
    Batch<Arch> sum[C];
    VBON_UNROLL
    for (int c = 0; c < C; ++c) sum[c] = load<Arch>(y + n + c * lanes<Arch>);
    for (Index g = 0; g < groups; ++g)
      Storage::template unpack<Arch, C>(panel + g * Storage::words + n, [&](Index k, const Batch<Arch>(&w)[C]) VBON_INLINE {
        const Batch<Arch> value(x[g * Storage::depth + k]);
        VBON_UNROLL
        for (int c = 0; c < C; ++c) sum[c] = fma<Arch>(value, w[c], sum[c]);
      });
    VBON_UNROLL
    for (int c = 0; c < C; ++c) store<Arch>(y + n + c * lanes<Arch>, sum[c]);
  }
}

template <class Arch>
inline constexpr auto packed_kernels = with_packings([](auto... packing) {
  return std::array{PackedKernels{widen_panel<typename decltype(packing)::storage, Arch>,
                                  multiply_packed<typename decltype(packing)::storage, Arch>}...};
});
template <class Arch>
const PackedKernels& kernels_of(const PackedFormat& format) {
  return packed_kernels<Arch>[size(&format - packed_formats.data())];
}
}  // namespace detail
}  // namespace vbon::kernel
