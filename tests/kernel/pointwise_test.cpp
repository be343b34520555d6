#include "vbon/kernel/embedding.hpp"
#include "vbon/kernel/gelu.hpp"
#include "vbon/kernel/rotary.hpp"
#include "vbon/kernel/swiglu.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double oracle(GeluTanh, double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}
double oracle(GeluExact, double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double oracle(Silu, double x) { return x * sigmoid(x); }
double oracle(Sigmoid, double x) { return sigmoid(x); }
double oracle(Tanh, double x) { return std::tanh(x); }
double oracle(Relu, double x) { return std::max(x, 0.0); }

template <class Arch, class Activation>
void check_activation() {
  CAPTURE(Activation::name);
  Tensor<float> x(1, 1003), dy = random_tensor(1, 1003, 2), y(1, 1003), dx(1, 1003);
  for (Index i = 0; i < x.size(); ++i) x[i] = -12 + 24 * (static_cast<float>(i) + 0.25f) / 1003;
  activate<Activation, Arch>(Cpu{}, x, y);
  activate_backward<Activation, Arch>(Cpu{}, x, dy, dx);
  for (Index i = 0; i < x.size(); ++i) {
    const auto at = static_cast<double>(x[i]);
    const double slope = (oracle(Activation{}, at + 1e-5) - oracle(Activation{}, at - 1e-5)) / 2e-5;
    CAPTURE(at);
    REQUIRE(static_cast<double>(y[i]) == Approx(oracle(Activation{}, at)).margin(1e-6).epsilon(1e-6));
    REQUIRE(static_cast<double>(dx[i]) == Approx(static_cast<double>(dy[i]) * slope).margin(3e-6).epsilon(3e-6));
  }
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("activations and their slopes agree with the standard library", "[kernel][activation]", Archs) {
  check_activation<TestType, GeluTanh>();
  check_activation<TestType, GeluExact>();
  check_activation<TestType, Silu>();
  check_activation<TestType, Sigmoid>();
  check_activation<TestType, Tanh>();
  check_activation<TestType, Relu>();
}

TEMPLATE_LIST_TEST_CASE("swiglu and its gradients agree with the definition", "[kernel][activation][gradient]", Archs) {
  const Index size = 515;
  const auto gate = random_tensor(1, size, 1, 3), up = random_tensor(1, size, 2), dout = random_tensor(1, size, 3);
  Tensor<float> out(1, size), dgate(1, size), dup(1, size);
  swiglu<TestType>(Cpu{}, gate, up, out);
  swiglu_backward<TestType>(Cpu{}, gate, up, dout, dgate, dup);
  for (Index i = 0; i < size; ++i) {
    const auto g = static_cast<double>(gate[i]), b = static_cast<double>(up[i]), d = static_cast<double>(dout[i]);
    const double slope = (oracle(Silu{}, g + 1e-5) - oracle(Silu{}, g - 1e-5)) / 2e-5;
    REQUIRE(static_cast<double>(out[i]) == Approx(oracle(Silu{}, g) * b).margin(1e-6).epsilon(1e-6));
    REQUIRE(static_cast<double>(dgate[i]) == Approx(d * b * slope).margin(1e-6).epsilon(1e-5));
    REQUIRE(static_cast<double>(dup[i]) == Approx(d * oracle(Silu{}, g)).margin(1e-6).epsilon(1e-6));
  }
}

TEST_CASE("an activation may be computed in place and gives the same bits at any place",
          "[kernel][activation][invariance]") {
  const auto x = random_tensor(1, 1000, 1, 2);
  Tensor<float> y(1, 1000), again = x;
  activate<Silu>(Cpu{}, x, y);
  activate<Silu>(Cpu{}, again, again);
  CHECK(same_bits(y, again));
  for (Index i = 0; i < 1000; i += 13) {
    float alone = 0;
    activate<Silu>(Cpu{}, View<const float>(x.data() + i, 1), View<float>(&alone, 1));
    REQUIRE(alone == y[i]);
  }
}

TEMPLATE_LIST_TEST_CASE("rotary turns pairs by position times frequency", "[kernel][rotary]", Archs) {
  for (const auto& [dim, turned] : {std::pair<Index, Index>{64, 64}, {20, 10}, {6, 6}, {80, 20}}) {
    CAPTURE(dim, turned);
    Rotary rotary{.head_dim = dim, .rotary_dim = turned, .inv_freq = {}, .attention_scale = 1.1f};
    for (Index i = 0; i < turned / 2; ++i)
      rotary.inv_freq.push_back(std::pow(10000.0f, -2 * static_cast<float>(i) / static_cast<float>(turned)));
    const std::vector<Index> position = {0, 1, 7, 1000, 5};
    const auto x = random_tensor(5, 3 * dim, 1);
    Tensor<float> y = x, from_table = x;
    rotate<TestType>(Cpu{}, rotary, y, position);
    rotary.reserve(100);
    rotate<TestType>(Cpu{}, rotary, from_table, position);
    CHECK(same_bits(y, from_table));
    for (Index t = 0; t < 5; ++t)
      for (Index h = 0; h < 3; ++h)
        for (Index i = 0; i < dim; ++i) {
          const Index half = turned / 2;
          double want = static_cast<double>(x(t, h * dim + i));
          if (i < turned) {
            const double angle = static_cast<double>(static_cast<float>(position[static_cast<std::size_t>(t)]) *
                                                     rotary.inv_freq[static_cast<std::size_t>(i % half)]);
            const auto a = static_cast<double>(x(t, h * dim + i % half)),
                       b = static_cast<double>(x(t, h * dim + half + i % half));
            want = static_cast<double>(1.1f) *
                   (i < half ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle));
          }
          REQUIRE(static_cast<double>(y(t, h * dim + i)) == Approx(want).margin(1e-6));
        }
  }
}

TEST_CASE("the inverse turn is the gradient of the turn and undoes it", "[kernel][rotary][gradient]") {
  Rotary rotary{.head_dim = 8, .rotary_dim = 8, .inv_freq = {1, 0.3f, 0.1f, 0.01f}};
  const std::vector<Index> position = {3, 40};
  const auto x = random_tensor(2, 16, 1), dy = random_tensor(2, 16, 2);
  Tensor<float> y = x, dx = dy;
  rotate(Cpu{}, rotary, y, position);
  rotate(Cpu{}, rotary, dx, position, true);
  CHECK(dot(doubles(y), dy) == Approx(dot(doubles(x), dx)).epsilon(1e-5));  // <R x, dy> = <x, R^T dy>
  rotate(Cpu{}, rotary, y, position, true);
  CHECK(distance(y, doubles(x)) < 1e-6);
}

TEST_CASE("rotary refuses widths that are not whole heads and too few positions", "[kernel][rotary][error]") {
  Rotary rotary{.head_dim = 8, .rotary_dim = 4, .inv_freq = {1, 0.3f}};
  Tensor<float> x(2, 12), good(2, 16);
  const std::vector<Index> two = {0, 1}, one = {0};
  CHECK_THROWS_AS(rotate(Cpu{}, rotary, x, two), ShapeError);
  CHECK_THROWS_AS(rotate(Cpu{}, rotary, good, one), ShapeError);
  rotary.rotary_dim = 6;
  CHECK_THROWS_AS(rotate(Cpu{}, rotary, good, two), ShapeError);
}

TEMPLATE_LIST_TEST_CASE("embedding takes rows, its gradient adds to them", "[kernel][embedding]", Archs) {
  const auto table = random_tensor(6, 37, 1), dout = random_tensor(4, 37, 2);
  const std::vector<TokenId> token = {5, 0, 5, 2};
  Tensor<float> out(4, 37), dtable(6, 37);
  embedding<TestType>(Cpu{}, table, token, out);
  for (Index t = 0; t < 4; ++t) CHECK(same_bits(out.row(t), table.row(token[static_cast<std::size_t>(t)])));
  embedding<TestType>(Cpu{}, table, token, out, true);
  embedding_backward<TestType>(Cpu{}, token, dout, dtable);
  for (Index c = 0; c < 37; ++c) {
    REQUIRE(out(0, c) == 2 * table(5, c));
    REQUIRE(dtable(5, c) == dout(0, c) + dout(2, c));
    REQUIRE(dtable(0, c) == dout(1, c));
    REQUIRE(dtable(1, c) == 0);
  }
}

TEST_CASE("embedding refuses tokens outside the table", "[kernel][embedding][error]") {
  Tensor<float> table(3, 4), out(1, 4), narrow(1, 3);
  const std::vector<TokenId> good = {2}, late = {3}, negative = {-1};
  CHECK_THROWS_AS(embedding(Cpu{}, table, late, out), DomainError);
  CHECK_THROWS_AS(embedding_backward(Cpu{}, negative, out, table), DomainError);
  CHECK_THROWS_AS(embedding(Cpu{}, table, good, narrow), ShapeError);
  CHECK_THROWS_AS(embedding_backward(Cpu{}, good, narrow, table), ShapeError);
}
}  // namespace vbon::test
