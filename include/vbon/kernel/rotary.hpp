// vbon/kernel/rotary.hpp
//
// Rotary position embedding (Su et al., "RoFormer", 2021) in the layout where value i of a head turns
// together with value i + rotary_dim / 2; values beyond rotary_dim stay as they are.
#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
/// The angles of one model. The model fills inv_freq (base, scaling) and calls reserve(): positions below
/// that read a table, later ones are computed on the spot with the same bits.
struct Rotary {
  Index head_dim = 0;
  Index rotary_dim = 0;         // even, <= head_dim
  std::vector<float> inv_freq;  // [rotary_dim / 2] radians per position
  float attention_scale = 1;    // factor on both cosine and sine
  Tensor<float> table = {};     // [positions, rotary_dim] cosines, then sines

  Index half() const { return rotary_dim / 2; }

  /// cos and sin of position * inv_freq into [rotary_dim] values. The angle is rounded to float, as
  /// everywhere this embedding is used; its functions are not.
  void angles(Index position, float* out) const {
    for (Index i = 0; i < half(); ++i) {
      const double angle = static_cast<double>(static_cast<float>(position) * inv_freq[detail::size(i)]);
      out[i] = static_cast<float>(std::cos(angle)) * attention_scale;
      out[half() + i] = static_cast<float>(std::sin(angle)) * attention_scale;
    }
  }
  /// Fills the table for positions [0, positions).
  template <class = void>
  void reserve(Index positions) {
    table = Tensor<float>(positions, rotary_dim);
    for (Index p = 0; p < positions; ++p) angles(p, table.data() + p * rotary_dim);
  }
};

/// Turns every head of every row in place: (a, b) -> (a cos - b sin, b cos + a sin).
/// @param x         [T, heads * head_dim]
/// @param position  [T]
/// @param inverse   turn back: the gradient of the forward turn
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void rotate(Cpu, const Rotary& rotary, View<float> x, std::span<const Index> position, bool inverse = false) {
  require<ShapeError>(
      rotary.head_dim > 0 && x.cols() % rotary.head_dim == 0 && x.rows() == static_cast<Index>(position.size()),
      "kernel::rotate: rows of whole heads of ", rotary.head_dim, " and ", x.rows(), " positions expected, got [", x.rows(),
      ", ", x.cols(), "] and ", position.size());
  require<ShapeError>(rotary.rotary_dim % 2 == 0 && rotary.rotary_dim <= rotary.head_dim &&
                          rotary.inv_freq.size() == detail::size(rotary.half()),
                      "kernel::rotate: rotary_dim even, <= ", rotary.head_dim,
                      ", with half as many frequencies expected, got ", rotary.rotary_dim, " and ", rotary.inv_freq.size());
  using B = detail::Batch<Arch>;
  const Index half = rotary.half();
  const B sign(inverse ? -1.0f : 1.0f);
  parallel_for(x.rows(), std::max<Index>(1, 8192 / std::max<Index>(1, x.cols())), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const Index at = position[detail::size(t)];
      const float* cosine;
      if (at >= 0 && at < rotary.table.rows()) {
        cosine = rotary.table.data() + at * rotary.rotary_dim;
      } else {
        float* computed = detail::scratch<struct RotaryAngles>(rotary.rotary_dim);
        rotary.angles(at, computed);
        cosine = computed;
      }
      const float* sine = cosine + half;
      for (float* head = x.data() + t * x.cols(); head != x.data() + (t + 1) * x.cols(); head += rotary.head_dim) {
        detail::for_lanes<Arch>(0, half, [&](Index i, auto count) {
          const B a = detail::load_some<Arch>(head + i, count);
          const B b = detail::load_some<Arch>(head + half + i, count);
          const B c = detail::load_some<Arch>(cosine + i, count);
          const B s = detail::load_some<Arch>(sine + i, count) * sign;
          detail::store_some<Arch>(head + i, detail::fma<Arch>(a, c, -(b * s)), count);
          detail::store_some<Arch>(head + half + i, detail::fma<Arch>(b, c, a * s), count);
        });
      }
    }
  });
}
}  // namespace vbon::kernel
