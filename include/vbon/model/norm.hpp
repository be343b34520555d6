// vbon/model/norm.hpp
//
// The norm a family chose, on the flat parameters.
#pragma once
#include <algorithm>

#include "vbon/kernel/layer_norm.hpp"
#include "vbon/kernel/rms_norm.hpp"
#include "vbon/model/activations.hpp"
#include "vbon/model/network.hpp"

namespace vbon::model {
namespace detail {
/// What a norm multiplies by.   [n]
class NormWeight {
 public:
  template <class = void>
  NormWeight(const Parameters<>& parameters, NormPlace place, Index n) : stored_(parameters.at(place.weight), n) {
    if (!place.from_one) return;
    sum_ = Tensor<float>(n);
    std::transform(stored_.begin(), stored_.end(), sum_.data(), [](float weight) { return weight + 1; });
  }
  View<const float> view() const { return sum_.empty() ? stored_ : sum_.view(); }

 private:
  View<const float> stored_;
  Tensor<float> sum_;
};
}  // namespace detail

/// y = norm(x) over rows; keeps the statistics for the backward pass.   x, y [T, n]
template <class = void>
void norm_forward(const Shape& shape, const Parameters<>& parameters, NormPlace place, View<const float> x, View<float> y,
                  NormStatistics<>& kept) {
  const detail::NormWeight held(parameters, place, x.cols());
  const View<const float> weight = held.view();
  const auto eps = static_cast<float>(shape.norm_eps);
  const View<float> inv_std = kept.inv_std.shaped(1, x.rows());
  if (place.bias < 0) return kernel::rms_norm(Cpu{}, x, weight, eps, y, inv_std);
  kernel::layer_norm(Cpu{}, x, weight, View<const float>(parameters.at(place.bias), x.cols()), eps, y,
                     kept.mean.shaped(1, x.rows()), inv_std);
}

/// dx is overwritten; gradients of weight and bias are added to, where they are not frozen.
template <class = void>
void norm_backward(Parameters<>& parameters, NormPlace place, View<const float> dy, View<const float> x,
                   const NormStatistics<>& kept, View<float> dx) {
  const detail::NormWeight held(parameters, place, x.cols());
  const View<const float> weight = held.view();
  const View<float> dweight = parameters.gradient_at(place.weight, 1, x.cols());
  if (place.bias < 0) return kernel::rms_norm_backward(Cpu{}, x, weight, kept.inv_std.view(), dy, dx, dweight);
  kernel::layer_norm_backward(Cpu{}, x, weight, kept.mean.view(), kept.inv_std.view(), dy, dx, dweight,
                              parameters.gradient_at(place.bias, 1, x.cols()));
}
}  // namespace vbon::model
