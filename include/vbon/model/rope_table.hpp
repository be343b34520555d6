// vbon/model/rope_table.hpp
//
// From rotary settings to the frequency of each rotated pair. Scaled variants stretch the wave lengths so
// that a model reaches further than it was trained: all alike (linear), or only the long ones with a
// smooth transition (llama3, as in the Llama 3.1 models).
#pragma once
#include <cmath>

#include "vbon/kernel/rotary.hpp"
#include "vbon/model/rope_scaling.hpp"

namespace vbon::model {
/// inv_freq[i] = theta^(-2 i / dim), then scaled.   [dim / 2] radians a position
template <class = void>
kernel::Rotary rope_table(const Shape& shape) {
  const Rope& rope = shape.rope;
  kernel::Rotary table{.head_dim = shape.head_dim, .rotary_dim = rope.dim, .inv_freq = {}};
  for (Index i = 0; i < rope.dim / 2; ++i) {
    double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dim));
    if (rope.scaling == RopeScaling::linear) frequency /= rope.factor;
    if (rope.scaling == RopeScaling::llama3) frequency = llama3_frequency(rope, frequency);
    if (!rope.divisor.empty()) frequency /= static_cast<double>(rope.divisor[static_cast<std::size_t>(i)]);
    table.inv_freq.push_back(static_cast<float>(frequency));
  }
  return table;
}
}  // namespace vbon::model
