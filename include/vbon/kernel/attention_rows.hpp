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
/// fixed tree whatever the place of a row in its block. Writes whole registers: up to `padding` values beyond n.
inline constexpr Index padding = 16;
template <class Arch>
[[gnu::noinline]] void dot_rows(const float* vector, Index group, Index dim, const float* rows, Index stride, Index n,
                                float* out, Index out_stride) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  constexpr Index together = is_wide<Arch> ? 4 : 1;  // registers of the vector held at a time
  for (Index j = 0; j < n; j += L) {
    const float* block = rows + j * stride;
    const Index last = std::min(L, n - j) - 1;  // a short block repeats its last row
    for (Index h = 0; h < group; ++h) {
      const float* from = vector + h * dim;
      B total[L];
      VBON_UNROLL
      for (Index i = 0; i < L; ++i) total[i] = B(0.0f);
      Index c = 0;
      for (; c + together * L <= dim; c += together * L) {
        B part[together];
        VBON_UNROLL
        for (Index k = 0; k < together; ++k) part[k] = load<Arch>(from + c + k * L);
        const float* row = block + c;
        VBON_UNROLL
        for (Index i = 0; i < L; ++i) {
          VBON_UNROLL
          for (Index k = 0; k < together; ++k) total[i] = fma<Arch>(part[k], load<Arch>(row + k * L), total[i]);
          row += i < last ? stride : 0;
        }
      }
      for_lanes<Arch>(c, dim, [&](Index at, auto some) {
        const B part = load_some<Arch>(from + at, some);
        const float* row = block + at;
        VBON_UNROLL
        for (Index i = 0; i < L; ++i) {
          total[i] = fma<Arch>(part, load_some<Arch>(row, some), total[i]);
          row += i < last ? stride : 0;
        }
      });
      store<Arch>(out + h * out_stride + j, sum_each<Arch>(total));
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
void weighted_sum_heads(const float* weight, Index weight_stride, const float* rows, Index stride, Index n, Index dim,
                        float* out, Index out_stride) {
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
  if (group == 4) {  // not 3 and 1: a single head waits for its own sums
    weighted_sum_heads<Arch, 4>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
    return;
  }
  for (; group >= 3; group -= 3, weight += 3 * weight_stride, out += 3 * out_stride)
    weighted_sum_heads<Arch, 3>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
  if (group == 2) weighted_sum_heads<Arch, 2>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
  if (group == 1) weighted_sum_heads<Arch, 1>(weight, weight_stride, rows, stride, n, dim, out, out_stride);
}

/// Replaces scores [n] by exp(scale * score - max), the rest of the last register by 0; returns max and sum.
struct SoftmaxSum {
  float max;
  float sum;
};
template <class Arch>
[[gnu::noinline]] SoftmaxSum exponentiate(float* score, Index n, float scale) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  const B lowest(-std::numeric_limits<float>::infinity());
  const auto scaled = [&](Index j) {
    const B z = load<Arch>(score + j) * B(scale);
    return n - j >= L ? z : keep_first<Arch>(z, n - j, lowest);
  };
  B most = lowest;
  for (Index j = 0; j < n; j += L) most = xsimd::max(most, scaled(j));
  const float max = largest<Arch>(most);
  B total(0.0f);
  for (Index j = 0; j < n; j += L) {
    const B e = exp<Arch>(scaled(j) - B(max));
    total += e;
    store<Arch>(score + j, e);
  }
  return {max, sum<Arch>(total)};
}

/// Floats kept for the scores of n rows.
inline Index padded_length(Index n) { return (n + 15) / 16 * 16 + padding; }

/// The query heads of one kv head in one row: out [group, dim], log_sum_exp [group] or nullptr.
/// @param query  [group, dim]
/// @param spans  the visible sequence, in order; `offset` is the kv head's first column, `stride` a row
template <class Arch>
void attend(const float* query, const HeadShape& shape, std::span<const KvSpan> spans, Index offset, float* out,
            float* log_sum_exp) {
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
