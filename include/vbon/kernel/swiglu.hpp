// vbon/kernel/swiglu.hpp
//
// The gated unit of the Llama family (Shazeer, "GLU Variants Improve Transformer", 2020):
//   out = silu(gate) up,  silu(g) = g sigmoid(g).
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/kernel/elementwise.hpp"

namespace vbon::kernel {
/// @param gate, up, out  arrays of one size; out may be gate or up
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void swiglu(Cpu, View<const float> gate, View<const float> up, View<float> out) {
  detail::map<Arch>(
      "kernel::swiglu", [](auto g, auto u) { return g * detail::sigmoid<Arch>(g) * u; }, out, gate, up);
}

/// dgate = dout up s (1 + g (1 - s)) with s = sigmoid(g),  dup = dout silu(g).
/// @param gate, up, dout  arrays of one size
/// @param dgate, dup      overwritten; may be gate and up, or one of them dout
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void swiglu_backward(Cpu, View<const float> gate, View<const float> up, View<const float> dout, View<float> dgate,
                     View<float> dup) {
  const Index size = gate.size();
  require<ShapeError>(up.size() == size && dout.size() == size && dgate.size() == size && dup.size() == size,
                      "kernel::swiglu_backward: arrays of ", size, " values expected");
  using B = detail::Batch<Arch>;
  parallel_for(size, 8192, [&](Index begin, Index end) {
    detail::for_lanes<Arch>(begin, end, [&](Index i, auto count) {
      const B g = detail::load_some<Arch>(gate.data() + i, count);
      const B u = detail::load_some<Arch>(up.data() + i, count);
      const B d = detail::load_some<Arch>(dout.data() + i, count);
      const B s = detail::sigmoid<Arch>(g);
      const B slope = s * detail::fma<Arch>(g, B(1.0f) - s, B(1.0f));
      detail::store_some<Arch>(dgate.data() + i, d * u * slope, count);
      detail::store_some<Arch>(dup.data() + i, d * (g * s), count);
    });
  });
}
}  // namespace vbon::kernel
