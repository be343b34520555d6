// vbon/model/rope_scaling.hpp
//
// The llama3 scaling of a rotary embedding in its two forms: settings, as config.json has them, and a divisor of each
// frequency, as GGUF files have it. High frequencies stay, low ones are divided by a factor, those between pass from one
// to the other.
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "vbon/model/shape.hpp"

namespace vbon::model {
/// One frequency of a llama3 scaled embedding.
/// @param frequency  before the scaling [radians a token]
inline double llama3_frequency(const Rope& rope, double frequency) {
  const double turns = rope.original_context * frequency / (2 * std::numbers::pi);  // in the original context
  if (turns < rope.low_freq_factor) return frequency / rope.factor;
  if (turns > rope.high_freq_factor) return frequency;
  const double kept = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return frequency * ((1 - kept) / rope.factor + kept);
}

/// What the frequencies of a llama3 scaled embedding are divided by, as GGUF files store it.   [dim / 2]
template <class = void>
std::vector<float> llama3_divisor(const Rope& rope) {
  std::vector<float> divisor;
  for (Index i = 0; i < rope.dim / 2; ++i) {
    const double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dim));
    divisor.push_back(static_cast<float>(frequency / llama3_frequency(rope, frequency)));
  }
  return divisor;
}

/// The settings behind the divisors of a GGUF file, which config.json needs: those of the Llama 3 line, the factor taken
/// from the lowest frequency. Without scaling where they do not give these divisors.
template <class = void>
Rope llama3_from_divisor(Rope rope) {
  const std::vector<float> divisor = std::exchange(rope.divisor, {});
  if (divisor.empty()) return rope;
  Rope found = rope;
  found.scaling = RopeScaling::llama3;
  found.factor = std::round(static_cast<double>(divisor.back()));
  found.low_freq_factor = 1;
  found.high_freq_factor = 4;
  found.original_context = 8192;
  if (!(found.factor >= 1)) return rope;
  const std::vector<float> expected = llama3_divisor(found);
  const auto near = [](float a, float b) { return std::abs(a - b) <= 1e-4f * std::abs(b); };
  return std::equal(divisor.begin(), divisor.end(), expected.begin(), expected.end(), near) ? found : rope;
}
}  // namespace vbon::model
