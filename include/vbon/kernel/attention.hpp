// vbon/kernel/attention.hpp
//
// Attention over a forest of ragged segments (segment.hpp) and over cached rows, one row of queries at a
// time with its scores in the cache. attention_decode() gives the bits of the same row of causal attention(). Rows that
// see their whole segment are computed together (attention_whole.hpp).
#pragma once
#include <span>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/attention_rows.hpp"
#include "vbon/kernel/attention_whole.hpp"
#include "vbon/kernel/segment.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
enum class Mask {
  causal,  // a row sees the ancestors of its segment and its segment up to itself
  full     // a row sees its whole segment and nothing else: encoders
};

namespace detail {
inline void check_heads(const char* name, const HeadShape& shape, View<const float> q, View<const float> k,
                        View<const float> v) {
  require<ShapeError>(shape.heads > 0 && shape.kv_heads > 0 && shape.dim > 0 && shape.heads % shape.kv_heads == 0, name,
                      ": kv heads that divide the heads expected, got ", shape.heads, " and ", shape.kv_heads, " of width ",
                      shape.dim);
  require<ShapeError>(q.cols() == shape.query_cols() && k.cols() == shape.kv_cols() && v.cols() == shape.kv_cols() &&
                          k.rows() == q.rows() && v.rows() == q.rows(),
                      name, ": q [T, ", shape.query_cols(), "], k and v [T, ", shape.kv_cols(), "] expected, got [",
                      q.rows(), ", ", q.cols(), "], [", k.rows(), ", ", k.cols(), "], [", v.rows(), ", ", v.cols(), "]");
}

/// Rows [begin, end) of one segment.
struct RowRun {
  Index segment;
  Index begin;
  Index end;
};
template <class = void>
std::vector<RowRun> row_runs(std::span<const Segment> segments, Index most) {
  std::vector<RowRun> runs;
  for (std::size_t s = 0; s < segments.size(); ++s)
    for (Index i = 0; i < segments[s].length; i += most)
      runs.push_back(
          {static_cast<Index>(s), segments[s].begin + i, segments[s].begin + std::min(segments[s].length, i + most)});
  return runs;
}

/// The segments a segment's rows see, from the root to itself.
template <class = void>
void lineage(std::span<const Segment> segments, Index segment, Mask mask, std::vector<Index>& out) {
  out.assign(1, segment);
  if (mask == Mask::causal)
    for (Index p = segments[size(segment)].parent; p >= 0; p = segments[size(p)].parent) out.push_back(p);
  std::reverse(out.begin(), out.end());
}

/// What row `row` of the last segment of `line` sees, as spans of k and v.
template <class = void>
void visible(std::span<const Segment> segments, const std::vector<Index>& line, Index row, Mask mask, View<const float> k,
             View<const float> v, std::vector<KvSpan>& out) {
  out.clear();
  for (const Index i : line) {
    const Segment& s = segments[size(i)];
    const bool own = i == line.back();
    const Index length = own && mask == Mask::causal ? row - s.begin + 1 : s.length;
    out.push_back({k.data() + s.begin * k.cols(), v.data() + s.begin * v.cols(), length});
  }
}
}  // namespace detail

/// softmax(scale q k^T) v by heads, each row over what it may see.
/// @param q            [T, heads * dim]
/// @param k, v         [T, kv_heads * dim]
/// @param segments     cover all T rows
/// @param out          [T, heads * dim]
/// @param log_sum_exp  [T, heads], kept for the backward pass; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void attention(Cpu, View<const float> q, View<const float> k, View<const float> v, std::span<const Segment> segments,
               HeadShape shape, Mask mask, View<float> out, View<float> log_sum_exp = {}) {
  detail::check_heads("kernel::attention", shape, q, k, v);
  require<ShapeError>(out.rows() == q.rows() && out.cols() == q.cols() &&
                          (log_sum_exp.empty() || log_sum_exp.size() == q.rows() * shape.heads),
                      "kernel::attention: out [", q.rows(), ", ", q.cols(), "] expected, got [", out.rows(), ", ",
                      out.cols(), "]");
  check_segments(segments, q.rows());
  const bool whole = mask == Mask::full;
  const auto runs = detail::row_runs(segments, whole ? 56 : 16);
  parallel_for(static_cast<Index>(runs.size()), 1, [&](Index chunk, Index) {
    thread_local std::vector<Index> line;
    thread_local std::vector<KvSpan> spans;
    const detail::RowRun& run = runs[detail::size(chunk)];
    if (whole) {
      const Segment& s = segments[detail::size(run.segment)];
      detail::attend_whole<Arch>(q.data() + run.begin * q.cols(), run.end - run.begin, shape,
                                 {k.data() + s.begin * k.cols(), v.data() + s.begin * v.cols(), s.length},
                                 out.data() + run.begin * q.cols(),
                                 log_sum_exp.empty() ? nullptr : log_sum_exp.data() + run.begin * shape.heads);
      return;
    }
    detail::lineage(segments, run.segment, mask, line);
    for (Index t = run.begin; t < run.end; ++t) {
      detail::visible(segments, line, t, mask, k, v, spans);
      for (Index g = 0; g < shape.kv_heads; ++g) {
        const Index first = g * shape.group();
        detail::attend<Arch>(q.data() + t * q.cols() + first * shape.dim, shape, spans, g * shape.dim,
                             out.data() + t * q.cols() + first * shape.dim,
                             log_sum_exp.empty() ? nullptr : log_sum_exp.data() + t * shape.heads + first);
      }
    }
  });
}

/// One query row per sequence against its cached rows: the same bits as the matching row of attention().
/// @param q            [B, heads * dim]
/// @param spans        cached runs of all sequences, end to end; those of sequence b are
///                     [span_offset[b], span_offset[b + 1]), in order, the row of the query itself included
/// @param span_offset  [B + 1]
/// @param out          [B, heads * dim]
/// @param log_sum_exp  [B, heads], kept for the backward pass; may be empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void attention_decode(Cpu, View<const float> q, std::span<const KvSpan> spans, std::span<const Index> span_offset,
                      HeadShape shape, View<float> out, View<float> log_sum_exp = {}) {
  require<ShapeError>(
      shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && q.cols() == shape.query_cols() && out.rows() == q.rows() &&
          out.cols() == q.cols() && static_cast<Index>(span_offset.size()) == q.rows() + 1 &&
          (q.rows() == 0 || span_offset.back() <= static_cast<Index>(spans.size())) &&
          (log_sum_exp.empty() || log_sum_exp.size() == q.rows() * shape.heads),
      "kernel::attention_decode: q and out [B, ", shape.query_cols(), "] and B + 1 span offsets expected, got [", q.rows(),
      ", ", q.cols(), "], [", out.rows(), ", ", out.cols(), "] and ", span_offset.size());
  parallel_for(q.rows() * shape.kv_heads, 1, [&](Index chunk, Index) {
    const Index b = chunk / shape.kv_heads;
    const Index g = chunk % shape.kv_heads;
    const Index at = b * q.cols() + g * shape.group() * shape.dim;
    const Index begin = span_offset[detail::size(b)];
    detail::attend<Arch>(q.data() + at, shape,
                         spans.subspan(detail::size(begin), detail::size(span_offset[detail::size(b) + 1] - begin)),
                         g * shape.dim, out.data() + at,
                         log_sum_exp.empty() ? nullptr : log_sum_exp.data() + b * shape.heads + g * shape.group());
  });
}
}  // namespace vbon::kernel
