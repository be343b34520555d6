// vbon/model/workspace.hpp
//
// Memory that is taken once and used for every pass: it only grows.
#pragma once
#include "vbon/core/tensor.hpp"

namespace vbon::model {
/// A matrix whose storage is kept between uses.
class Buffer {
 public:
  /// Takes the shape; the values are whatever was there before.
  View<float> shaped(Index rows, Index cols) {
    if (storage_.size() < rows * cols) {
      storage_ = {};  // free first: the two need not exist together
      storage_ = Tensor<float>(rows * cols);
    }
    return view_ = {storage_.data(), rows, cols};
  }
  View<float> view() const { return view_; }
  /// Shows values that lie elsewhere, until the next shaped().
  void look_at(View<float> values) { view_ = values; }
  /// Gives the memory back.
  void release() {
    storage_ = {};
    view_ = {};
  }

 private:
  Tensor<float> storage_;
  View<float> view_;
};
}  // namespace vbon::model
