// A goodness-of-fit test with a fixed level, p > 1e-6, for samplers with a fixed seed.
#pragma once
#include <cmath>
#include <vector>

namespace vbon::test {
/// True when counts are consistent with the law. Cells with an expected count below 5 are merged; a cell
/// of probability 0 must be empty.
inline bool follows(const std::vector<double>& count, const std::vector<double>& law) {
  double total = 0, statistic = 0, cells = 0, rest_seen = 0, rest_expected = 0;
  for (const double c : count) total += c;
  const auto add = [&](double seen, double expected) {
    statistic += (seen - expected) * (seen - expected) / expected;
    ++cells;
  };
  for (std::size_t k = 0; k < law.size(); ++k) {
    const double expected = law[k] * total;
    if (law[k] == 0 && count[k] > 0) return false;
    if (expected >= 5) {
      add(count[k], expected);
    } else {
      rest_seen += count[k];
      rest_expected += expected;
    }
  }
  if (rest_expected >= 5) add(rest_seen, rest_expected);
  const double freedom = cells - 1;
  if (freedom < 1) return true;
  // The 1 - 1e-6 quantile by Wilson and Hilferty's cube-root approximation.
  const double v = 2 / (9 * freedom);
  return statistic < freedom * std::pow(1 - v + 4.7534 * std::sqrt(v), 3);
}
}  // namespace vbon::test
