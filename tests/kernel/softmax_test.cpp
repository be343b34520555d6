#include "vbon/kernel/softmax.hpp"

#include <limits>

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

TEMPLATE_LIST_TEST_CASE("log-softmax and softmax agree with the definition", "[kernel][softmax]", Archs) {
  for (const Index cols : {1, 5, 16, 511, 512, 513, 1600}) {
    const auto logit = random_tensor(3, cols, 1, 5);
    const float scale = 1.25f;
    Tensor<float> log_p(3, cols), p(3, cols);
    log_softmax<TestType>(Cpu{}, logit, log_p, scale);
    softmax<TestType>(Cpu{}, logit, p, scale);
    for (Index t = 0; t < 3; ++t) {
      double total = 0;
      for (Index c = 0; c < cols; ++c) total += std::exp(static_cast<double>(logit(t, c)) * static_cast<double>(scale));
      for (Index c = 0; c < cols; ++c) {
        const double want = static_cast<double>(logit(t, c)) * static_cast<double>(scale) - std::log(total);
        REQUIRE(static_cast<double>(log_p(t, c)) == Approx(want).margin(3e-6).epsilon(1e-6));
        REQUIRE(static_cast<double>(p(t, c)) == Approx(std::exp(want)).margin(1e-7).epsilon(1e-5));
      }
      CHECK(log_sum_exp<TestType>(Cpu{}, logit.row(t), scale) == Approx(std::log(total)).epsilon(1e-6));
    }
  }
}

// At 1000 the last place of a float is 6e-5: a norm of one float would move all log-probs of the row by up to half of it,
// and so would a logit that is scaled in a fused multiply-add here and rounded there. A sum of 512 floats of a tile is off
// by 1.5e-6 where they are added one by one.
TEMPLATE_LIST_TEST_CASE("the size of the logits does not blur log-probs", "[kernel][softmax]", Archs) {
  const float scale = GENERATE(1.0f, 1.3f, 0.77f);
  const auto small = random_tensor(4, 1600, 2, 3);
  Tensor<float> logit(4, 1600), log_p(4, 1600), p(4, 1600);
  for (Index i = 0; i < logit.size(); ++i) logit[i] = small[i] + 1000;
  log_softmax<TestType>(Cpu{}, logit, log_p, scale);
  softmax<TestType>(Cpu{}, logit, p, scale);
  for (float& z : logit.view()) z *= scale;  // rounded once
  for (Index t = 0; t < 4; ++t) {
    double total = 0;
    const double origin = 1000 * static_cast<double>(scale);
    for (const float z : logit.row(t)) total += std::exp(static_cast<double>(z) - origin);
    double sum = 0;
    for (Index c = 0; c < 1600; ++c) {
      const double want = static_cast<double>(logit(t, c)) - origin - std::log(total);
      REQUIRE(static_cast<double>(log_p(t, c)) == Approx(want).margin(4e-6));
      sum += static_cast<double>(p(t, c));
    }
    CHECK(sum == Approx(1).epsilon(4e-6));
  }
}

TEST_CASE("log-sum-exp stands far from zero, with -infinity inside, and says NaN for NaN", "[kernel][softmax]") {
  const float infinity = std::numeric_limits<float>::infinity();
  Tensor<float> logit(1, 700);
  for (float& z : logit.view()) z = 1e4f;
  CHECK(log_sum_exp(Cpu{}, logit) == Approx(1e4 + std::log(700.0)).epsilon(1e-9));
  for (float& z : logit.view()) z = -1e4f;
  CHECK(log_sum_exp(Cpu{}, logit) == Approx(-1e4 + std::log(700.0)).epsilon(1e-9));
  for (float& z : logit.view()) z = -infinity;
  CHECK(log_sum_exp(Cpu{}, logit) == -std::numeric_limits<double>::infinity());
  logit[650] = 3;
  CHECK(log_sum_exp(Cpu{}, logit) == 3);
  logit[10] = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(log_sum_exp(Cpu{}, logit)));
}

TEST_CASE("softmax rows of another shape are refused", "[kernel][softmax][error]") {
  Tensor<float> a(2, 3), b(3, 2);
  CHECK_THROWS_AS(log_softmax(Cpu{}, a, b), ShapeError);
  CHECK_THROWS_AS(softmax(Cpu{}, a, b), ShapeError);
}
}  // namespace vbon::test
