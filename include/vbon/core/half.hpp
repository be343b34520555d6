// vbon/core/half.hpp
//
// The two 16-bit floating-point types that checkpoints use, as bits in a std::uint16_t: IEEE binary16
// (F16) and bfloat16 (BF16). Widening is exact; narrowing rounds to nearest, ties to even, as torch does.
#pragma once
#include <bit>
#include <cstdint>

namespace vbon {
inline float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t rest = bits & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));  // infinity, NaN
  if (rest >= 0x0400u) return std::bit_cast<float>(sign | ((rest << 13) + (112u << 23)));
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(static_cast<float>(rest) * 0x1p-24f));  // subnormal
}

inline std::uint16_t float_to_half(float value) {
  const std::uint32_t all = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (all >> 16) & 0x8000u;
  const std::uint32_t rest = all & 0x7fffffffu;
  std::uint32_t narrow = 0;
  if (rest > 0x7f800000u) {
    narrow = 0x7e00u | ((rest >> 13) & 0x3ffu);  // NaN keeps the top of its payload
  } else if (rest >= 0x477ff000u) {
    narrow = 0x7c00u;  // 65520 and above round to infinity
  } else if (rest < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24, the spacing of floats at 0.5: one addition rounds.
    narrow = std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) + 0.5f) - 0x3f000000u;
  } else {
    narrow = (rest - (112u << 23) + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | narrow);
}

inline float bfloat16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

inline std::uint16_t float_to_bfloat16(float value) {
  const std::uint32_t all = std::bit_cast<std::uint32_t>(value);
  if ((all & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((all >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<std::uint16_t>((all + 0x7fffu + ((all >> 16) & 1u)) >> 16);
}
}  // namespace vbon
