#include "vbon/kernel/attention.hpp"

#include "vbon/kernel/attention_backward.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
/// Two prompts with responses (one of them empty, one with a child of its own) and a lone sequence.
const std::vector<Segment> forest = {{0, 7, -1, 0},  {7, 3, 0, 7},   {10, 1, 0, 7},  {11, 20, 0, 7}, {31, 0, 0, 7},
                                     {31, 2, -1, 0}, {33, 18, 5, 2}, {51, 4, 3, 27}, {55, 5, -1, 0}};
constexpr Index forest_rows = 60;

std::vector<Index> visible_rows(const std::vector<Segment>& segments, Index segment, Index row, Mask mask) {
  std::vector<Index> rows;
  const Segment& own = segments[static_cast<std::size_t>(segment)];
  if (mask == Mask::full) {
    for (Index i = 0; i < own.length; ++i) rows.push_back(own.begin + i);
    return rows;
  }
  std::vector<Index> line;
  for (Index s = own.parent; s >= 0; s = segments[static_cast<std::size_t>(s)].parent) line.insert(line.begin(), s);
  for (const Index s : line)
    for (Index i = 0; i < segments[static_cast<std::size_t>(s)].length; ++i)
      rows.push_back(segments[static_cast<std::size_t>(s)].begin + i);
  for (Index i = own.begin; i <= row; ++i) rows.push_back(i);
  return rows;
}

/// out [T, H D] in double, straight from the definition.
Doubles oracle(const Doubles& q, const Doubles& k, const Doubles& v, const std::vector<Segment>& segments, Index rows,
               const HeadShape& s, Mask mask) {
  const auto at = [](const Doubles& a, Index i) { return a[static_cast<std::size_t>(i)]; };
  Doubles out(static_cast<std::size_t>(rows * s.heads * s.dim));
  for (std::size_t g = 0; g < segments.size(); ++g)
    for (Index t = segments[g].begin; t < segments[g].begin + segments[g].length; ++t)
      for (Index h = 0; h < s.heads; ++h) {
        const Index kv = h / (s.heads / s.kv_heads);
        const auto seen = visible_rows(segments, static_cast<Index>(g), t, mask);
        Doubles score;
        double most = -1e300, total = 0;
        for (const Index j : seen) {
          double z = 0;
          for (Index c = 0; c < s.dim; ++c)
            z += at(q, (t * s.heads + h) * s.dim + c) * at(k, (j * s.kv_heads + kv) * s.dim + c);
          score.push_back(z * static_cast<double>(s.scale));
          most = std::max(most, score.back());
        }
        for (double& z : score) total += z = std::exp(z - most);
        for (std::size_t i = 0; i < seen.size(); ++i)
          for (Index c = 0; c < s.dim; ++c)
            out[static_cast<std::size_t>((t * s.heads + h) * s.dim + c)] +=
                score[i] / total * at(v, (seen[i] * s.kv_heads + kv) * s.dim + c);
      }
  return out;
}

HeadShape shape_of(Index heads, Index kv_heads, Index dim) {
  return {heads, kv_heads, dim, 1 / std::sqrt(static_cast<float>(dim))};
}
const HeadShape shapes[] = {shape_of(9, 3, 64), shape_of(4, 4, 16), shape_of(2, 1, 128), shape_of(5, 1, 20),
                            shape_of(4, 2, 8),  shape_of(8, 2, 80), shape_of(1, 1, 3)};
}  // namespace

TEMPLATE_LIST_TEST_CASE("attention agrees with its definition on a forest", "[kernel][attention]", Archs) {
  for (const HeadShape& s : shapes)
    for (const Mask mask : {Mask::causal, Mask::full}) {
      CAPTURE(s.heads, s.kv_heads, s.dim);
      const auto q = random_tensor(forest_rows, s.query_cols(), 1, 2), k = random_tensor(forest_rows, s.kv_cols(), 2),
                 v = random_tensor(forest_rows, s.kv_cols(), 3);
      Tensor<float> out(forest_rows, s.query_cols());
      attention<TestType>(Cpu{}, q, k, v, forest, s, mask, out);
      CHECK(distance(out, oracle(doubles(q), doubles(k), doubles(v), forest, forest_rows, s, mask)) < 3e-6);
    }
}

TEMPLATE_LIST_TEST_CASE("decoding from cached pages has the bits of the forest", "[kernel][attention][invariance]", Archs) {
  for (const HeadShape& s : shapes) {
    const auto q = random_tensor(forest_rows, s.query_cols(), 1, 2), k = random_tensor(forest_rows, s.kv_cols(), 2),
               v = random_tensor(forest_rows, s.kv_cols(), 3);
    Tensor<float> out(forest_rows, s.query_cols());
    attention<TestType>(Cpu{}, q, k, v, forest, s, Mask::causal, out);
    for (const Index page : {Index{1000}, Index{1}, Index{5}}) {
      std::vector<KvSpan> spans;
      std::vector<Index> offset = {0}, row;
      for (std::size_t g = 0; g < forest.size(); ++g)
        for (Index t = forest[g].begin; t < forest[g].begin + forest[g].length; ++t) {
          const auto seen = visible_rows(forest, static_cast<Index>(g), t, Mask::causal);
          for (std::size_t i = 0; i < seen.size();) {  // runs of neighbouring rows, cut into pages
            std::size_t end = i + 1;
            while (end < seen.size() && seen[end] == seen[end - 1] + 1 && static_cast<Index>(end - i) < page) ++end;
            spans.push_back(
                {k.data() + seen[i] * s.kv_cols(), v.data() + seen[i] * s.kv_cols(), static_cast<Index>(end - i)});
            i = end;
          }
          offset.push_back(static_cast<Index>(spans.size()));
          row.push_back(t);
        }
      Tensor<float> decoded(forest_rows, s.query_cols());
      attention_decode<TestType>(Cpu{}, q, spans, offset, s, decoded);
      CAPTURE(s.heads, s.kv_heads, s.dim, page);
      CHECK(same_bits(decoded, out));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a response has the same bits behind a shared prompt and behind its own copy",
                        "[kernel][attention][invariance]", Archs) {
  const HeadShape s = shape_of(6, 2, 24);
  const auto q = random_tensor(40, s.query_cols(), 1), k = random_tensor(40, s.kv_cols(), 2),
             v = random_tensor(40, s.kv_cols(), 3);
  const std::vector<Segment> shared = {{0, 21, -1, 0}, {21, 19, 0, 21}}, whole = {{0, 40, -1, 0}};
  Tensor<float> a(40, s.query_cols()), b(40, s.query_cols());
  attention<TestType>(Cpu{}, q, k, v, shared, s, Mask::causal, a);
  attention<TestType>(Cpu{}, q, k, v, whole, s, Mask::causal, b);
  CHECK(same_bits(a, b));
}

TEMPLATE_LIST_TEST_CASE("attention of whole segments of any length agrees with its definition, alone and side by side",
                        "[kernel][attention][invariance]", Archs) {
  const Index lengths[] = {1, 31, 32, 33, 57, 130};
  std::vector<Segment> together;
  Index rows = 0;
  for (const Index length : lengths) {
    together.push_back({rows, length, -1, 0});
    rows += length;
  }
  for (const HeadShape& s : {shape_of(2, 2, 20), shape_of(3, 3, 64), shape_of(4, 2, 80), shape_of(1, 1, 32)}) {
    CAPTURE(s.heads, s.kv_heads, s.dim);
    const auto q = random_tensor(rows, s.query_cols(), 1), k = random_tensor(rows, s.kv_cols(), 2),
               v = random_tensor(rows, s.kv_cols(), 3);
    Tensor<float> out(rows, s.query_cols()), lse(rows, s.heads);
    attention<TestType>(Cpu{}, q, k, v, together, s, Mask::full, out, lse);
    CHECK(distance(out, oracle(doubles(q), doubles(k), doubles(v), together, rows, s, Mask::full)) < 1e-5);
    for (const Segment& g : together) {
      const auto own = [&](const Tensor<float>& x) { return x.view().middle_rows(g.begin, g.length); };
      Tensor<float> alone(g.length, s.query_cols()), alone_lse(g.length, s.heads), without(g.length, s.query_cols());
      const std::vector<Segment> one = {{0, g.length, -1, 0}};
      attention<TestType>(Cpu{}, own(q), own(k), own(v), one, s, Mask::full, alone, alone_lse);
      attention<TestType>(Cpu{}, own(q), own(k), own(v), one, s, Mask::full, without);
      CAPTURE(g.length);
      CHECK(same_bits(alone, own(out)));
      CHECK(same_bits(alone_lse, own(lse)));
      CHECK(same_bits(without, own(out)));
    }
  }
  const HeadShape s = shape_of(3, 3, 64);
  const auto q = random_tensor(rows, s.query_cols(), 1), k = random_tensor(rows, s.kv_cols(), 2),
             v = random_tensor(rows, s.kv_cols(), 3);
  CHECK(same_on_any_threads([&] {
    Tensor<float> out(rows, s.query_cols());
    attention<TestType>(Cpu{}, q, k, v, together, s, Mask::full, out);
    return out;
  }));
}

TEMPLATE_LIST_TEST_CASE("the attention gradient agrees with finite differences", "[kernel][attention][gradient]", Archs) {
  const std::vector<Segment> small = {{0, 3, -1, 0}, {3, 2, 0, 3}, {5, 1, 0, 3}, {6, 3, 1, 5}, {9, 4, -1, 0}};
  const Index rows = 13;
  for (const HeadShape& s : {shape_of(3, 1, 5), shape_of(4, 2, 4), shape_of(2, 2, 17)})
    for (const Mask mask : {Mask::causal, Mask::full}) {
      CAPTURE(s.heads, s.kv_heads, s.dim);
      const auto q = random_tensor(rows, s.query_cols(), 1), k = random_tensor(rows, s.kv_cols(), 2),
                 v = random_tensor(rows, s.kv_cols(), 3), dout = random_tensor(rows, s.query_cols(), 4);
      Tensor<float> out(rows, s.query_cols()), lse(rows, s.heads);
      attention<TestType>(Cpu{}, q, k, v, small, s, mask, out, lse);
      Tensor<float> dq = random_tensor(rows, s.query_cols(), 5), dk = random_tensor(rows, s.kv_cols(), 6),
                    dv = random_tensor(rows, s.kv_cols(), 7);
      attention_backward<TestType>(Cpu{}, q, k, v, out, lse, dout, small, s, mask, dq, dk, dv);
      const Doubles q0 = doubles(q), k0 = doubles(k), v0 = doubles(v);
      const auto loss = [&](const Doubles& a, const Doubles& b, const Doubles& c) {
        return dot(oracle(a, b, c, small, rows, s, mask), dout);
      };
      CHECK(distance(dq, numeric_gradient([&](const Doubles& x) { return loss(x, k0, v0); }, q0)) < 1e-5);
      CHECK(distance(dk, numeric_gradient([&](const Doubles& x) { return loss(q0, x, v0); }, k0)) < 1e-5);
      CHECK(distance(dv, numeric_gradient([&](const Doubles& x) { return loss(q0, k0, x); }, v0)) < 1e-5);
    }
}

TEST_CASE("attention has the same bits on 1, 2 and 3 threads", "[kernel][attention][invariance]") {
  const HeadShape s = shape_of(9, 3, 64);
  const auto q = random_tensor(forest_rows, s.query_cols(), 1), k = random_tensor(forest_rows, s.kv_cols(), 2),
             v = random_tensor(forest_rows, s.kv_cols(), 3), dout = random_tensor(forest_rows, s.query_cols(), 4);
  CHECK(same_on_any_threads([&] {
    Tensor<float> out(forest_rows, s.query_cols()), lse(forest_rows, s.heads);
    attention(Cpu{}, q, k, v, forest, s, Mask::causal, out, lse);
    Tensor<float> d(forest_rows, s.query_cols() + 2 * s.kv_cols());
    const Index size = forest_rows * s.kv_cols();
    attention_backward(Cpu{}, q, k, v, out, lse, dout, forest, s, Mask::causal,
                       d.view().slice(0, out.size()).reshaped(forest_rows, s.query_cols()),
                       d.view().slice(out.size(), size).reshaped(forest_rows, s.kv_cols()),
                       d.view().slice(out.size() + size, size).reshaped(forest_rows, s.kv_cols()));
    return d;
  }));
}

TEST_CASE("attention over thousands of rows stays exact", "[kernel][attention]") {
  const HeadShape s = shape_of(2, 1, 16);
  const Index rows = 2500;
  const auto q = random_tensor(rows, s.query_cols(), 1, 3), k = random_tensor(rows, s.kv_cols(), 2),
             v = random_tensor(rows, s.kv_cols(), 3);
  const std::vector<Segment> whole = {{0, rows, -1, 0}};
  Tensor<float> out(rows, s.query_cols());
  attention(Cpu{}, q, k, v, whole, s, Mask::causal, out);
  CHECK(distance(out, oracle(doubles(q), doubles(k), doubles(v), whole, rows, s, Mask::causal)) < 1e-5);
}

TEST_CASE("shapes that do not fit attention are refused", "[kernel][attention][error]") {
  Tensor<float> q(4, 32), k(4, 16), out(4, 32);
  const std::vector<Segment> whole = {{0, 4, -1, 0}}, outside = {{0, 5, -1, 0}};
  CHECK_THROWS_AS(attention(Cpu{}, q, k, k, whole, {3, 2, 8, 1}, Mask::causal, out), ShapeError);
  CHECK_THROWS_AS(attention(Cpu{}, q, k, k, whole, {4, 4, 8, 1}, Mask::causal, out), ShapeError);
  CHECK_THROWS_AS(attention(Cpu{}, q, k, k, outside, {4, 2, 8, 1}, Mask::causal, out), ShapeError);
  const std::vector<Index> offset = {0, 1};
  CHECK_THROWS_AS(attention_decode(Cpu{}, q, {}, offset, {4, 2, 8, 1}, out), ShapeError);
}
}  // namespace vbon::test
