// vbon/model/arrange.hpp
//
// Checkpoints store one matrix in several ways. Networks here see one: a linear weight [out, in], the rows
// of q, then of k, then of v, each head's rotated entries as two halves. Loading arranges, saving arranges
// back; only one_more changes values.
#pragma once
#include <algorithm>

#include "vbon/core/tensor.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::model {
enum class Arrange {
  plain,
  transposed,    // stored [in, out]
  qkv_by_head,   // stored rows [heads][q, k, v][dim]
  rotary_pairs,  // stored rows [heads][dim / 2][2]; here [heads][2][dim / 2]
  one_more,      // stored w + 1
};

/// How one stored tensor becomes the rows of a matrix; heads and dim matter to the two that move rows.
struct Arrangement {
  Arrange how = Arrange::plain;
  Index heads = 1, dim = 1;

  /// The stored row that holds row `r` of the matrix (not for transposed).
  Index stored_row(Index r) const {
    if (how == Arrange::qkv_by_head) {
      const Index part = r / (heads * dim), head = r / dim % heads;
      return (head * 3 + part) * dim + r % dim;
    }
    if (how == Arrange::rotary_pairs) {
      const Index half = dim / 2;
      return r / dim * dim + r % half * 2 + r % dim / half;
    }
    return r;
  }
};

namespace detail {
/// out [cols, rows] = in^T, in blocks that stay in cache.
template <class = void>
void transpose(View<const float> in, View<float> out) {
  constexpr Index block = 32;
  parallel_for(out.rows(), block, [&](Index begin, Index end) {
    for (Index first = 0; first < in.rows(); first += block)
      for (Index r = begin; r < end; ++r)
        for (Index c = first; c < std::min(first + block, in.rows()); ++c) out(r, c) = in(c, r);
  });
}
}  // namespace detail

/// Stored tensor -> matrix [rows, cols].
template <class = void>
void arrange(const Arrangement& a, View<const float> stored, View<float> matrix) {
  if (a.how == Arrange::one_more) {
    for (Index i = 0; i < matrix.size(); ++i) matrix[i] = stored[i] - 1;
    return;
  }
  if (a.how == Arrange::transposed) return detail::transpose(stored.reshaped(matrix.cols(), matrix.rows()), matrix);
  for (Index r = 0; r < matrix.rows(); ++r)
    std::copy_n(stored.data() + a.stored_row(r) * matrix.cols(), matrix.cols(), matrix.row(r).data());
}

/// Matrix [rows, cols] -> stored tensor.
template <class = void>
void arrange_back(const Arrangement& a, View<const float> matrix, View<float> stored) {
  if (a.how == Arrange::one_more) {
    for (Index i = 0; i < matrix.size(); ++i) stored[i] = matrix[i] + 1;
    return;
  }
  if (a.how == Arrange::transposed) return detail::transpose(matrix, stored.reshaped(matrix.cols(), matrix.rows()));
  for (Index r = 0; r < matrix.rows(); ++r)
    std::copy_n(matrix.row(r).data(), matrix.cols(), stored.data() + a.stored_row(r) * matrix.cols());
}
}  // namespace vbon::model
