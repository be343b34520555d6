// Random finite problems for property tests: outcomes with probabilities and rewards, tied or not.
#pragma once
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "support/catch.hpp"
#include "vbon/bon/reference_law.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"

namespace vbon::test {
struct RandomLaw {
  std::vector<double> weight;  // sums to 1
  std::vector<double> reward;
  bon::ReferenceLaw law;
};

/// `levels` reward levels over `outcomes` outcomes, every level used; levels = outcomes means no ties.
inline RandomLaw random_law(Index outcomes, Index levels, std::uint64_t seed) {
  const RngKey key{seed, 77};
  RandomLaw result;
  double total = 0;
  for (Index y = 0; y < outcomes; ++y) {
    const auto i = static_cast<std::uint64_t>(y);
    result.weight.push_back(-std::log1p(-key.fold(1).uniform(i)) + 1e-6);
    result.reward.push_back(static_cast<double>(y < levels ? y : key.fold(2).below(i, levels)));
    total += result.weight.back();
  }
  for (double& w : result.weight) w /= total;
  for (Index y = outcomes - 1; y > 0; --y)  // rewards in random order
    std::swap(result.reward[static_cast<std::size_t>(y)],
              result.reward[static_cast<std::size_t>(key.fold(3).below(static_cast<std::uint64_t>(y), y + 1))]);
  result.law = bon::reference_law_from_weights(result.weight, result.reward);
  return result;
}

/// Log-probs of a random policy over as many outcomes, unrelated to the reward.
inline std::vector<double> random_log_policy(Index outcomes, std::uint64_t seed, double spread = 1) {
  std::vector<double> logits;
  for (Index y = 0; y < outcomes; ++y) logits.push_back(spread * RngKey{seed, 78}.normal(static_cast<std::uint64_t>(y)));
  const double total = log_sum_exp(logits);
  for (double& value : logits) value -= total;
  return logits;
}

/// The code() of the vbon::Error that f throws; "nothing" if it throws none.
template <class F>
std::string error_code(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return std::string(error.code());
  }
  return "nothing";
}
}  // namespace vbon::test
