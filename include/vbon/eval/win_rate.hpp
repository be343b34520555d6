// vbon/eval/win_rate.hpp
//
// How often one policy's response beats another's on the same prompt. A tie counts one half.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/bon/subset_weights.hpp"

namespace vbon::eval {
namespace detail {
inline void require_group(std::span<const double> rewards, std::string_view where) {
  require<DomainError>(!rewards.empty(), ErrorCode{"empty_group"}, where, ": at least one reward expected, got none");
  bon::require_rewards(rewards, where);
}
}  // namespace detail

/// Win rate over all pairs of one prompt: mean of [a_i > b_j] + [a_i = b_j] / 2, by sorting.
/// T is the type rewards are compared in: float where either side was ever stored as float32.
/// @param a, b  rewards of the two policies, any order and size
/// @throws DomainError empty_group, nan_reward
template <std::floating_point T = double>
double win_rate(std::span<const double> a, std::span<const double> b) {
  detail::require_group(a, "eval::win_rate");
  detail::require_group(b, "eval::win_rate");
  std::vector<T> sorted;
  for (const double reward : b) sorted.push_back(static_cast<T>(reward));
  std::sort(sorted.begin(), sorted.end());
  Index halves = 0;  // exact: a win counts 2, a tie 1
  for (const double reward : a) {
    const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), static_cast<T>(reward));
    halves += (low - sorted.begin()) + (high - sorted.begin());
  }
  return 0.5 * static_cast<double>(halves) / (static_cast<double>(a.size()) * static_cast<double>(b.size()));
}

/// Win rate of each prompt, to be averaged (every prompt counts the same) or bootstrapped.
/// @throws ShapeError when the two sides have different numbers of prompts; DomainError as win_rate
template <std::floating_point T = double>
std::vector<double> win_rate_per_prompt(std::span<const std::vector<double>> a, std::span<const std::vector<double>> b) {
  require<ShapeError>(a.size() == b.size(), "eval::win_rate_per_prompt: equal numbers of prompts expected, got ", a.size(),
                      " and ", b.size());
  std::vector<double> rates;
  for (std::size_t p = 0; p < a.size(); ++p) rates.push_back(win_rate<T>(a[p], b[p]));
  return rates;
}

/// How often the best of N samples of one policy beats the best of N of another: both are decoded the same way, which is
/// what InfAlign trains for. Without bias for a whole N up to the size of both groups; for another, N draws with
/// replacement are counted. A tie counts one half.
/// @param a, b  rewards of the two policies on one prompt, any order and size
/// @throws DomainError empty_group, nan_reward, invalid_n. Source: arXiv 2412.19792; spec methods 3.8.
template <class = void>
double best_of_n_win_rate(std::span<const double> a, std::span<const double> b, double n) {
  detail::require_group(a, "eval::best_of_n_win_rate");
  detail::require_group(b, "eval::best_of_n_win_rate");
  const bool subsets = n == std::floor(n) && n <= static_cast<double>(std::min(a.size(), b.size()));
  const auto weights = [&](std::span<const double> rewards) {
    return subsets ? bon::subset_max_weights(rewards, static_cast<Index>(n)) : bon::resampled_max_weights(rewards, n);
  };
  const std::vector<double> of_a = weights(a), of_b = weights(b);
  double win = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b.size(); ++j)
      if (a[i] >= b[j]) win += of_a[i] * of_b[j] * (a[i] > b[j] ? 1 : 0.5);
  return win;
}
/// The same of the worst of N, which a decoder that attacks the policy takes: how often that of a beats that of b.
/// @throws as best_of_n_win_rate
template <class = void>
double worst_of_n_win_rate(std::span<const double> a, std::span<const double> b, double n) {
  const auto reversed = [](std::span<const double> rewards) {
    std::vector<double> out(rewards.begin(), rewards.end());
    for (double& reward : out) reward = -reward;
    return out;
  };
  return 1 - best_of_n_win_rate(reversed(a), reversed(b), n);
}

/// Item i against item i, over the first min(sizes) items; a tie counts `tie_value`.
inline double paired_win_rate(std::span<const double> a, std::span<const double> b, double tie_value = 0.5) {
  detail::require_group(a, "eval::paired_win_rate");
  detail::require_group(b, "eval::paired_win_rate");
  const std::size_t pairs = std::min(a.size(), b.size());
  double sum = 0;
  for (std::size_t i = 0; i < pairs; ++i) sum += a[i] > b[i] ? 1 : a[i] == b[i] ? tie_value : 0;
  return sum / static_cast<double>(pairs);
}
/// The published rule: a tie counts as a loss. For comparison with published numbers only.
inline double paired_strict_win_rate(std::span<const double> a, std::span<const double> b) {
  return paired_win_rate(a, b, 0);
}
}  // namespace vbon::eval
