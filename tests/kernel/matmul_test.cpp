#include "vbon/kernel/matmul.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
struct Sizes {
  Index rows, outputs, depth;
};
const Sizes odd_sizes[] = {{1, 1, 1},      {1, 200, 37},  {2, 33, 5},   {3, 64, 16},     {4, 95, 31},    {13, 31, 64},
                           {14, 32, 7},    {15, 65, 1},   {29, 96, 50}, {57, 130, 3},    {100, 40, 129}, {301, 70, 300},
                           {61, 70, 1000}, {5, 700, 600}, {2, 1, 2048}, {17, 1024, 130}, {20, 130, 2048}};

/// x w^T (+ bias) in double.
Doubles product(View<const float> x, View<const float> w, View<const float> bias) {
  Doubles y;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index n = 0; n < w.rows(); ++n) {
      double total = bias.empty() ? 0 : static_cast<double>(bias[n]);
      for (Index k = 0; k < x.cols(); ++k) total += static_cast<double>(x(t, k)) * static_cast<double>(w(n, k));
      y.push_back(total);
    }
  return y;
}
PackedMatrix<float> packed(View<const float> w, Transpose transpose = Transpose::no) {
  PackedMatrix<float> out;
  pack(Cpu{}, w, transpose, out);
  return out;
}
Tensor<float> transposed(View<const float> w) {
  Tensor<float> out(w.cols(), w.rows());
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) out(j, i) = w(i, j);
  return out;
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("matmul is x w^T plus bias, for any sizes and either layout of w", "[kernel][matmul]", Archs) {
  for (const auto& [rows, outputs, depth] : odd_sizes) {
    CAPTURE(rows, outputs, depth);
    const auto x = random_tensor(rows, depth, 1), w = random_tensor(outputs, depth, 2), bias = random_tensor(1, outputs, 3);
    Tensor<float> y(rows, outputs);
    const double close = 2e-6 * std::sqrt(static_cast<double>(depth));
    matmul<TestType>(Cpu{}, x, packed(w), y);
    CHECK(distance(y, product(x, w, {})) < close);
    matmul<TestType>(Cpu{}, x, packed(transposed(w), Transpose::yes), y, bias);
    CHECK(distance(y, product(x, w, bias)) < close);
  }
}

TEMPLATE_LIST_TEST_CASE("a long sum is as exact as one chain of fused multiply-adds, also where products are rounded",
                        "[kernel][matmul]", Archs) {
  for (const Index depth : {Index{130}, Index{1536}, Index{5000}}) {
    CAPTURE(depth);
    const auto x = random_tensor(3, depth, 1), w = random_tensor(64, depth, 2);
    Tensor<float> y(3, 64);
    matmul<TestType>(Cpu{}, x, packed(w), y);
    const auto exact = product(x, w, {});
    double off = 0, off_chain = 0;
    for (Index t = 0; t < 3; ++t)
      for (Index n = 0; n < 64; ++n) {
        float chain = 0;
        for (Index k = 0; k < depth; ++k) chain = std::fma(x(t, k), w(n, k), chain);
        const double want = exact[static_cast<std::size_t>(t * 64 + n)];
        off += std::pow(static_cast<double>(y(t, n)) - want, 2);
        off_chain += std::pow(static_cast<double>(chain) - want, 2);
      }
    CHECK(off <= off_chain);
  }
}

TEST_CASE("a weight packed from rows that are read is the weight packed from memory", "[kernel][matmul]") {
  for (const auto& [rows, outputs, depth] : odd_sizes) {
    CAPTURE(outputs, depth);
    const auto w = random_tensor(outputs, depth, 2);
    const auto want = packed(w);
    PackedMatrix<float> got;
    pack_from(
        Cpu{}, outputs, depth,
        [&](Index first, Index count, float* out) { std::copy_n(w.row(first).data(), count * depth, out); }, got);
    REQUIRE(got.rows() == outputs);
    REQUIRE(got.cols() == depth);
    for (Index p = 0; p < want.panels(); ++p)
      CHECK(same_bits({got.panel(p), 1, got.panel_size()}, {want.panel(p), 1, want.panel_size()}));
  }
}

TEMPLATE_LIST_TEST_CASE("matmul adds to y when asked to", "[kernel][matmul]", Archs) {
  const auto x = random_tensor(9, 20, 1), w = random_tensor(45, 20, 2), start = random_tensor(9, 45, 3);
  Tensor<float> y = start;
  matmul<TestType>(Cpu{}, x, packed(w), y, {}, true);
  auto want = product(x, w, {});
  for (std::size_t i = 0; i < want.size(); ++i) want[i] += static_cast<double>(start[static_cast<Index>(i)]);
  CHECK(distance(y, want) < 1e-5);
}

TEMPLATE_LIST_TEST_CASE("a row has the same bits alone and at any place of any batch", "[kernel][matmul][invariance]",
                        Archs) {
  for (const Index depth : {Index{1}, Index{63}, Index{576}, Index{1000}, Index{2048}}) {
    const auto x = random_tensor(61, depth, 1), w = random_tensor(197, depth, 2), bias = random_tensor(1, 197, 3);
    const auto panels = packed(w);
    Tensor<float> all(61, 197);
    matmul<TestType>(Cpu{}, x, panels, all, bias);
    for (const Index count : {1, 2, 3, 4, 7, 14, 15, 17, 30}) {
      for (Index first = 0; first + count <= 61; first += 11) {
        Tensor<float> some(count, 197);
        matmul<TestType>(Cpu{}, x.view().middle_rows(first, count), panels, some, bias);
        CAPTURE(depth, count, first);
        REQUIRE(same_bits(some, all.view().middle_rows(first, count)));
      }
    }
  }
}

TEMPLATE_LIST_TEST_CASE("the gradient of the input is dy w", "[kernel][matmul][gradient]", Archs) {
  for (const auto& [rows, outputs, depth] : odd_sizes) {
    CAPTURE(rows, outputs, depth);
    const auto dy = random_tensor(rows, outputs, 1), w = random_tensor(outputs, depth, 2);
    Tensor<float> dx(rows, depth), by_pack(rows, depth);
    matmul_grad_input<TestType>(Cpu{}, dy, w, dx);
    CHECK(distance(dx, product(dy, transposed(w), {})) < 2e-6 * std::sqrt(static_cast<double>(outputs)));
    matmul<TestType>(Cpu{}, dy, packed(w, Transpose::yes), by_pack);
    CHECK(same_bits(dx, by_pack));
    matmul_grad_input<TestType>(Cpu{}, dy, w, dx, true);
    auto twice = product(dy, transposed(w), {});
    for (double& v : twice) v *= 2;
    CHECK(distance(dx, twice) < 4e-6 * std::sqrt(static_cast<double>(outputs)));
  }
}

TEMPLATE_LIST_TEST_CASE("the gradient of the weight adds dy^T x", "[kernel][matmul][gradient]", Archs) {
  for (const auto& [rows, outputs, depth] : odd_sizes) {
    CAPTURE(rows, outputs, depth);
    const auto dy = random_tensor(rows, outputs, 1), x = random_tensor(rows, depth, 2),
               start = random_tensor(outputs, depth, 3);
    Tensor<float> dw = start;
    matmul_grad_weight<TestType>(Cpu{}, dy, x, dw);
    auto want = product(transposed(dy), transposed(x), {});
    for (std::size_t i = 0; i < want.size(); ++i) want[i] += static_cast<double>(start[static_cast<Index>(i)]);
    CHECK(distance(dw, want) < 3e-6 * std::sqrt(static_cast<double>(rows)));
    Tensor<float> added(outputs, depth), written = full_of_nan(outputs, depth);
    matmul_grad_weight<TestType>(Cpu{}, dy, x, added);
    matmul_grad_weight<TestType>(Cpu{}, dy, x, written, Precision::float32, false);
    CHECK(same_bits(written, added));
  }
}

TEST_CASE("the gradient of the weight is one chain over any number of rows", "[kernel][matmul][gradient][invariance]") {
  constexpr Index rows = 2500, outputs = 50, depth = 41;  // more rows than are packed at a time
  const auto dy = random_tensor(rows, outputs, 1), x = random_tensor(rows, depth, 2);
  Tensor<float> whole(outputs, depth), parts(outputs, depth);
  matmul_grad_weight(Cpu{}, dy, x, whole);
  for (Index first = 0; first < rows; first += 613) {
    const Index count = std::min<Index>(613, rows - first);
    matmul_grad_weight(Cpu{}, dy.view().middle_rows(first, count), x.view().middle_rows(first, count), parts);
  }
  CHECK(same_bits(whole, parts));
  CHECK(distance(whole, product(transposed(dy), transposed(x), {})) < 3e-6 * std::sqrt(2500.0));
  Tensor<float> written = full_of_nan(outputs, depth);
  matmul_grad_weight(Cpu{}, dy, x, written, Precision::float32, false);
  CHECK(same_bits(written, whole));
}

TEMPLATE_LIST_TEST_CASE("the gradient of the bias adds the rows", "[kernel][matmul][gradient]", Archs) {
  for (const auto& [rows, outputs, depth] : odd_sizes) {
    const auto dy = random_tensor(rows, outputs, 1), start = random_tensor(1, outputs, 2);
    Tensor<float> db = start;
    bias_grad<TestType>(Cpu{}, dy, db);
    Doubles want = doubles(start);
    for (Index t = 0; t < rows; ++t)
      for (Index n = 0; n < outputs; ++n) want[static_cast<std::size_t>(n)] += static_cast<double>(dy(t, n));
    CHECK(distance(db, want) < 3e-6 * std::sqrt(static_cast<double>(rows)));
  }
}

TEST_CASE("matrix products have the same bits on 1, 2, 3 and 8 threads", "[kernel][matmul][invariance]") {
  const auto x = random_tensor(301, 130, 1), w = random_tensor(450, 130, 2), dy = random_tensor(301, 450, 3);
  const auto panels = packed(w);
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(301, 450);
    matmul(Cpu{}, x, panels, y);
    return y;
  }));
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(301, 130);
    matmul_grad_input(Cpu{}, dy, w, y);
    return y;
  }));
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(450, 130);
    matmul_grad_weight(Cpu{}, dy, x, y);
    return y;
  }));
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(1, 450);
    bias_grad(Cpu{}, dy, y);
    return y;
  }));
}

TEST_CASE(
    "a gradient of inputs with few columns, whose rows are cut for the threads, has the same bits on any number of them",
    "[kernel][matmul][invariance]") {
  const auto dy = random_tensor(1025, 70, 1), start = random_tensor(1025, 33, 2), w = random_tensor(70, 33, 3);
  for (const Precision precision : {Precision::float32, Precision::bfloat16})
    for (const bool accumulate : {false, true}) {
      CAPTURE(accumulate);
      CHECK(same_on_any_threads([&] {
        Tensor<float> dx = start;
        matmul_grad_input(Cpu{}, dy, w, dx, accumulate, precision);
        return dx;
      }));
    }
}

TEST_CASE("a packed matrix is used again for another weight of its size", "[kernel][matmul]") {
  PackedMatrix<float> panels;
  pack(Cpu{}, random_tensor(70, 20, 1), Transpose::no, panels);
  const float* storage = panels.panel(0);
  const auto w = random_tensor(70, 20, 2), x = random_tensor(3, 20, 3);
  pack(Cpu{}, w, Transpose::no, panels);
  CHECK(panels.panel(0) == storage);
  Tensor<float> y(3, 70);
  matmul(Cpu{}, x, panels, y);
  CHECK(distance(y, product(x, w, {})) < 1e-5);
}

TEST_CASE("a sum of nothing is what it starts from", "[kernel][matmul]") {
  const Tensor<float> x(3, 0), w(40, 0);
  const auto bias = random_tensor(1, 40, 1), start = random_tensor(3, 40, 2);
  Tensor<float> y = start;
  matmul(Cpu{}, x, packed(w), y, {}, true);
  CHECK(same_bits(y, start));
  matmul(Cpu{}, x, packed(w), y, bias);
  for (Index t = 0; t < 3; ++t) CHECK(same_bits(y.row(t), bias));
}

TEST_CASE("an empty batch is allowed", "[kernel][matmul]") {
  const auto w = random_tensor(8, 5, 1);
  Tensor<float> none(0, 5), y(0, 8), dw(8, 5);
  matmul(Cpu{}, none, packed(w), y);
  matmul_grad_input(Cpu{}, y, w, none);
  matmul_grad_weight(Cpu{}, y, none, dw);
  CHECK(distance(dw, Doubles(40)) == 0);
  dw = full_of_nan(8, 5);
  matmul_grad_weight(Cpu{}, y, none, dw, Precision::float32, false);
  CHECK(distance(dw, Doubles(40)) == 0);
}

TEST_CASE("sizes that do not fit are refused", "[kernel][matmul][error]") {
  const auto w = random_tensor(8, 5, 1);
  Tensor<float> x(3, 4), y(3, 8), bias(1, 7), good(3, 5);
  CHECK_THROWS_AS(matmul(Cpu{}, x, packed(w), y), ShapeError);
  CHECK_THROWS_AS(matmul(Cpu{}, good, packed(w), y, bias), ShapeError);
  CHECK_THROWS_AS(matmul_grad_input(Cpu{}, y, w, x), ShapeError);
  CHECK_THROWS_AS(matmul_grad_weight(Cpu{}, y, x, Tensor<float>(8, 5)), ShapeError);
  CHECK_THROWS_AS(bias_grad(Cpu{}, y, bias), ShapeError);
}
}  // namespace vbon::test
