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

TEST_CASE("best-of-N and worst-of-N win rates are the averages over all pairs of subsets", "[eval][win_rate]") {
  const std::vector<double> a = {3, 1, 4, 1, 5}, b = {2, 3, 1, 4};
  for (const std::size_t n : {1U, 2U, 3U}) {
    const auto over_subsets = [&](const std::vector<double>& group, auto&& visit) {
      for (unsigned chosen = 0; chosen < (1U << group.size()); ++chosen) {
        std::vector<double> subset;
        for (std::size_t i = 0; i < group.size(); ++i)
          if ((chosen >> i & 1U) != 0) subset.push_back(group[i]);
        if (subset.size() == n)
          visit(*std::max_element(subset.begin(), subset.end()), *std::min_element(subset.begin(), subset.end()));
      }
    };
    double best = 0, worst = 0, pairs = 0;
    const auto score = [](double x, double y) { return x > y ? 1 : x == y ? 0.5 : 0; };
    over_subsets(a, [&](double a_best, double a_worst) {
      over_subsets(b, [&](double b_best, double b_worst) {
        best += score(a_best, b_best);
        worst += score(a_worst, b_worst);
        ++pairs;
      });
    });
    CAPTURE(n);
    CHECK(eval::best_of_n_win_rate(a, b, static_cast<double>(n)) == Approx(best / pairs));
    CHECK(eval::worst_of_n_win_rate(a, b, static_cast<double>(n)) == Approx(worst / pairs));
  }
  CHECK(eval::best_of_n_win_rate(a, b, 1) == Approx(eval::win_rate(a, b)));
}

TEST_CASE("a policy decoded like itself wins half, for any N", "[eval][win_rate][property]") {
  const auto n = GENERATE(1.0, 2.5, 4.0, 9.0);
  const std::vector<double> a = {3, 1, 4, 1, 5, -inf, 9, inf};
  CHECK(eval::best_of_n_win_rate(a, a, n) == Approx(0.5));
  CHECK(eval::worst_of_n_win_rate(a, a, n) == Approx(0.5));
}

TEST_CASE("win rates refuse empty groups and NaN", "[eval][error]") {
  const std::vector<double> one = {1}, bad = {nan};
  CHECK(error_code([&] { eval::win_rate({}, one); }) == "empty_group");
  CHECK(error_code([&] { eval::win_rate(one, {}); }) == "empty_group");
  CHECK(error_code([&] { eval::win_rate(one, bad); }) == "nan_reward");
  CHECK(error_code([&] { eval::paired_win_rate({}, one); }) == "empty_group");
  CHECK(error_code([&] { eval::best_of_n_win_rate({}, one, 2); }) == "empty_group");
  CHECK(error_code([&] { eval::worst_of_n_win_rate(one, bad, 2); }) == "nan_reward");
  CHECK(error_code([&] { eval::best_of_n_win_rate(one, one, 0); }) == "invalid_n");
  CHECK(error_code([&] { eval::paired_win_rate(bad, one); }) == "nan_reward");
}
}  // namespace vbon::test
