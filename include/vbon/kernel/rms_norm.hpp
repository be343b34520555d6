// vbon/kernel/rms_norm.hpp
//
// Root-mean-square normalisation (Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019):
//   y = w x / sqrt(mean(x^2) + eps), forward and backward.
#pragma once
#include <cmath>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
namespace detail {
/// Rows per chunk of a row-wise kernel: about 16,000 values.
inline Index rows_per_chunk(Index cols) { return std::max<Index>(1, 16384 / std::max<Index>(1, cols)); }
}  // namespace detail

/// @param x        [T, C]
/// @param weight   [C]
/// @param y        [T, C]; may be x itself
/// @param inv_std  [T] 1 / sqrt(mean(x^2) + eps), kept for the backward pass; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void rms_norm(Cpu, View<const float> x, View<const float> weight, float eps, View<float> y, View<float> inv_std = {}) {
  require<ShapeError>(y.rows() == x.rows() && y.cols() == x.cols() && weight.size() == x.cols() &&
                          (inv_std.empty() || inv_std.size() == x.rows()),
                      "kernel::rms_norm: x [", x.rows(), ", ", x.cols(), "], weight ", weight.size(), ", y [", y.rows(),
                      ", ", y.cols(), "], inv_std ", inv_std.size());
  const Index cols = x.cols();
  parallel_for(x.rows(), detail::rows_per_chunk(cols), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const float* from = x.data() + t * cols;
      float* to = y.data() + t * cols;
      detail::Batch<Arch> squares(0.0f);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto v = detail::load_some<Arch>(from + c, count);
        squares = detail::fma<Arch>(v, v, squares);
      });
      const float scale = 1 / std::sqrt(detail::sum<Arch>(squares) / static_cast<float>(cols) + eps);
      if (!inv_std.empty()) inv_std[t] = scale;
      const detail::Batch<Arch> factor(scale);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto v = detail::load_some<Arch>(from + c, count);
        detail::store_some<Arch>(to + c, v * factor * detail::load_some<Arch>(weight.data() + c, count), count);
      });
    }
  });
}

/// With s = inv_std:  dx = s (w dy - x s^2 mean(w dy x)),  dweight += sum_t dy x s.
/// @param x, dy    [T, C]
/// @param weight   [C]
/// @param inv_std  [T] of the forward pass
/// @param dx       [T, C], overwritten; may be dy itself when dweight is empty
/// @param dweight  [C], added to; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void rms_norm_backward(Cpu, View<const float> x, View<const float> weight, View<const float> inv_std, View<const float> dy,
                       View<float> dx, View<float> dweight) {
  require<ShapeError>(dy.rows() == x.rows() && dy.cols() == x.cols() && dx.rows() == x.rows() && dx.cols() == x.cols() &&
                          weight.size() == x.cols() && inv_std.size() == x.rows() &&
                          (dweight.empty() || dweight.size() == x.cols()),
                      "kernel::rms_norm_backward: x [", x.rows(), ", ", x.cols(), "] and the shapes beside it");
  using B = detail::Batch<Arch>;
  const Index cols = x.cols();
  parallel_for(dweight.empty() ? 0 : cols, 64, [&](Index begin, Index end) {
    detail::for_lanes<Arch>(begin, end, [&](Index c, auto count) {
      auto total = detail::load_some<Arch>(dweight.data() + c, count);
      for (Index t = 0; t < x.rows(); ++t) {
        const auto scaled = detail::load_some<Arch>(x.data() + t * cols + c, count) * B(inv_std[t]);
        total = detail::fma<Arch>(detail::load_some<Arch>(dy.data() + t * cols + c, count), scaled, total);
      }
      detail::store_some<Arch>(dweight.data() + c, total, count);
    });
  });
  parallel_for(x.rows(), detail::rows_per_chunk(cols), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const float* value = x.data() + t * cols;
      const float* from = dy.data() + t * cols;
      float* to = dx.data() + t * cols;
      B products(0.0f);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto g = detail::load_some<Arch>(from + c, count) * detail::load_some<Arch>(weight.data() + c, count);
        products = detail::fma<Arch>(g, detail::load_some<Arch>(value + c, count), products);
      });
      const float s = inv_std[t];
      const B mean(-s * s * detail::sum<Arch>(products) / static_cast<float>(cols));
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto g = detail::load_some<Arch>(from + c, count) * detail::load_some<Arch>(weight.data() + c, count);
        detail::store_some<Arch>(to + c, detail::fma<Arch>(detail::load_some<Arch>(value + c, count), mean, g) * B(s),
                                 count);
      });
    }
  });
}
}  // namespace vbon::kernel
