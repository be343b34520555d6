// vbon/model/linear.hpp
//
// y = x w^T + b on the flat parameters. The weight is kept packed for the matrix kernel as well, or packed
// for each use, which costs little where x has many rows; the gradient of x uses the plain one. A low-rank
// branch may run beside the weight (lora.hpp). Copies of a map share the packed weight and its precision: in bfloat16
// both factors of all three products are rounded (kernel/bfloat16.hpp), while weight, bias, gradients and the branch, whose
// products are small, stay in float.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/model/low_rank.hpp"
#include "vbon/model/parameters.hpp"

namespace vbon::model {
class Linear {
 public:
  Linear() = default;
  /// Adds NAME.weight [outputs, inputs] and NAME.bias [outputs] to the parameters.
  template <class = void>
  Linear(Parameters<>& parameters, const std::string& name, Index outputs, Index inputs) : Linear(outputs, inputs, -1, -1) {
    weight_ = parameters[parameters.add(name + ".weight", {outputs, inputs})].offset;
    bias_ = parameters[parameters.add(name + ".bias", {outputs})].offset;
  }
  /// Uses what lies in the flat buffer: the weight [outputs, inputs] from `weight` on, the bias from `bias`
  /// on (-1: none). Several maps may share one checkpoint tensor, and two maps one weight.
  Linear(Index outputs, Index inputs, Index weight, Index bias)
      : outputs_(outputs),
        inputs_(inputs),
        weight_(weight),
        bias_(bias),
        packed_(std::make_shared<kernel::PackedMatrix<float>>()) {}

  bool exists() const { return outputs_ > 0; }
  Index outputs() const { return outputs_; }
  Index inputs() const { return inputs_; }
  /// Where the weight begins in the flat buffer.
  Index place() const { return weight_; }
  const kernel::PackedMatrix<float>& packed() const { return *packed_; }
  template <class = void>
  View<const float> weight(const Parameters<>& parameters) const {
    return {parameters.at(weight_), outputs_, inputs_};
  }
  /// Parameters::add_to_gradient() of the weight.
  template <class Add>
  void add_to_weight_gradient(Parameters<>& parameters, const Add& add) const {
    parameters.add_to_gradient(weight_, outputs_, inputs_, add);
  }
  /// Puts a branch beside the weight, or takes it away (null).
  void set_branch(std::shared_ptr<LowRank> branch) { branch_ = std::move(branch); }

  kernel::Precision precision() const { return packed_->precision(); }
  /// Of the products from now on. A packed copy of another precision is given back.
  void set_precision(kernel::Precision precision) { packed_->set_precision(precision); }

  /// Call after the parameters changed.
  template <class = void>
  void pack(const Parameters<>& parameters) {
    kernel::pack(Cpu{}, weight(parameters), kernel::Transpose::no, *packed_);
  }
  /// The same from the weight's rows as a file has them (kernel::pack_from).
  template <class Read>
  void pack_from(const Read& read) {
    kernel::pack_from(Cpu{}, outputs_, inputs_, read, *packed_);
  }
  /// The same in the bits that the file has (kernel::pack_stored).
  template <class Row>
  void pack_stored(const kernel::PackedFormat& format, const Row& row) {
    kernel::pack_stored(Cpu{}, outputs_, inputs_, format, row, *packed_);
  }
  /// Gives the packed copy back; forward() then makes one for each use.
  void release() { packed_->clear(); }
  /// y = x w^T + b (+ y) + branch(x).   x [T, inputs], y [T, outputs]
  template <class = void>
  void forward(const Parameters<>& parameters, View<const float> x, View<float> y, bool accumulate = false) const {
    kernel::PackedMatrix<float> once(Pages::own);
    once.set_precision(precision());
    if (packed_->empty()) kernel::pack(Cpu{}, weight(parameters), kernel::Transpose::no, once);
    View<const float> bias;
    if (bias_ >= 0) bias = {parameters.at(bias_), outputs_};
    kernel::matmul(Cpu{}, x, packed_->empty() ? once : *packed_, y, bias, accumulate);
    if (branch_) branch_->forward(x, y);
  }
  /// Adds to the gradients of w and b, unless frozen, and of the branch; dx [T, inputs] is overwritten, or added to.
  template <class = void>
  void backward(Parameters<>& parameters, View<const float> dy, View<const float> x, View<float> dx,
                bool accumulate = false) const {
    if (!parameters.frozen_at(weight_)) {
      add_to_weight_gradient(
          parameters, [&](View<float> dw, bool add) { kernel::matmul_grad_weight(Cpu{}, dy, x, dw, precision(), add); });
      if (bias_ >= 0) kernel::bias_grad(Cpu{}, dy, parameters.gradient_at(bias_, 1, outputs_));
    }
    kernel::matmul_grad_input(Cpu{}, dy, weight(parameters), dx, accumulate, precision());
    if (branch_) branch_->backward(dy, x, dx);
  }

 private:
  Index outputs_ = 0, inputs_ = 0;
  Index weight_ = -1, bias_ = -1;                        // places in the flat buffer
  std::shared_ptr<kernel::PackedMatrix<float>> packed_;  // empty: made for each use
  std::shared_ptr<LowRank> branch_;
};
}  // namespace vbon::model
