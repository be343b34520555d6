// vbon/model/low_rank.hpp
//
// The branch LoRA puts beside a frozen weight (Hu et al., "LoRA: low-rank adaptation of large language
// models", arXiv 2106.09685): with A [r, in] and B [out, r],
//
//   h = scale x A^T,   y += h B^T
//
// What it keeps between the passes is nothing: h is r wide and made again for the backward pass. Its products are in float
// beside a weight of any precision.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/model/parameters.hpp"
#include "vbon/model/workspace.hpp"

namespace vbon::model {
class LowRank {
 public:
  /// Memory that all branches of an adapter share.
  struct Scratch {
    Buffer<> hidden, d_hidden;  // [T, r]
  };
  /// Places in the flat buffer of the adapter, which must outlive the branch: A [rank, inputs] from `a` on,
  /// B [outputs, rank] from `b` on. Branches may share an A.
  struct Place {
    Index a = 0, b = 0;
    Index outputs = 0, inputs = 0, rank = 0;
    float scale = 1;
  };

  LowRank(Parameters<>& parameters, Scratch& scratch, Place place)
      : parameters_(&parameters), scratch_(&scratch), place_(place) {}

  /// Call after the parameters changed.
  template <class = void>
  void pack() {
    kernel::pack(Cpu{}, a(), kernel::Transpose::no, packed_a_);
    kernel::pack(Cpu{}, b(), kernel::Transpose::no, packed_b_);
  }
  /// y += scale x A^T B^T.   x [T, inputs], y [T, outputs]
  template <class = void>
  void forward(View<const float> x, View<float> y) const {
    kernel::matmul(Cpu{}, hidden(x), packed_b_, y, {}, true);
  }
  /// Adds to the gradients of A and B, and to dx [T, inputs].
  template <class = void>
  void backward(View<const float> dy, View<const float> x, View<float> dx) const {
    const View<const float> h = hidden(x);
    const auto add = [&](View<const float> left, View<const float> right, Index offset, Index rows, Index cols) {
      parameters_->add_to_gradient(offset, rows, cols, [&](View<float> dw, bool accumulate) {
        kernel::matmul_grad_weight(Cpu{}, left, right, dw, kernel::Precision::float32, accumulate);
      });
    };
    add(dy, h, place_.b, place_.outputs, place_.rank);
    const View<float> dh = scratch_->d_hidden.shaped(x.rows(), place_.rank);
    kernel::matmul_grad_input(Cpu{}, dy, b(), dh);
    dh.array() *= place_.scale;
    add(dh, x, place_.a, place_.rank, place_.inputs);
    kernel::matmul_grad_input(Cpu{}, dh, a(), dx, true);
  }

 private:
  template <class = void>
  View<const float> a() const {
    return {parameters_->data() + place_.a, place_.rank, place_.inputs};
  }
  template <class = void>
  View<const float> b() const {
    return {parameters_->data() + place_.b, place_.outputs, place_.rank};
  }
  template <class = void>
  View<const float> hidden(View<const float> x) const {
    const View<float> h = scratch_->hidden.shaped(x.rows(), place_.rank);
    kernel::matmul(Cpu{}, x, packed_a_, h);
    h.array() *= place_.scale;
    return h;
  }

  Parameters<>* parameters_;
  Scratch* scratch_;
  Place place_;
  kernel::PackedMatrix<float> packed_a_, packed_b_;
};
}  // namespace vbon::model
