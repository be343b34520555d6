// vbon/core/block_format.hpp
//
// How GGUF files store weights: plain numbers, or blocks of 32 or 256 that share scales. One decoder per
// type, bit-exact: each product d * q fits the 24 bits of a float, so only the last addition rounds and
// fused arithmetic changes nothing. The types that are written have an encoder as well, which gives the bits of ggml's.
// Source: the block layouts of ggml (ggml-common.h) as documented by the gguf format.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "vbon/core/half.hpp"

namespace vbon {
/// The numbers are those of the file format.
enum class BlockType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  bf16 = 30
};

namespace block {
using Decode = void (*)(const std::uint8_t* block, float* out);

inline std::uint16_t u16(const std::uint8_t* at) { return static_cast<std::uint16_t>(at[0] | at[1] << 8); }
inline std::uint32_t u32(const std::uint8_t* at) { return u16(at) | static_cast<std::uint32_t>(u16(at + 2)) << 16; }
inline float half(const std::uint8_t* at) { return half_to_float(u16(at)); }
inline int i8(std::uint8_t byte) { return static_cast<std::int8_t>(byte); }
template <class T>
void plain(const std::uint8_t* b, float* y) {
  T value;
  std::memcpy(&value, b, sizeof value);
  *y = static_cast<float>(value);
}

inline void f16(const std::uint8_t* b, float* y) { *y = half(b); }
inline void bf16(const std::uint8_t* b, float* y) { *y = bfloat16_to_float(u16(b)); }

inline void q4_0(const std::uint8_t* b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}
inline void q4_1(const std::uint8_t* b, float* y) {
  const float d = half(b), m = half(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    y[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}
/// The i-th five-bit value: four low bits in nibbles, the fifth in a 32-bit mask.
inline int five_bits(const std::uint8_t* low, std::uint32_t high, int i) {
  const int nibble = i < 16 ? low[i] & 15 : low[i - 16] >> 4;
  return nibble | static_cast<int>((high >> i) & 1u) << 4;
}
inline void q5_0(const std::uint8_t* b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(five_bits(b + 6, u32(b + 2), i) - 16);
}
inline void q5_1(const std::uint8_t* b, float* y) {
  const float d = half(b), m = half(b + 2);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(five_bits(b + 8, u32(b + 4), i)) + m;
}
inline void q8_0(const std::uint8_t* b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(i8(b[2 + i]));
}

inline void q2_k(const std::uint8_t* b, float* y) {  // scales[16], quants[64], d, dmin
  const float d = half(b + 80), dmin = half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const int scale = b[i / 16];
    const int q = (b[16 + (i / 128) * 32 + i % 32] >> (2 * (i % 128 / 32))) & 3;
    y[i] = (d * static_cast<float>(scale & 15)) * static_cast<float>(q) - dmin * static_cast<float>(scale >> 4);
  }
}
inline void q3_k(const std::uint8_t* b, float* y) {  // high-bit mask[32], quants[64], scales[12], d
  const float d = half(b + 108);
  const std::uint8_t* packed = b + 96;
  for (int i = 0; i < 256; ++i) {
    const int s = i / 16;
    const int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
    const int scale = (low | ((packed[8 + s % 4] >> (2 * (s / 4))) & 3) << 4) - 32;
    int q = (b[32 + (i / 128) * 32 + i % 32] >> (2 * (i % 128 / 32))) & 3;
    if (((b[i % 32] >> (i / 32)) & 1) == 0) q -= 4;
    y[i] = (d * static_cast<float>(scale)) * static_cast<float>(q);
  }
}
struct ScaleMin {
  int scale, min;
};
/// The s-th of eight six-bit scale and minimum pairs of a Q4_K or Q5_K block (12 bytes).
inline ScaleMin scale_min(const std::uint8_t* p, int s) {
  if (s < 4) return {p[s] & 63, p[s + 4] & 63};
  return {(p[s + 4] & 15) | (p[s - 4] >> 6) << 4, (p[s + 4] >> 4) | (p[s] >> 6) << 4};
}
inline void q4_k(const std::uint8_t* b, float* y) {  // d, dmin, scales[12], quants[128]
  const float d = half(b), dmin = half(b + 2);
  for (int s = 0; s < 8; ++s) {
    const ScaleMin sm = scale_min(b + 4, s);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    for (int i = 0; i < 32; ++i)
      y[s * 32 + i] = scale * static_cast<float>((b[16 + (s / 2) * 32 + i] >> (4 * (s % 2))) & 15) - min;
  }
}
inline void q5_k(const std::uint8_t* b, float* y) {  // d, dmin, scales[12], high bits[32], quants[128]
  const float d = half(b), dmin = half(b + 2);
  for (int s = 0; s < 8; ++s) {
    const ScaleMin sm = scale_min(b + 4, s);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    for (int i = 0; i < 32; ++i) {
      const int q = ((b[48 + (s / 2) * 32 + i] >> (4 * (s % 2))) & 15) | ((b[16 + i] >> s) & 1) << 4;
      y[s * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}
inline void q6_k(const std::uint8_t* b, float* y) {  // low[128], high[64], scales[16], d
  const float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = i % 128 / 32;
    const int low = (b[(i / 128) * 64 + (part % 2) * 32 + i % 32] >> (4 * (part / 2))) & 15;
    const int high = (b[128 + (i / 128) * 32 + i % 32] >> (2 * part)) & 3;
    y[i] = (d * static_cast<float>(i8(b[192 + i / 16]))) * static_cast<float>((low | high << 4) - 32);
  }
}
inline constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline void iq4_nl(const std::uint8_t* b, float* y) {
  const float d = half(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(iq4_values[b[2 + i] & 15]);
    y[i + 16] = d * static_cast<float>(iq4_values[b[2 + i] >> 4]);
  }
}
inline void iq4_xs(const std::uint8_t* b, float* y) {  // d, high scales u16, low scales[4], quants[128]
  const float d = half(b);
  for (int s = 0; s < 8; ++s) {
    const int low = (b[4 + s / 2] >> (4 * (s % 2))) & 15;
    const float scale = d * static_cast<float>((low | ((u16(b + 2) >> (2 * s)) & 3) << 4) - 32);
    for (int i = 0; i < 16; ++i) {
      y[s * 32 + i] = scale * static_cast<float>(iq4_values[b[8 + s * 16 + i] & 15]);
      y[s * 32 + i + 16] = scale * static_cast<float>(iq4_values[b[8 + s * 16 + i] >> 4]);
    }
  }
}

using Encode = void (*)(const float* values, std::uint8_t* block);

inline void put_u16(std::uint8_t* at, std::uint16_t bits) {
  at[0] = static_cast<std::uint8_t>(bits & 255u);
  at[1] = static_cast<std::uint8_t>(bits >> 8);
}
inline void encode_f32(const float* x, std::uint8_t* b) { std::memcpy(b, x, sizeof *x); }
inline void encode_f16(const float* x, std::uint8_t* b) { put_u16(b, float_to_half(*x)); }
inline void encode_bf16(const float* x, std::uint8_t* b) { put_u16(b, float_to_bfloat16(*x)); }
/// d = max |x| / 127 as F16, then round(x / d).
inline void encode_q8_0(const float* x, std::uint8_t* b) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
  const float d = largest / 127.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  put_u16(b, float_to_half(d));
  for (int i = 0; i < 32; ++i) b[2 + i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::round(x[i] * inverse)));
}
/// d so that the value of the largest size becomes -8, then x / d to the nearest of -8 to 7.
inline void encode_q4_0(const float* x, std::uint8_t* b) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  const float d = extreme / -8.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  put_u16(b, float_to_half(d));
  const auto nibble = [&](float value) { return std::min(15, static_cast<int>(value * inverse + 8.5f)); };
  for (int i = 0; i < 16; ++i) b[2 + i] = static_cast<std::uint8_t>(nibble(x[i]) | nibble(x[i + 16]) << 4);
}
}  // namespace block

struct BlockFormat {
  BlockType type;
  std::string_view name;
  std::uint32_t elements;          // per block
  std::uint32_t bytes;             // per block
  block::Decode decode;            // one block to floats
  block::Encode encode = nullptr;  // floats to one block; nullptr: such files are read only
};
inline constexpr BlockFormat block_formats[] = {
    {BlockType::f32, "F32", 1, 4, block::plain<float>, block::encode_f32},
    {BlockType::f16, "F16", 1, 2, block::f16, block::encode_f16},
    {BlockType::bf16, "BF16", 1, 2, block::bf16, block::encode_bf16},
    {BlockType::f64, "F64", 1, 8, block::plain<double>},
    {BlockType::q4_0, "Q4_0", 32, 18, block::q4_0, block::encode_q4_0},
    {BlockType::q4_1, "Q4_1", 32, 20, block::q4_1},
    {BlockType::q5_0, "Q5_0", 32, 22, block::q5_0},
    {BlockType::q5_1, "Q5_1", 32, 24, block::q5_1},
    {BlockType::q8_0, "Q8_0", 32, 34, block::q8_0, block::encode_q8_0},
    {BlockType::q2_k, "Q2_K", 256, 84, block::q2_k},
    {BlockType::q3_k, "Q3_K", 256, 110, block::q3_k},
    {BlockType::q4_k, "Q4_K", 256, 144, block::q4_k},
    {BlockType::q5_k, "Q5_K", 256, 176, block::q5_k},
    {BlockType::q6_k, "Q6_K", 256, 210, block::q6_k},
    {BlockType::iq4_nl, "IQ4_NL", 32, 18, block::iq4_nl},
    {BlockType::iq4_xs, "IQ4_XS", 256, 136, block::iq4_xs},
    {BlockType::i8, "I8", 1, 1, block::plain<std::int8_t>},
    {BlockType::i16, "I16", 1, 2, block::plain<std::int16_t>},
    {BlockType::i32, "I32", 1, 4, block::plain<std::int32_t>},
    {BlockType::i64, "I64", 1, 8, block::plain<std::int64_t>},
};

/// The format with this number, or nullptr.
constexpr const BlockFormat* find_block_format(std::uint32_t type) {
  for (const BlockFormat& format : block_formats)
    if (static_cast<std::uint32_t>(format.type) == type) return &format;
  return nullptr;
}
constexpr const BlockFormat& block_format(BlockType type) { return *find_block_format(static_cast<std::uint32_t>(type)); }

/// Decodes `blocks` consecutive blocks into blocks * elements floats.
inline void decode_blocks(const BlockFormat& format, const std::byte* from, std::size_t blocks, float* out) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(from);
  if (blocks == 0) return;
  if (format.type == BlockType::f32) {
    std::memcpy(out, at, blocks * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < blocks; ++i, at += format.bytes, out += format.elements) format.decode(at, out);
}
}  // namespace vbon
