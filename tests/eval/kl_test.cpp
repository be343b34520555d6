#include "vbon/eval/kl.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
TEST_CASE("k1 and k3 are unbiased by enumeration, and k3 is never negative", "[eval][kl]") {
  const auto log_p = random_log_policy(9, GENERATE(1u, 2u, 3u)), log_q = random_log_policy(9, 40);
  double k1 = 0, k3 = 0;
  for (std::size_t y = 0; y < 9; ++y) {
    const std::vector<double> l = {log_p[y] - log_q[y]};
    k1 += std::exp(log_p[y]) * eval::kl_k1(l);
    k3 += std::exp(log_p[y]) * eval::kl_k3(l);
    CHECK(eval::kl_k3(l) >= 0);
  }
  CHECK(k1 == Approx(bon::categorical_kl(log_p, log_q)).epsilon(1e-12));
  CHECK(k3 == Approx(bon::categorical_kl(log_p, log_q)).epsilon(1e-12));
}

TEST_CASE("k3 keeps its digits for tiny log-ratios", "[eval][kl]") {
  CHECK(eval::k3_term(1e-6) == Approx(0.5e-12).epsilon(1e-4));
  CHECK(eval::k3_term(0) == 0);
}

TEST_CASE("mass outside q makes the KL infinite, not NaN", "[eval][kl]") {
  const std::vector<double> l = {0.1, inf};
  CHECK(eval::kl_k1(l) == inf);
  CHECK(eval::kl_k2(l) == inf);
  CHECK(eval::kl_k3(l) == inf);
  CHECK(eval::kl_from_logits(std::vector<double>{0, 0}, std::vector<double>{0, -inf}).kl == inf);
  const auto masked = eval::kl_from_logits(std::vector<double>{1, -inf, 1}, std::vector<double>{0, 7, 0});
  CHECK(masked.entropy == Approx(std::log(2.0)));
  CHECK(std::isfinite(masked.kl));
}

TEST_CASE("huge logits and a temperature leave the exact KL finite", "[eval][kl]") {
  const std::vector<double> p = {1000, 998}, q = {-5, -5};
  const auto exact = eval::kl_from_logits(p, q, 2);
  const double a = 1 / (1 + std::exp(-1.0));
  CHECK(exact.entropy == Approx(-a * std::log(a) - (1 - a) * std::log(1 - a)));
  CHECK(exact.kl == Approx(std::log(2.0) - exact.entropy));
}

TEST_CASE("KL estimates refuse empty groups, NaN and bad temperatures", "[eval][error]") {
  const std::vector<double> two = {1, 2}, one = {1}, bad = {nan};
  CHECK(error_code([] { eval::kl_k1({}); }) == "empty_group");
  CHECK(error_code([&] { eval::kl_k3(bad); }) == "invalid_log_prob");
  CHECK(error_code([&] { eval::kl_from_logits(two, one); }) == "shape");
  CHECK(error_code([&] { eval::kl_from_logits({}, {}); }) == "empty_group");
  CHECK(error_code([&] { eval::kl_from_logits(two, two, 0); }) == "invalid_temperature");
}
}  // namespace vbon::test
