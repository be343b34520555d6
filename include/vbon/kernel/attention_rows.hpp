// vbon/kernel/attention_rows.hpp
//
// The loops under attention: dot products of one vector with many rows, weighted sums of rows, and one
// query's softmax over a sequence that may lie in several places. Every value is a function of the
// sequence alone, never of where it is cut, so a cached prefix gives the bits of a fresh one.
#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "vbon/kernel/simd.hpp"

namespace vbon::kernel {
/// A run of cached rows: keys and values of all kv heads, [length, kv_heads * dim] each.
struct KvSpan {
  const float* key = nullptr;
  const float* value = nullptr;
  Index length = 0;
};

/// H query heads share G kv heads in order (H / G each); scores are multiplied by scale.
struct HeadShape {
  Index heads = 1;
  Index kv_heads = 1;
  Index dim = 1;
  float scale = 1;

  Index group() const { return heads / kv_heads; }
  Index query_cols() const { return heads * dim; }
  Index kv_cols() const { return kv_heads * dim; }
};

namespace detail {
/// out[h * out_stride + j] = vector_h . row_j for `group` vectors [dim] and n rows. Lanes are summed by one
/// fixed tree whatever the place of a row in its block.
template <class Arch>
[[gnu::noinline]] void dot_rows(const float* vector, Index group, Index dim, const float* rows, Index stride, Index n, float* out,
                                Index out_stride) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  for (Index j = 0; j < n; j += L) {
    const Index count = std::min(L, n - j);
    const float* row[L];
    for (Index i = 0; i < L; ++i) row[i] = rows + (j + std::min(i, count - 1)) * stride;
    for (Index h = 0; h < group; ++h) {
      B total[L];
      VBON_UNROLL
      for (Index i = 0; i < L; ++i) total[i] = B(0.0f);
      for_lanes<Arch>(0, dim, [&](Index c, auto some) {
        const B v = load_some<Arch>(vector + h * dim + c, some);
        VBON_UNROLL
        for (Index i = 0; i < L; ++i) total[i] = fma<Arch>(v, load_some<Arch>(row[i] + c, some), total[i]);
      });
      const B dots = sum_each<Arch>(total);
      float* to = out + h * out_stride + j;
      if (count == L) store<Arch>(to, dots);
      else store_partial<Arch>(to, dots, count);
    }
  }
}

/// out(h, c) += sum_j weight(h, j) row_j[c] for the registers of columns at c; one chain over j each.
template <class Arch, int Heads, int Vectors, class Count>
[[gnu::noinline]] void weighted_sum_tile(const float* weight, Index weight_stride, const float* rows, Index stride, Index n,
                                         float* out, Index out_stride, Count some) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  B total[Heads][Vectors];
  VBON_UNROLL
  for (int h = 0; h < Heads; ++h) {
    VBON_UNROLL
    for (int i = 0; i < Vectors; ++i) total[h][i] = load_some<Arch>(out + h * out_stride + i * L, some);
  }
  for (Index j = 0; j < n; ++j) {
    B row[Vectors];
    VBON_UNROLL
    for (int i = 0; i < Vectors; ++i) row[i] = load_some<Arch>(rows + j * stride + i * L, some);
    VBON_UNROLL
    for (int h = 0; h < Heads; ++h) {
      const B w(weight[h * weight_stride + j]);
      VBON_UNROLL
      for (int i = 0; i < Vectors; ++i) total[h][i] = fma<Arch>(w, row[i], total[h][i]);
    }
  }
  VBON_UNROLL
  for (int h = 0; h < Heads; ++h) {
    VBON_UNROLL
    for (int i = 0; i < Vectors; ++i) store_some<Arch>(out + h * out_stride + i * L, total[h][i], some);
  }
}

template <class Arch, int Heads>
void weighted_sum_heads(const float* weight, Index weight_stride, const float* rows, Index stride, Index n, Index dim, float* out,
                        Index out_stride) {
  constexpr Index L = lanes<Arch>;
  const std::integral_constant<Index, L> whole;
  Index c = 0;
  for (; c + 4 * L <= dim; c += 4 * L)
    weighted_sum_tile<Arch, Heads, 4>(weight, weight_stride, rows + c, stride, n, out + c, out_stride, whole);
  for (; c + L <= dim; c += L)
    weighted_sum_tile<Arch, Heads, 1>(weight, weight_stride, rows + c, stride, n, out + c, out_stride, whole);
  if (c < dim) weighted_sum_tile<Arch, Heads, 1>(weight, weight_stride, rows + c, stride, n, out + c, out_stride, dim - c);
}

/// out(h, :) += sum_j weight(h, j) row_j for `group` heads.
template <class Arch>
void weighted_sum(const float* weight, Index weight_stride, Index group, const float* rows, Index stride, Index n, Index dim,
                  float* out, Index out_stride) {
  for (; group >= 3; group -= 3, weight += 3 * weight_stride, out += 3 * out_stride)
    weighted_sum_heads<Arch, 3>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
  if (group == 2) weighted_sum_heads<Arch, 2>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
  if (group == 1) weighted_sum_heads<Arch, 1>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
}

/// Replaces scores [n] (padded to whole registers) by exp(scale * score - max); returns their sum and max.
struct SoftmaxSum {
  float max;
  float sum;
};
template <class Arch>
[[gnu::noinline]] SoftmaxSum exponentiate(float* score, Index n, float scale) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  const Index padded = (n + L - 1) / L * L;
  std::fill(score + n, score + padded, -std::numeric_limits<float>::infinity());
  B most(-std::numeric_limits<float>::infinity());
  for (Index j = 0; j < padded; j += L) {
    const B z = load<Arch>(score + j) * B(scale);
    most = xsimd::max(most, z);
    store<Arch>(score + j, z);
  }
  const float max = largest<Arch>(most);
  B total(0.0f);
  for (Index j = 0; j < padded; j += L) {
    const B e = exp<Arch>(load<Arch>(score + j) - B(max));
    total += e;
    store<Arch>(score + j, e);
  }
  return {max, sum<Arch>(total)};
}

inline Index padded_length(Index n) { return (n + 15) / 16 * 16; }

/// The query heads of one kv head in one row: out [group, dim], log_sum_exp [group] or nullptr.
/// @param query  [group, dim]
/// @param spans  the visible sequence, in order; `offset` is the kv head's first column, `stride` a row
template <class Arch>
void attend(const float* query, const HeadShape& shape, std::span<const KvSpan> spans, Index offset, float* out, float* log_sum_exp) {
  const Index group = shape.group();
  const Index stride = shape.kv_cols();
  Index length = 0;
  for (const KvSpan& s : spans) length += s.length;
  const Index capacity = padded_length(length);
  float* weight = scratch<struct AttendWeight>(group * capacity);
  Index done = 0;
  for (const KvSpan& s : spans) {
    dot_rows<Arch>(query, group, shape.dim, s.key + offset, stride, s.length, weight + done, capacity);
    done += s.length;
  }
  std::fill(out, out + group * shape.dim, 0.0f);
  if (length == 0) {
    if (log_sum_exp != nullptr) std::fill(log_sum_exp, log_sum_exp + group, -std::numeric_limits<float>::infinity());
    return;
  }
  float* inverse = scratch<struct AttendInverse>(group);
  for (Index h = 0; h < group; ++h) {
    const SoftmaxSum s = exponentiate<Arch>(weight + h * capacity, length, shape.scale);
    inverse[h] = 1 / s.sum;
    if (log_sum_exp != nullptr) log_sum_exp[h] = s.max + std::log(s.sum);
  }
  done = 0;
  for (const KvSpan& s : spans) {
    weighted_sum<Arch>(weight + done, capacity, group, s.value + offset, stride, s.length, shape.dim, out, shape.dim);
    done += s.length;
  }
  for (Index h = 0; h < group; ++h)
    for_lanes<Arch>(h * shape.dim, (h + 1) * shape.dim, [&](Index c, auto some) {
      store_some<Arch>(out + c, load_some<Arch>(out + c, some) * Batch<Arch>(inverse[h]), some);
    });
}
}  // namespace detail
}  // namespace vbon::kernel
