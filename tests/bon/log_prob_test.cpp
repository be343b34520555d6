#include "vbon/bon/log_prob.hpp"

#include <type_traits>

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
using bon::log_prob;

TEST_CASE("a response of -2000 nats stays finite", "[bon][edge]") {
  CHECK(log_prob(-2000, -0.7, -2000, 64) == Approx(std::log(64.0) - 63 * 0.7 - 2000).epsilon(1e-15));
  CHECK(log_prob(-1e5, -1e-3, -1e5, 1e6) == Approx(std::log(1e6) - 999999e-3 - 1e5).epsilon(1e-14));
}

TEST_CASE("no reward below, the whole mass, and nothing at all are legal", "[bon][edge]") {
  CHECK(log_prob(-3, -inf, -2, 7) == Approx(-3 + 2 - 14).epsilon(1e-15));  // F = 0
  CHECK(log_prob(-1, -inf, 0, 5) == -1);                                   // one level: bon = ref
  CHECK(log_prob(-inf, -0.5, -1, 4) == -inf);                              // masked out
  CHECK(log_prob(-inf, -inf, -inf, 4) == -inf);
  CHECK(log_prob(-inf, -0.1, -inf, 4) == -inf);
}

TEST_CASE("N = 1 gives log_ref bit for bit", "[bon][edge]") {
  const double log_ref = GENERATE(-1e-300, -0.1, -17.3, -1234.5), log_cdf = GENERATE(-inf, -40.0, -1e-7);
  if (log_add(log_cdf, log_ref) > 0) return;
  CHECK(log_prob(log_ref, log_cdf, log_ref, 1) == log_ref);
}

TEST_CASE("the top level takes log(F + tau) = 0, which keeps its digits at N = 1e9", "[bon][edge]") {
  const double tau = 1e-9, log_cdf = std::log1p(-tau);
  CHECK(log_prob(std::log(tau), log_cdf, std::log(tau), 0, 1e9) ==
        Approx(std::log(-std::expm1(1e9 * log_cdf))).epsilon(1e-14));
}

TEST_CASE("excess that is rounding is clamped, more is an error", "[bon][error]") {
  CHECK(log_prob(5e-10, -inf, 5e-10, 3) == 0);
  CHECK(log_prob(-1, std::log1p(-std::exp(-1.0)) + 1e-10, -1, 3) <= 0);
  CHECK(log_prob(-1 + 5e-10, -2, -1, 2) == Approx(log_prob(-1, -2, -1, 2)).epsilon(1e-9));
  const auto code = [](double p, double a, double t, double n) { return error_code([=] { return log_prob(p, a, t, n); }); };
  CHECK(code(-1, -1, -1, 4) == "nothing");
  for (const double n : {0.0, 0.999, -3.0, nan, inf, 1e17}) CHECK(code(-1, -1, -1, n) == "invalid_n");
  CHECK(code(nan, -1, -1, 4) == "invalid_log_prob");
  CHECK(code(-1, nan, -1, 4) == "invalid_log_prob");
  CHECK(code(-1, -1, nan, 4) == "invalid_log_prob");
  CHECK(code(-1, 2e-9, -50, 4) == "invalid_log_prob");
  CHECK(code(-1, -1, -1.1, 4) == "inconsistent_mass");  // ref > tau
  CHECK(code(-1, -0.3, -1, 4) == "inconsistent_mass");  // F + tau = 1.11
  CHECK(code(-1, -0.3, -1, 1) == "inconsistent_mass");
  CHECK(error_code([] { return log_prob(-1, -1, -1, -2, 4); }) == "inconsistent_mass");  // log_cdf_le below its parts
  CHECK(error_code([] { return log_prob(-3, -3, -3, 0, 4); }) == "inconsistent_mass");   // and above their sum
  CHECK(error_code([] { return log_prob(-1, -1, -1, nan, 4); }) == "invalid_log_prob");
  CHECK(error_code([] { return bon::log_prob_derivatives(-0.3, -1, 4); }) == "inconsistent_mass");
  CHECK(error_code([] { return bon::log_prob_derivatives(nan, -1, 4); }) == "invalid_log_prob");
  CHECK(error_code([] { return bon::log_prob_first_order(-1, -1, 0.5); }) == "invalid_n");
  CHECK(error_code([] { return bon::first_order_gap_bound(-1, -1, 0.5); }) == "invalid_n");
  CHECK(error_code([] { return bon::log_prob_f32(-1, -1, -1, 0.5f); }) == "invalid_n");
  CHECK_THROWS_AS(log_prob(-1, -1, -1, 0), std::invalid_argument);
}

TEST_CASE("derivatives reach their limits", "[bon][edge]") {
  const auto rare = bon::log_prob_derivatives(-0.5, -900, 8);  // tau / F -> 0
  CHECK(rare.log_cdf == 7);
  CHECK(rare.log_tie == 1);
  CHECK(rare.n == Approx(-0.5 + 1.0 / 8));
  const auto lowest = bon::log_prob_derivatives(-inf, -2, 8);  // F = 0
  CHECK(lowest.log_cdf == 0);
  CHECK(lowest.log_tie == 8);
  CHECK(lowest.n == -2);
}

TEST_CASE("a verifier's success has mass 1 - (1-s)^N, which is pass@N", "[bon]") {
  const double s = GENERATE(0.01, 0.3, 0.9), n = GENERATE(1.0, 4.0, 64.0), own = s / 10;
  CHECK(log_prob(std::log(own), std::log1p(-s), std::log(s), 0, n) ==
        Approx(std::log(own) + std::log((1 - std::pow(1 - s, n)) / s)).epsilon(1e-12));
  CHECK(log_prob(std::log(own), -inf, std::log1p(-s), n) == Approx(std::log(own) + (n - 1) * std::log1p(-s)).epsilon(1e-12));
}
static_assert(std::is_same_v<decltype(bon::log_prob_f32(-1, -1, -1, 2)), float>);
}  // namespace vbon::test
