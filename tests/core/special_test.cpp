#include "vbon/core/special.hpp"

#include "support/catch.hpp"

namespace vbon::test {
TEST_CASE("log_gamma agrees with factorials and the reflection at one half", "[core][special]") {
  double factorial = 1;
  for (int n = 1; n < 25; factorial *= n++) CHECK(log_gamma(n) == Approx(std::log(factorial)).epsilon(1e-14).margin(1e-14));
  CHECK(log_gamma(0.5) == Approx(0.5 * std::log(std::numbers::pi)).epsilon(1e-14));
  CHECK(log_gamma(1e6 + 1) - log_gamma(1e6) == Approx(std::log(1e6)).epsilon(1e-8));
}

TEST_CASE("digamma satisfies its recurrence and known values", "[core][special]") {
  CHECK(digamma(1) == Approx(-std::numbers::egamma).epsilon(1e-15));
  CHECK(digamma(0.5) == Approx(-std::numbers::egamma - 2 * std::numbers::ln2).epsilon(1e-15));
  const double x = GENERATE(0.3, 1.0, 7.5, 12.0, 1e4);
  CHECK(digamma(x + 1) - digamma(x) == Approx(1 / x).epsilon(1e-11));
}

TEST_CASE("digamma differences are sums of reciprocals to the last digits", "[core][special]") {
  const int m = GENERATE(1, 3, 64, 301, 5000);
  for (const int k : {0, 1, m / 2, m - 1, m}) {
    if (k > m) continue;
    double sum = 0;
    for (int j = m; j > k; --j) sum += 1.0 / j;
    CAPTURE(k, m);
    CHECK(digamma_difference(k + 1, m + 1) == Approx(-sum).epsilon(2e-14));
    CHECK(digamma_difference(m + 1, k + 1) == -digamma_difference(k + 1, m + 1));
  }
  CHECK(digamma_difference(1e9, 1e9 + 1) == Approx(-1e-9).epsilon(1e-14));
  CHECK(digamma_difference(m + 1, m + 1) == 0);
  CHECK(harmonic_number(0) == 0);
  CHECK(harmonic_number(4) == Approx(25.0 / 12).epsilon(1e-15));
}

TEST_CASE("the incomplete beta function is the binomial tail, and its inverse inverts it", "[core][special]") {
  // I_x(k, m-k+1) = P(Binomial(m, x) >= k)
  const double x = GENERATE(1e-4, 0.2, 0.5, 0.97);
  const int m = 12;
  for (int k = 1; k <= m; ++k) {
    double tail = 0;
    for (int j = k; j <= m; ++j)
      tail += std::exp(log_gamma(m + 1) - log_gamma(j + 1) - log_gamma(m - j + 1) + j * std::log(x) + (m - j) * std::log1p(-x));
    CAPTURE(k, x);
    CHECK(incomplete_beta(k, m - k + 1, x) == Approx(tail).epsilon(1e-12));
  }
  for (const double p : {1e-6, 0.025, 0.5, 0.975})
    for (const double a : {0.5, 1.0, 30.0, 4000.0})
      for (const double b : {0.5, 2.0, 700.0}) {
        CAPTURE(a, b, p);
        CHECK(incomplete_beta(a, b, incomplete_beta_inverse(a, b, p)) == Approx(p).epsilon(1e-9));
      }
  CHECK(incomplete_beta(2, 3, 0) == 0);
  CHECK(incomplete_beta(2, 3, 1) == 1);
  CHECK(incomplete_beta_inverse(2, 3, 0) == 0);
  CHECK(incomplete_beta_inverse(2, 3, 1) == 1);
  // One of m: the lower Clopper-Pearson end is 1 - (1 - p)^(1/m).
  CHECK(incomplete_beta_inverse(1, 20, 0.025) == Approx(-std::expm1(std::log1p(-0.025) / 20)).epsilon(1e-13));
}
}  // namespace vbon::test
