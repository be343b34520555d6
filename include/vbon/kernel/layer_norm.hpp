// vbon/kernel/layer_norm.hpp
//
// Layer normalisation (Ba, Kiros & Hinton 2016): y = w (x - mean) / sqrt(var + eps) + b, forward and
// backward; the variance is that of the row itself (divisor C), from centred values.
#pragma once
#include <cmath>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/rms_norm.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
/// @param x        [T, C]
/// @param weight   [C]
/// @param bias     [C]; empty: none
/// @param y        [T, C]; may be x itself
/// @param mean, inv_std  [T] kept for the backward pass; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void layer_norm(Cpu, View<const float> x, View<const float> weight, View<const float> bias, float eps, View<float> y,
                View<float> mean = {}, View<float> inv_std = {}) {
  require<ShapeError>(y.rows() == x.rows() && y.cols() == x.cols() && weight.size() == x.cols() &&
                          (bias.empty() || bias.size() == x.cols()) && (mean.empty() || mean.size() == x.rows()) &&
                          (inv_std.empty() || inv_std.size() == x.rows()),
                      "kernel::layer_norm: x [", x.rows(), ", ", x.cols(), "], weight ", weight.size(), ", bias ",
                      bias.size(), ", y [", y.rows(), ", ", y.cols(), "]");
  using B = detail::Batch<Arch>;
  const Index cols = x.cols();
  parallel_for(x.rows(), detail::rows_per_chunk(cols), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const float* from = x.data() + t * cols;
      float* to = y.data() + t * cols;
      B total(0.0f);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) { total += detail::load_some<Arch>(from + c, count); });
      const float center = detail::sum<Arch>(total) / static_cast<float>(cols);
      float squares = 0;
      B square_lanes(0.0f);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto d = detail::load_some<Arch>(from + c, count) - B(center);
        if constexpr (std::is_same_v<decltype(count), Index>) {  // the lanes beyond the end are not zero here
          alignas(64) float values[detail::lanes<Arch>];
          d.store_aligned(values);
          for (Index i = 0; i < count; ++i) squares += values[i] * values[i];
        } else {
          square_lanes = detail::fma<Arch>(d, d, square_lanes);
        }
      });
      squares += detail::sum<Arch>(square_lanes);
      const float scale = 1 / std::sqrt(squares / static_cast<float>(cols) + eps);
      if (!mean.empty()) mean[t] = center;
      if (!inv_std.empty()) inv_std[t] = scale;
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto normal = (detail::load_some<Arch>(from + c, count) - B(center)) * B(scale);
        const auto w = detail::load_some<Arch>(weight.data() + c, count);
        const auto out =
            bias.empty() ? normal * w : detail::fma<Arch>(normal, w, detail::load_some<Arch>(bias.data() + c, count));
        detail::store_some<Arch>(to + c, out, count);
      });
    }
  });
}

/// With n = (x - mean) inv_std and g = w dy:  dx = inv_std (g - mean(g) - n mean(g n)),
/// dweight += sum_t dy n,  dbias += sum_t dy.
/// @param x, dy           [T, C]
/// @param weight          [C]
/// @param mean, inv_std   [T] of the forward pass
/// @param dx              [T, C], overwritten; may be dy itself when dweight and dbias are empty
/// @param dweight, dbias  [C], added to; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void layer_norm_backward(Cpu, View<const float> x, View<const float> weight, View<const float> mean,
                         View<const float> inv_std, View<const float> dy, View<float> dx, View<float> dweight,
                         View<float> dbias) {
  require<ShapeError>(dy.rows() == x.rows() && dy.cols() == x.cols() && dx.rows() == x.rows() && dx.cols() == x.cols() &&
                          weight.size() == x.cols() && mean.size() == x.rows() && inv_std.size() == x.rows() &&
                          (dweight.empty() || dweight.size() == x.cols()) && (dbias.empty() || dbias.size() == x.cols()),
                      "kernel::layer_norm_backward: x [", x.rows(), ", ", x.cols(), "] and the shapes beside it");
  using B = detail::Batch<Arch>;
  const Index cols = x.cols();
  parallel_for(dweight.empty() && dbias.empty() ? 0 : cols, 64, [&](Index begin, Index end) {
    detail::for_lanes<Arch>(begin, end, [&](Index c, auto count) {
      B weights = dweight.empty() ? B(0.0f) : detail::load_some<Arch>(dweight.data() + c, count);
      B biases = dbias.empty() ? B(0.0f) : detail::load_some<Arch>(dbias.data() + c, count);
      for (Index t = 0; t < x.rows(); ++t) {
        const auto normal = (detail::load_some<Arch>(x.data() + t * cols + c, count) - B(mean[t])) * B(inv_std[t]);
        const auto g = detail::load_some<Arch>(dy.data() + t * cols + c, count);
        weights = detail::fma<Arch>(g, normal, weights);
        biases += g;
      }
      if (!dweight.empty()) detail::store_some<Arch>(dweight.data() + c, weights, count);
      if (!dbias.empty()) detail::store_some<Arch>(dbias.data() + c, biases, count);
    });
  });
  parallel_for(x.rows(), detail::rows_per_chunk(cols), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const float* value = x.data() + t * cols;
      const float* from = dy.data() + t * cols;
      float* to = dx.data() + t * cols;
      B total(0.0f), products(0.0f);
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto g = detail::load_some<Arch>(from + c, count) * detail::load_some<Arch>(weight.data() + c, count);
        total += g;  // g is zero beyond the end, so both sums are unharmed there
        products = detail::fma<Arch>(g, (detail::load_some<Arch>(value + c, count) - B(mean[t])) * B(inv_std[t]), products);
      });
      const B mean_g(detail::sum<Arch>(total) / static_cast<float>(cols));
      const B mean_gn(-detail::sum<Arch>(products) / static_cast<float>(cols));
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        const auto g = detail::load_some<Arch>(from + c, count) * detail::load_some<Arch>(weight.data() + c, count);
        const auto normal = (detail::load_some<Arch>(value + c, count) - B(mean[t])) * B(inv_std[t]);
        detail::store_some<Arch>(to + c, detail::fma<Arch>(normal, mean_gn, g - mean_g) * B(inv_std[t]), count);
      });
    }
  });
}
}  // namespace vbon::kernel
