// vbon/model/linear.hpp
//
// y = x w^T + b on the flat parameters. The weight is kept packed for the matrix kernel as well, or packed
// for each use, which costs little where x has many rows; the gradient of x uses the plain one.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/model/parameters.hpp"

namespace vbon::model {
class Linear {
 public:
  Linear() = default;
  /// Adds NAME.weight [outputs, inputs] and NAME.bias [outputs] to the parameters.
  Linear(Parameters& parameters, const std::string& name, Index outputs, Index inputs) : outputs_(outputs), inputs_(inputs) {
    weight_ = parameters[parameters.add(name + ".weight", {outputs, inputs})].offset;
    bias_ = parameters[parameters.add(name + ".bias", {outputs})].offset;
  }
  /// Uses what lies in the flat buffer: the weight [outputs, inputs] from `weight` on, the bias from `bias`
  /// on (-1: none). Several maps may share one checkpoint tensor, and two maps one weight.
  Linear(Index outputs, Index inputs, Index weight, Index bias)
      : outputs_(outputs), inputs_(inputs), weight_(weight), bias_(bias) {}

  bool exists() const { return outputs_ > 0; }
  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }
  const kernel::PackedMatrix<float>& packed() const { return packed_; }
  View<const float> weight(const Parameters& parameters) const { return {parameters.data() + weight_, outputs_, inputs_}; }
  View<float> weight_gradient(Parameters& parameters) const {
    return {parameters.gradients().data() + weight_, outputs_, inputs_};
  }

  /// Call after the parameters changed.
  void pack(const Parameters& parameters) { kernel::pack(Cpu{}, weight(parameters), kernel::Transpose::no, packed_); }
  /// Gives the packed copy back; forward() then makes one for each use.
  void release() { packed_ = {}; }
  /// y = x w^T + b (+ y).   x [T, inputs], y [T, outputs]
  void forward(const Parameters& parameters, View<const float> x, View<float> y, bool accumulate = false) const {
    View<const float> bias;
    if (bias_ >= 0) bias = {parameters.data() + bias_, outputs_};
    if (!packed_.empty()) return kernel::matmul(Cpu{}, x, packed_, y, bias, accumulate);
    kernel::PackedMatrix<float> once;
    kernel::pack(Cpu{}, weight(parameters), kernel::Transpose::no, once);
    kernel::matmul(Cpu{}, x, once, y, bias, accumulate);
  }
  /// Adds to the gradients of w and b; dx [T, inputs] is overwritten, or added to.
  void backward(Parameters& parameters, View<const float> dy, View<const float> x, View<float> dx,
                bool accumulate = false) const {
    kernel::matmul_grad_weight(Cpu{}, dy, x, weight_gradient(parameters));
    if (bias_ >= 0) kernel::bias_grad(Cpu{}, dy, View<float>(parameters.gradients().data() + bias_, outputs_));
    kernel::matmul_grad_input(Cpu{}, dy, weight(parameters), dx, accumulate);
  }

 private:
  Index outputs_ = 0, inputs_ = 0;
  Index weight_ = -1, bias_ = -1;  // places in the flat buffer
  kernel::PackedMatrix<float> packed_;
};
}  // namespace vbon::model
