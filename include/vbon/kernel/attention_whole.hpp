// vbon/kernel/attention_whole.hpp
//
// Attention of rows that all see the same rows, as in an encoder: both products go through the register kernel of matrix
// products (matmul_tile.hpp), with keys and values of one head laid out as its panels. A row has the same bits whatever
// rows are computed with it.
#pragma once
#include <cmath>

#include "vbon/kernel/attention_rows.hpp"
#include "vbon/kernel/matmul_tile.hpp"

namespace vbon::kernel::detail {
/// softmax(scale q k^T) v for `rows` rows over the n rows of a span, by heads.
/// @param q            the first of the rows [rows, heads * dim]
/// @param seen         n >= 1
/// @param out          [rows, heads * dim]
/// @param log_sum_exp  [rows, heads] or nullptr
template <class Arch>
void attend_whole(const float* q, Index rows, const HeadShape& shape, const KvSpan& seen, float* out, float* log_sum_exp) {
  constexpr Index width = panel_width;
  const Index n = seen.length, dim = shape.dim, stride = shape.kv_cols(), query_stride = shape.query_cols();
  const Index capacity = padded_length(n), key_panels = (n + width - 1) / width, value_panels = (dim + width - 1) / width;
  float* weight = scratch<struct WholeWeight>(rows * capacity);
  float* key = scratch<struct WholeKey>(key_panels * dim * width);
  float* value = scratch<struct WholeValue>(value_panels * n * width);
  for (Index head = 0; head < shape.heads; ++head) {
    if (const Index first = head / shape.group() * dim; head % shape.group() == 0) {
      for (Index p = 0; p < key_panels; ++p)
        pack_rows(seen.key + first, stride, p * width, std::min(width, n - p * width), dim, key + p * dim * width);
      for (Index p = 0; p < value_panels; ++p)
        pack_columns(seen.value + first, stride, p * width, std::min(width, dim - p * width), n, value + p * n * width);
    }
    const auto multiply = [&](const float* x, Index x_row, const float* panels, Index depth, float* y, Index y_row,
                              Index columns) {
      multiply_block<FloatStep<Arch>>(
          {.x = x, .x_row = x_row, .panel = panels, .panel_stride = depth * width, .depth = depth, .y = y, .y_row = y_row},
          rows, columns);
    };
    multiply(q + head * dim, query_stride, key, dim, weight, capacity, n);
    float* to = out + head * dim;
    for (Index r = 0; r < rows; ++r) {
      float* row = weight + r * capacity;
      const SoftmaxSum s = exponentiate<Arch>(row, n, shape.scale);
      if (log_sum_exp != nullptr) log_sum_exp[r * shape.heads + head] = s.max + std::log(s.sum);
      row[capacity - 1] = 1 / s.sum;  // beyond what exponentiate() writes
    }
    multiply(weight, capacity, value, n, to, query_stride, dim);
    for (Index r = 0; r < rows; ++r) {
      const Batch<Arch> inverse(weight[r * capacity + capacity - 1]);
      for_lanes<Arch>(0, dim, [&](Index c, auto some) {
        float* at = to + r * query_stride + c;
        store_some<Arch>(at, load_some<Arch>(at, some) * inverse, some);
      });
    }
  }
}
}  // namespace vbon::kernel::detail
