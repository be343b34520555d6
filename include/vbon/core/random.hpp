// vbon/core/random.hpp
//
// Random numbers by address. A draw is a pure function of (seed, stream, index), computed with the
// counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). Nothing is advanced, so threads, ranks and micro-batches cannot change what is drawn.
#pragma once
#include <Random123/philox.h>

#include <cmath>
#include <cstdint>
#include <numbers>

#include "vbon/core/types.hpp"

namespace vbon {
/// Names a stream of draws. A value: copy it freely, derive sub-streams with fold().
struct RngKey {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  /// 128 random bits for one index of this stream.
  r123::Philox4x32::ctr_type bits(std::uint64_t index) const {
    const r123::Philox4x32::ctr_type counter{{low(index), high(index), low(stream), high(stream)}};
    const r123::Philox4x32::key_type key{{low(seed), high(seed)}};
    return r123::Philox4x32{}(counter, key);
  }
  /// The sub-stream for one value of a coordinate: key.fold(prompt).fold(sample).uniform(position).
  /// The reserved key bit keeps derived streams apart from the draws of the parent.
  RngKey fold(std::uint64_t coordinate) const {
    const auto b = RngKey{seed ^ 0x8000000000000000ULL, stream}.bits(coordinate);
    return {seed, join(b[0], b[1])};
  }
  /// Uniform in [0, 1), 53 random bits.
  double uniform(std::uint64_t index) const {
    const auto b = bits(index);
    return static_cast<double>(join(b[0], b[1]) >> 11) * 0x1.0p-53;
  }
  /// Standard normal (Box-Muller on the two halves of one draw).
  double normal(std::uint64_t index) const {
    const auto b = bits(index);
    const double u = (static_cast<double>(join(b[0], b[1]) >> 11) + 0.5) * 0x1.0p-53;
    const double v = static_cast<double>(join(b[2], b[3]) >> 11) * 0x1.0p-53;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
  }
  /// Uniform integer in [0, count), count >= 1; the bias is below count / 2^64.
  Index below(std::uint64_t index, Index count) const {
    const auto b = bits(index);
    __extension__ using Wide = unsigned __int128;
    return static_cast<Index>((static_cast<Wide>(join(b[0], b[1])) * static_cast<Wide>(count)) >> 64);
  }

  friend bool operator==(const RngKey&, const RngKey&) = default;

 private:
  static std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
  static std::uint64_t join(std::uint32_t a, std::uint32_t b) {
    return (static_cast<std::uint64_t>(a) << 32) | static_cast<std::uint64_t>(b);
  }
};
}  // namespace vbon
