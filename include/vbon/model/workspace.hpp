// vbon/model/workspace.hpp
//
// Memory that is taken once and used for every pass: it only grows.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon::model {
/// A matrix whose storage is kept between uses.
template <Device D = Cpu>
class Buffer {
 public:
  /// Takes the shape; the values are whatever was there before.
  View<float, D> shaped(Index rows, Index cols) {
    if (storage_.size() < rows * cols) {
      storage_ = {};  // free first: the two need not exist together
      storage_ = Tensor<float, D>(rows * cols);
    }
    return view_ = {storage_.data(), rows, cols};
  }
  View<float, D> view() const { return view_; }
  /// Shows values that lie elsewhere, until the next shaped().
  void look_at(View<float, D> values) { view_ = values; }
  /// Gives the memory back.
  void release() {
    storage_ = {};
    view_ = {};
  }

 private:
  Tensor<float, D> storage_;
  View<float, D> view_;
};
}  // namespace vbon::model
