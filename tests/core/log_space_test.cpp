#include "vbon/core/log_space.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace vbon::test {
TEST_CASE("log1mexp keeps full relative accuracy at both ends", "[core][log_space]") {
  CHECK(log1mexp(-1e-20) == Approx(std::log(1e-20)).epsilon(1e-15));
  CHECK(log1mexp(-50.0) == Approx(-std::exp(-50.0)).epsilon(1e-14));
  CHECK(log1mexp(-std::numbers::ln2) == Approx(-std::numbers::ln2).epsilon(1e-15));
  CHECK(log1mexp(0.0) == -inf);
  CHECK(log1mexp(-inf) == 0);
}

TEST_CASE("log_add and log_sub undo each other", "[core][log_space]") {
  const double a = GENERATE(-700.0, -3.0, -1e-3), b = GENERATE(-2000.0, -5.0, -0.5);
  CHECK(log_add(a, b) == log_add(b, a));
  if (a - b < 20)
    CHECK(log_sub(log_add(a, b), a) ==
          Approx(b).epsilon(1e-13).margin(1e-15 * std::exp(std::max(a - b, 0.0)) * (1 + std::abs(a))));
  CHECK(log_add(a, -inf) == a);
  CHECK(log_sub(a, -inf) == a);
  CHECK(log_sub(a, a) == -inf);
  CHECK(log_add(-inf, -inf) == -inf);
}

TEST_CASE("log_sum_exp neither overflows nor underflows", "[core][log_space]") {
  CHECK(log_sum_exp(std::vector<double>{1000, 1000}) == Approx(1000 + std::numbers::ln2));
  CHECK(log_sum_exp(std::vector<double>{-2000, -2001}) == Approx(-2000 + std::log1p(std::exp(-1.0))));
  CHECK(log_sum_exp(std::vector<double>{}) == -inf);
  CHECK(log_sum_exp(std::vector<double>{-inf, -3}) == -3);
  CHECK(log1pexp(1000.0) == 1000);
  CHECK(log1pexp(-1000.0) == 0);
}

TEST_CASE("log_any_hit is 1 - (1-p)^n, down to events that exp cannot represent", "[core][log_space]") {
  CHECK(log_any_hit(3, std::log(0.25)) == Approx(std::log(1 - 0.75 * 0.75 * 0.75)).epsilon(1e-14));
  CHECK(log_any_hit(64, -2000) == Approx(std::log(64.0) - 2000).epsilon(1e-15));
  CHECK(log_any_hit(1, -0.7) == Approx(-0.7).epsilon(1e-15));
  CHECK(log_any_hit(5, 0) == 0);
  CHECK(log_any_hit(1e9, std::log(1e-9)) == Approx(std::log(-std::expm1(1e9 * std::log1p(-1e-9)))).epsilon(1e-12));
}

TEST_CASE("log1p_minus does not cancel at small x", "[core][log_space]") {
  const double x = GENERATE(1e-12, -1e-12, 1e-5, -1e-5, 1e-3);
  CHECK(log1p_minus(x) == Approx(x * x * (-0.5 + x * (1.0 / 3 + x * (-0.25 + x * (0.2 - x / 6))))).epsilon(1e-13));
  CHECK(log1p_minus(0.4999999) == Approx(std::log1p(0.4999999) - 0.4999999).epsilon(1e-14));
  CHECK(log1p_minus(-0.4999999) == Approx(std::log1p(-0.4999999) + 0.4999999).epsilon(1e-14));
  CHECK(log1p_minus(9.0) == Approx(std::log(10.0) - 9).epsilon(1e-15));
  CHECK(log1p_minus(0) == 0);
}
}  // namespace vbon::test
