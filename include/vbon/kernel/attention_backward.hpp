// vbon/kernel/attention_backward.hpp
//
// The gradient of attention(). Scores are computed again from the kept log-sum-exp, as in Dao et al.,
// "FlashAttention", 2022. Trees of segments and kv heads share nothing, so they are the unit of work and
// each gradient is a sum in the order of the rows.
#pragma once
#include <array>

#include "vbon/kernel/attention.hpp"

namespace vbon::kernel {
namespace detail {
inline constexpr Index pair_block = 4;  // (row, head) pairs whose gradients of k and v are added together

/// row_j += sum_i weight(i, j) vector_i over the pairs of a block, for n rows.
template <class Arch, int Vectors, class Count>
[[gnu::noinline]] void add_outer_tile(const float* weight, Index weight_stride,
                                      const std::array<const float*, pair_block>& vector, Index column, float* rows,
                                      Index stride, Index n, Count some) {
  using B = Batch<Arch>;
  constexpr Index L = lanes<Arch>;
  constexpr int pairs = static_cast<int>(pair_block);
  B value[pairs][Vectors];
  VBON_UNROLL
  for (int i = 0; i < pairs; ++i) {
    VBON_UNROLL
    for (int c = 0; c < Vectors; ++c) value[i][c] = load_some<Arch>(vector[size(i)] + column + c * L, some);
  }
  for (Index j = 0; j < n; ++j) {
    float* row = rows + j * stride + column;
    VBON_UNROLL
    for (int c = 0; c < Vectors; ++c) {
      B total = load_some<Arch>(row + c * L, some);
      VBON_UNROLL
      for (int i = 0; i < pairs; ++i) total = fma<Arch>(B(weight[i * weight_stride + j]), value[i][c], total);
      store_some<Arch>(row + c * L, total, some);
    }
  }
}
template <class Arch>
void add_outer(const float* weight, Index weight_stride, const std::array<const float*, pair_block>& vector, float* rows,
               Index stride, Index n, Index dim) {
  constexpr Index L = lanes<Arch>;
  constexpr int most = is_wide<Arch> ? 4 : 2;  // registers for pair_block * most values
  const std::integral_constant<Index, L> whole;
  Index c = 0;
  for (; c + most * L <= dim; c += most * L)
    add_outer_tile<Arch, most>(weight, weight_stride, vector, c, rows, stride, n, whole);
  for (; c + L <= dim; c += L) add_outer_tile<Arch, 1>(weight, weight_stride, vector, c, rows, stride, n, whole);
  if (c < dim) add_outer_tile<Arch, 1>(weight, weight_stride, vector, c, rows, stride, n, dim - c);
}

/// p = exp(scale score - log_sum_exp), ds = scale p (dp - delta) in place; zero from `n` to `padded`.
template <class Arch>
[[gnu::noinline]] void score_gradient(float* score, float* dscore, Index n, Index padded, float scale, float log_sum_exp,
                                      float delta) {
  using B = Batch<Arch>;
  for_lanes<Arch>(0, n, [&](Index j, auto some) {
    const B p = exp<Arch>(load_some<Arch>(score + j, some) * B(scale) - B(log_sum_exp));
    store_some<Arch>(score + j, p, some);
    store_some<Arch>(dscore + j, p * (load_some<Arch>(dscore + j, some) - B(delta)) * B(scale), some);
  });
  std::fill(score + n, score + padded, 0.0f);
  std::fill(dscore + n, dscore + padded, 0.0f);
}

/// The operands of one backward call.
struct AttentionGradient {
  View<const float> q, k, v, out, log_sum_exp, dout;
  std::span<const Segment> segments;
  HeadShape shape;
  Mask mask;
  View<float> dq, dk, dv;
};

/// The rows of one segment for one kv head: dq of these rows, and their part of dk and dv.
template <class Arch>
void segment_backward(const AttentionGradient& a, Index segment, Index kv_head) {
  const HeadShape& shape = a.shape;
  const Index dim = shape.dim, group = shape.group(), stride = shape.kv_cols(), column = kv_head * dim;
  thread_local std::vector<Index> line;
  lineage(a.segments, segment, a.mask, line);
  const Segment& own = a.segments[size(segment)];
  Index before = 0;
  for (const Index i : line) before += i == segment ? 0 : a.segments[size(i)].length;
  const Index capacity = padded_length(before + own.length);
  float* weight = scratch<struct BackwardWeight>(pair_block * capacity);
  float* dscore = scratch<struct BackwardScore>(pair_block * capacity);
  float* dquery = scratch<struct BackwardQuery>(pair_block * dim);
  const Index pairs = own.length * group;
  for (Index first = 0; first < pairs; first += pair_block) {
    const Index count = std::min(pair_block, pairs - first);
    const auto row_of = [&](Index i) { return own.begin + (first + i) / group; };
    const auto head_of = [&](Index i) { return kv_head * group + (first + i) % group; };
    const auto seen = [&](Index i) { return a.mask == Mask::causal ? row_of(i) - own.begin + 1 : own.length; };
    const Index most = seen(count - 1);  // of this segment by any pair: rows ascend
    std::array<const float*, pair_block> query, gradient;
    for (Index i = 0; i < pair_block; ++i) {
      const Index pair = std::min(i, count - 1);  // places without a pair have weight 0
      const Index at = row_of(pair) * shape.query_cols() + head_of(pair) * dim;
      query[size(i)] = a.q.data() + at;
      gradient[size(i)] = a.dout.data() + at;
      float* w = weight + i * capacity;
      float* d = dscore + i * capacity;
      if (i >= count) {
        std::fill(w, w + before + most, 0.0f);
        std::fill(d, d + before + most, 0.0f);
        continue;
      }
      Index done = 0;
      for (const Index s : line) {
        const Index begin = a.segments[size(s)].begin * stride + column;
        const Index length = s == segment ? seen(i) : a.segments[size(s)].length;
        dot_rows<Arch>(query[size(i)], 1, dim, a.k.data() + begin, stride, length, w + done, capacity);
        dot_rows<Arch>(gradient[size(i)], 1, dim, a.v.data() + begin, stride, length, d + done, capacity);
        done += length;
      }
      float delta[padding];  // dout . out, in the first place
      dot_rows<Arch>(gradient[size(i)], 1, dim, a.out.data() + at, 0, 1, delta, 1);
      score_gradient<Arch>(w, d, done, before + most, shape.scale, a.log_sum_exp[row_of(i) * shape.heads + head_of(i)],
                           delta[0]);
    }
    std::fill(dquery, dquery + pair_block * dim, 0.0f);
    Index done = 0;
    for (const Index s : line) {
      const Index begin = a.segments[size(s)].begin * stride + column;
      const Index length = s == segment ? most : a.segments[size(s)].length;
      weighted_sum<Arch>(dscore + done, capacity, pair_block, a.k.data() + begin, stride, length, dim, dquery, dim);
      add_outer<Arch>(dscore + done, capacity, query, a.dk.data() + begin, stride, length, dim);
      add_outer<Arch>(weight + done, capacity, gradient, a.dv.data() + begin, stride, length, dim);
      done += length;
    }
    for (Index i = 0; i < count; ++i)
      std::copy_n(dquery + i * dim, dim, a.dq.data() + row_of(i) * shape.query_cols() + head_of(i) * dim);
  }
}
}  // namespace detail

/// Gradients of attention().
/// @param q, k, v, segments, shape, mask  as given to attention()
/// @param out, log_sum_exp                its results
/// @param dout                            [T, heads * dim]
/// @param dq, dk, dv                      shapes of q, k, v; overwritten
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void attention_backward(Cpu, View<const float> q, View<const float> k, View<const float> v, View<const float> out,
                        View<const float> log_sum_exp, View<const float> dout, std::span<const Segment> segments,
                        HeadShape shape, Mask mask, View<float> dq, View<float> dk, View<float> dv) {
  detail::check_heads("kernel::attention_backward", shape, q, k, v);
  const auto like = [](auto a, auto b) { return a.rows() == b.rows() && a.cols() == b.cols(); };
  require<ShapeError>(like(out, q) && like(dout, q) && like(dq, q) && like(dk, k) && like(dv, v) &&
                          log_sum_exp.size() == q.rows() * shape.heads,
                      "kernel::attention_backward: out, dout, dq as q [", q.rows(), ", ", q.cols(),
                      "], dk, dv as k, log_sum_exp of ", q.rows() * shape.heads, " expected");
  check_segments(segments, q.rows());
  const detail::AttentionGradient a{q, k, v, out, log_sum_exp, dout, segments, shape, mask, dq, dk, dv};
  std::fill(dk.begin(), dk.end(), 0.0f);
  std::fill(dv.begin(), dv.end(), 0.0f);
  std::vector<std::vector<Index>> trees;  // segments by root
  std::vector<Index> tree_of(segments.size());
  for (std::size_t s = 0; s < segments.size(); ++s) {
    if (mask == Mask::full || segments[s].parent < 0) {
      tree_of[s] = static_cast<Index>(trees.size());
      trees.emplace_back();
    } else {
      tree_of[s] = tree_of[detail::size(segments[s].parent)];
    }
    trees[detail::size(tree_of[s])].push_back(static_cast<Index>(s));
  }
  parallel_for(static_cast<Index>(trees.size()) * shape.kv_heads, 1, [&](Index chunk, Index) {
    for (const Index segment : trees[detail::size(chunk / shape.kv_heads)])
      detail::segment_backward<Arch>(a, segment, chunk % shape.kv_heads);
  });
}
}  // namespace vbon::kernel
