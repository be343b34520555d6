#include "vbon/kernel/layer_norm.hpp"
#include "vbon/kernel/rms_norm.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
constexpr double eps = 1e-5;
std::size_t u(Index i) { return static_cast<std::size_t>(i); }

/// y of layer norm, or of root-mean-square norm when `center` is false.
Doubles normed(const Doubles& x, const Doubles& weight, const Doubles& bias, Index cols, bool center) {
  Doubles y(x.size());
  for (std::size_t row = 0; row < x.size(); row += u(cols)) {
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < u(cols); ++c) mean += x[row + c] / static_cast<double>(cols);
    if (!center) mean = 0;
    for (std::size_t c = 0; c < u(cols); ++c)
      square += (x[row + c] - mean) * (x[row + c] - mean) / static_cast<double>(cols);
    for (std::size_t c = 0; c < u(cols); ++c)
      y[row + c] = (x[row + c] - mean) / std::sqrt(square + eps) * weight[c] + bias[c];
  }
  return y;
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("norms agree with their definitions", "[kernel][norm]", Archs) {
  for (const Index cols : {1, 3, 16, 17, 64, 577}) {
    const auto x = random_tensor(5, cols, 1, 3), weight = random_tensor(1, cols, 2), bias = random_tensor(1, cols, 3);
    Tensor<float> y(5, cols), inv_std(1, 5), mean(1, 5);
    rms_norm<TestType>(Cpu{}, x, weight, static_cast<float>(eps), y, inv_std);
    CHECK(distance(y, normed(doubles(x), doubles(weight), Doubles(u(cols)), cols, false)) < 2e-6);
    if (cols == 1) continue;  // the centred row is 0: only eps is left to divide by
    layer_norm<TestType>(Cpu{}, x, weight, bias, static_cast<float>(eps), y, mean, inv_std);
    CHECK(distance(y, normed(doubles(x), doubles(weight), doubles(bias), cols, true)) < 4e-6);
    layer_norm<TestType>(Cpu{}, x, weight, {}, static_cast<float>(eps), y);
    CHECK(distance(y, normed(doubles(x), doubles(weight), Doubles(u(cols)), cols, true)) < 4e-6);
  }
}

TEST_CASE("layer norm keeps its precision far from zero", "[kernel][norm]") {
  Tensor<float> x = random_tensor(2, 100, 1), weight(1, 100), y(2, 100);
  for (float& v : x.view()) v += 1000;
  for (float& w : weight.view()) w = 1;
  layer_norm(Cpu{}, x, weight, {}, static_cast<float>(eps), y);
  // Scalar code adds the 100 values one after another, registers of several lanes in as many shorter sums.
  const double limit = kernel::detail::lanes<xsimd::default_arch> == 1 ? 4e-4 : 2e-4;
  CHECK(distance(y, normed(doubles(x), Doubles(100, 1.0), Doubles(100), 100, true)) < limit);
}

TEMPLATE_LIST_TEST_CASE("the gradients of the norms agree with finite differences", "[kernel][norm][gradient]", Archs) {
  for (const Index cols : {3, 16, 37}) {
    CAPTURE(cols);
    const auto x = random_tensor(4, cols, 1), weight = random_tensor(1, cols, 2), bias = random_tensor(1, cols, 3),
               dy = random_tensor(4, cols, 4);
    const Doubles x0 = doubles(x), w0 = doubles(weight), b0 = doubles(bias), none(u(cols));
    Tensor<float> y(4, cols), mean(1, 4), inv_std(1, 4);
    for (const bool center : {false, true}) {
      Tensor<float> dx = random_tensor(4, cols, 5), dweight(1, cols), dbias(1, cols);
      if (center) {
        layer_norm<TestType>(Cpu{}, x, weight, bias, static_cast<float>(eps), y, mean, inv_std);
        layer_norm_backward<TestType>(Cpu{}, x, weight, mean, inv_std, dy, dx, dweight, dbias);
      } else {
        rms_norm<TestType>(Cpu{}, x, weight, static_cast<float>(eps), y, inv_std);
        rms_norm_backward<TestType>(Cpu{}, x, weight, inv_std, dy, dx, dweight);
      }
      CHECK(distance(dx, numeric_gradient([&](const Doubles& v) { return dot(normed(v, w0, none, cols, center), dy); },
                                          x0)) < 2e-5);
      CHECK(distance(dweight, numeric_gradient([&](const Doubles& v) { return dot(normed(x0, v, none, cols, center), dy); },
                                               w0)) < 2e-5);
      if (center)
        CHECK(distance(dbias, numeric_gradient([&](const Doubles& v) { return dot(normed(x0, w0, v, cols, true), dy); },
                                               b0)) < 2e-5);
    }
  }
}

TEST_CASE("norms have the same bits in any batch and on any threads", "[kernel][norm][invariance]") {
  const auto x = random_tensor(90, 577, 1), weight = random_tensor(1, 577, 2), dy = random_tensor(90, 577, 3);
  Tensor<float> all(90, 577), inv_std(1, 90), mean(1, 90);
  rms_norm(Cpu{}, x, weight, 1e-5f, all, inv_std);
  for (Index t = 0; t < 90; t += 7) {
    Tensor<float> alone(1, 577);
    rms_norm(Cpu{}, x.row(t), weight, 1e-5f, alone);
    CHECK(same_bits(alone, all.row(t)));
  }
  CHECK(same_on_any_threads([&] {
    Tensor<float> dx(91, 577);
    rms_norm_backward(Cpu{}, x, weight, inv_std, dy, dx.view().middle_rows(0, 90), dx.row(90));
    return dx;
  }));
  layer_norm(Cpu{}, x, weight, {}, 1e-5f, all, mean, inv_std);
  CHECK(same_on_any_threads([&] {
    Tensor<float> dx(92, 577);
    layer_norm_backward(Cpu{}, x, weight, mean, inv_std, dy, dx.view().middle_rows(0, 90), dx.row(90), dx.row(91));
    return dx;
  }));
}

TEST_CASE("norms refuse shapes that do not fit", "[kernel][norm][error]") {
  Tensor<float> x(2, 4), weight(1, 3), good(1, 4), short_row(1, 1);
  CHECK_THROWS_AS(rms_norm(Cpu{}, x, weight, 1e-5f, x), ShapeError);
  CHECK_THROWS_AS(rms_norm(Cpu{}, x, good, 1e-5f, x, short_row), ShapeError);
  CHECK_THROWS_AS(layer_norm(Cpu{}, x, good, weight, 1e-5f, x), ShapeError);
  CHECK_THROWS_AS(rms_norm_backward(Cpu{}, x, good, short_row, x, x, good), ShapeError);
  CHECK_THROWS_AS(layer_norm_backward(Cpu{}, x, good, short_row, short_row, x, x, good, good), ShapeError);
}
}  // namespace vbon::test
