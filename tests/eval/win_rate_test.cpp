#include "vbon/eval/win_rate.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
TEST_CASE("the win rate over all pairs is that of a double loop", "[eval][win_rate]") {
  const RngKey key{GENERATE(1u, 2u, 3u), 8};
  std::vector<double> a, b;
  for (std::uint64_t i = 0; i < 23; ++i) a.push_back(static_cast<double>(key.fold(1).below(i, 9)));
  for (std::uint64_t i = 0; i < 17; ++i) b.push_back(static_cast<double>(key.fold(2).below(i, 9)));
  double wins = 0;
  for (const double x : a)
    for (const double y : b) wins += x > y ? 1 : x == y ? 0.5 : 0;
  CHECK(eval::win_rate(a, b) == Approx(wins / (23 * 17)).epsilon(1e-15));
  CHECK(eval::win_rate(a, b) + eval::win_rate(b, a) == 1);  // halves are counted exactly
  CHECK(eval::win_rate(a, a) == 0.5);
}

TEST_CASE("infinite rewards order, float32 rewards tie after rounding", "[eval][win_rate]") {
  CHECK(eval::win_rate(std::vector<double>{inf, -inf}, std::vector<double>{0}) == 0.5);
  CHECK(eval::win_rate(std::vector<double>{inf}, std::vector<double>{inf}) == 0.5);
  const std::vector<double> exact = {0.3}, rounded = {0.30000001192092896};
  CHECK(eval::win_rate(exact, rounded) == 0);
  CHECK(eval::win_rate<float>(exact, rounded) == 0.5);
}

TEST_CASE("every prompt has its own win rate", "[eval][win_rate]") {
  const std::vector<std::vector<double>> a = {{1, 2}, {5}}, b = {{1}, {3, 9}};
  CHECK(eval::win_rate_per_prompt(a, b) == std::vector<double>{0.75, 0.5});
  CHECK(error_code([&] { eval::win_rate_per_prompt(a, std::span(b).first(1)); }) == "shape");
}

TEST_CASE("the published pairing counts ties as losses", "[eval][win_rate]") {
  const std::vector<double> a = {1, 2, 3, 9}, b = {1, 1, 4};
  CHECK(eval::paired_win_rate(a, b) == 0.5);
  CHECK(eval::paired_strict_win_rate(a, b) == Approx(1.0 / 3));
}

TEST_CASE("win rates refuse empty groups and NaN", "[eval][error]") {
  const std::vector<double> one = {1}, bad = {nan};
  CHECK(error_code([&] { eval::win_rate({}, one); }) == "empty_group");
  CHECK(error_code([&] { eval::win_rate(one, {}); }) == "empty_group");
  CHECK(error_code([&] { eval::win_rate(one, bad); }) == "nan_reward");
  CHECK(error_code([&] { eval::paired_win_rate({}, one); }) == "empty_group");
  CHECK(error_code([&] { eval::paired_win_rate(bad, one); }) == "nan_reward");
}
}  // namespace vbon::test
