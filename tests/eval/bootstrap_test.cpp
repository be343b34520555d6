#include "vbon/eval/bootstrap.hpp"

#include "support/random_law.hpp"

namespace vbon::test {
std::vector<double> prompt_values(Index count, std::uint64_t seed) {
  std::vector<double> values;
  for (Index p = 0; p < count; ++p) values.push_back(0.6 + 0.2 * RngKey{seed, 9}.normal(static_cast<std::uint64_t>(p)));
  return values;
}

TEST_CASE("the interval is the same on any number of threads and for the same key only", "[eval][bootstrap]") {
  const auto values = prompt_values(50, 1);
  set_threads(1);
  const auto one = eval::bootstrap_mean(values, {.key = {3, 0}});
  set_threads(3);
  const auto three = eval::bootstrap_mean(values, {.key = {3, 0}});
  CHECK(one.lower == three.lower);
  CHECK(one.upper == three.upper);
  CHECK(one.standard_error == three.standard_error);
  CHECK(eval::bootstrap_mean(values, {.key = {4, 0}}).lower != one.lower);
}

TEST_CASE("the interval of a mean is close to the normal one", "[eval][bootstrap]") {
  const auto values = prompt_values(200, 2);
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / 200;
  for (const double v : values) squares += (v - mean) * (v - mean) / 200;
  const auto interval = eval::bootstrap_mean(values);
  const double error = std::sqrt(squares / 200);
  CHECK(interval.estimate == Approx(mean).epsilon(1e-14));
  CHECK(interval.standard_error == Approx(error).epsilon(0.06));
  CHECK(interval.lower == Approx(mean - 1.96 * error).margin(0.15 * error));
  CHECK(interval.upper == Approx(mean + 1.96 * error).margin(0.15 * error));
}

TEST_CASE("a 95% interval covers the truth about 95% of the time", "[eval][bootstrap][property]") {
  int covered = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const auto interval = eval::bootstrap_mean(prompt_values(60, 1000 + seed), {.replicates = 400, .key = {seed, 1}});
    covered += interval.lower <= 0.6 && 0.6 <= interval.upper;
  }
  CHECK(covered >= 270);
  CHECK(covered <= 297);
}

TEST_CASE("a paired difference is much narrower than two intervals of shared prompts", "[eval][bootstrap]") {
  const auto a = prompt_values(100, 3);
  std::vector<double> b = a;
  for (std::size_t p = 0; p < b.size(); ++p) b[p] += 0.05 + 0.01 * RngKey{5, 2}.normal(p);
  const auto difference = eval::bootstrap_difference(b, a);
  CHECK(difference.lower > 0.04);
  CHECK(difference.upper < 0.06);
  CHECK(difference.standard_error < 0.1 * eval::bootstrap_mean(a).standard_error);
}

TEST_CASE("any statistic of the prompts can be bootstrapped", "[eval][bootstrap]") {
  const auto values = prompt_values(31, 4);
  const auto median = [&](std::span<const Index> prompts) {
    std::vector<double> drawn;
    for (const Index p : prompts) drawn.push_back(values[static_cast<std::size_t>(p)]);
    std::sort(drawn.begin(), drawn.end());
    return quantile(drawn, 0.5);
  };
  const auto interval = eval::bootstrap(31, median);
  CHECK(interval.lower <= interval.estimate);
  CHECK(interval.estimate <= interval.upper);
  CHECK(quantile(std::vector<double>{1, 2, 4}, 0.75) == 3);
  CHECK(eval::bootstrap_mean(std::vector<double>{0.7}).upper == 0.7);
}

TEST_CASE("the bootstrap refuses nothing to draw from and impossible settings", "[eval][error]") {
  const std::vector<double> two = {0.1, 0.2}, one = {0.1}, bad = {0.1, std::numeric_limits<double>::quiet_NaN()};
  CHECK(error_code([&] { eval::bootstrap_mean({}); }) == "empty_group");
  CHECK(error_code([&] { eval::bootstrap_mean(two, {.replicates = 1}); }) == "config");
  CHECK(error_code([&] { eval::bootstrap_mean(two, {.level = 1}); }) == "invalid_probability");
  CHECK(error_code([&] { eval::bootstrap_mean(bad); }) == "nan_metric");
  CHECK(error_code([&] { eval::bootstrap_difference(two, one); }) == "shape");
}
}  // namespace vbon::test
