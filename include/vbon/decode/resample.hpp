// vbon/decode/resample.hpp
//
// The weights of sequential Monte Carlo: a step with its effective sample size, and four ways to draw
// ancestors. All have n W_i expected copies of particle i; systematic has the least variance.
// Source: Loula et al., arXiv 2504.13139; Douc and Cappe 2005 for the schemes.
#pragma once
#include <array>
#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "vbon/core/log_space.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
enum class Resampling { systematic, stratified, multinomial, residual };
constexpr std::array<std::string_view, 4> option_names(Resampling) {
  return {"systematic", "stratified", "multinomial", "residual"};
}

/// Ancestors of n particles from normalised weights and up to n uniforms in [0, 1).
/// @throws DomainError for no particles or negative weights; ShapeError when uniforms are missing; RunError when all weights
/// are 0
template <class = void>
std::vector<Index> resample(Resampling scheme, std::span<const double> weight, std::span<const double> uniform) {
  require_finite_scores(weight, "resample");
  double total = 0;
  for (const double w : weight) {
    require<DomainError>(w >= 0, "resample: weights >= 0 expected, got ", w);
    total += w;
  }
  require<RunError>(total > 0, ErrorCode{"all_zero_weights"}, "resample: all weights are 0");
  const std::size_t n = weight.size();
  const auto count = static_cast<double>(n);
  require<ShapeError>(uniform.size() >= (scheme == Resampling::systematic ? 1
                                         : scheme == Resampling::residual ? 0
                                                                          : n),
                      "resample: ", n, " uniforms expected, got ", uniform.size());
  std::vector<double> share(weight.begin(), weight.end());
  for (double& w : share) w /= total;
  std::vector<Index> ancestor;
  if (scheme == Resampling::residual) {
    double left = 0;
    for (std::size_t i = 0; i < n; ++i) {
      // A weight that is a whole number of shares but for rounding counts as that number.
      const double copies = count * share[i], whole = std::floor(copies + 1e-12);
      ancestor.insert(ancestor.end(), static_cast<std::size_t>(whole), static_cast<Index>(i));
      share[i] = std::max(0.0, copies - whole);
      left += share[i];
    }
    ancestor.resize(std::min(ancestor.size(), n));
    const std::size_t rest = n - ancestor.size();
    require<ShapeError>(uniform.size() >= rest, "resample: ", rest, " uniforms expected, got ", uniform.size());
    for (double& w : share) w /= left > 0 ? left : 1;
    for (std::size_t i = 0; i < rest; ++i) ancestor.push_back(pick(share, uniform[i]));
    return ancestor;
  }
  for (std::size_t i = 0; i < n; ++i) {
    double u = uniform[scheme == Resampling::systematic ? 0 : i];
    if (scheme != Resampling::multinomial) u = (static_cast<double>(i) + u) / count;
    ancestor.push_back(pick(share, u));
  }
  return ancestor;
}

/// Log-weights after a step.
struct WeightStep {
  std::vector<double> log_weight;  // before resampling
  std::vector<double> normalized;  // sums to 1
  double ess = 0;                  // 1 / sum of squares, in [1, n]
  double log_mean_weight = 0;      // log of the estimate of Z so far
  bool resample = false;           // ess < threshold n
  std::vector<double> log_weight_after;
};
/// @param threshold  in [0, 1]: 0 never resamples, 1 whenever weights differ
/// @throws DomainError for NaN or +inf weights, a threshold outside [0, 1]; RunError when all weights are 0
template <class = void>
WeightStep weight_step(std::span<const double> log_weight, std::span<const double> increment, double threshold) {
  require<DomainError>(threshold >= 0 && threshold <= 1, "smc: ess threshold in [0, 1] expected, got ", threshold);
  require<ShapeError>(log_weight.size() == increment.size(), "smc: ", log_weight.size(), " increments expected, got ",
                      increment.size());
  require_scores(log_weight, "smc");
  require_scores(increment, "smc");
  const std::size_t n = log_weight.size();
  WeightStep step;
  for (std::size_t i = 0; i < n; ++i) {
    step.log_weight.push_back(log_weight[i] + increment[i]);
    require<DomainError>(step.log_weight[i] < std::numeric_limits<double>::infinity(), "smc: finite weights expected, got ",
                         step.log_weight[i]);
  }
  const double log_total = log_sum_exp(step.log_weight);
  require<RunError>(
      log_total > -std::numeric_limits<double>::infinity(), ErrorCode{"all_zero_weights"},
      "smc: all weights are 0: every particle has a reward of -inf, or reached the length limit where it could not ",
      "end (as at temperature 0); give more particles, a finite reward, or force_end=false");
  double squares = 0;
  for (const double w : step.log_weight) {
    step.normalized.push_back(std::exp(w - log_total));
    squares += step.normalized.back() * step.normalized.back();
  }
  step.ess = 1 / squares;
  step.log_mean_weight = log_total - std::log(static_cast<double>(n));
  // Equal weights are n particles, whatever the last bit of the sum of squares says.
  const double least = threshold * static_cast<double>(n);
  const auto [low, high] = std::minmax_element(step.log_weight.begin(), step.log_weight.end());
  step.resample = step.ess < least && *low != *high;
  step.log_weight_after = step.resample ? std::vector<double>(n, step.log_mean_weight) : step.log_weight;
  return step;
}
}  // namespace vbon::decode
