// vbon/decode/soft_bon_law.hpp
//
// The exact law of soft best-of-N on a finite problem: over all multisets c of N outcomes,
// sum_c Mult(c; p) c_y e^(r_y/lambda) / sum_j c_j e^(r_j/lambda); or, for many outcomes, the same as an integral.
// Source: Verdun et al., arXiv 2505.03156.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/core/special.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
namespace detail {
struct MultisetSum {
  std::span<const double> probability, reward;
  double temperature;
  std::vector<Index> count;
  bon::Law law;

  /// Distributes `left` draws over the outcomes from k on; log_weight is the multinomial weight so far.
  void visit(std::size_t k, Index left, double log_weight) {
    if (k + 1 == count.size()) {
      count[k] = left;
      if (left > 0 && probability[k] == 0) return;
      add(log_weight + term(k, left));
      return;
    }
    for (Index c = 0; c <= (probability[k] > 0 ? left : 0); ++c) {
      count[k] = c;
      visit(k + 1, left - c, log_weight + term(k, c));
    }
  }

 private:
  double term(std::size_t k, Index c) const {
    const auto n = static_cast<double>(c);
    return c == 0 ? 0 : n * std::log(probability[k]) - log_gamma(n + 1);
  }
  void add(double log_weight) {
    double best = -std::numeric_limits<double>::infinity(), total = 0;
    for (std::size_t k = 0; k < count.size(); ++k)
      if (count[k] > 0) best = std::max(best, reward[k]);
    const auto weight = [&](std::size_t k) {
      if (count[k] == 0) return 0.0;
      const double tilt = temperature == 0 ? (reward[k] == best ? 1 : 0) : std::exp((reward[k] - best) / temperature);
      return static_cast<double>(count[k]) * tilt;
    };
    for (std::size_t k = 0; k < count.size(); ++k) total += weight(k);
    for (std::size_t k = 0; k < count.size(); ++k) law[k] += std::exp(log_weight) * weight(k) / total;
  }
};
}  // namespace detail

/// @param n       draws; the cost grows as the number of multisets, C(n + K - 1, K - 1)
/// @param lambda  temperature [>= 0]; 0: best-of-n
/// @throws DomainError for n < 1, lambda < 0, rewards that are not finite
template <class = void>
bon::Law soft_best_of_n_law(std::span<const double> probability, std::span<const double> reward, Index n, double lambda) {
  require_count(static_cast<double>(n), "n", "soft_bon");
  require<DomainError>(lambda >= 0, "soft_bon: lambda >= 0 expected, got ", lambda);
  require_finite_scores(reward, "soft_bon");
  require<ShapeError>(probability.size() == reward.size(), "soft_bon: as many rewards as probabilities expected, got ",
                      reward.size(), " and ", probability.size());
  detail::MultisetSum sum{probability, reward, lambda, std::vector<Index>(reward.size()), bon::Law(reward.size(), 0)};
  sum.visit(0, n, log_gamma(static_cast<double>(n) + 1));
  return sum.law;
}
/// The same law for any number of outcomes: no multisets, about 350 exponentials an outcome.
///
/// 1/S is the integral of e^(-sS) over s > 0, so with w = e^(r/lambda)
///
///   law_i = n p_i int w_i e^(-s w_i) (sum_j p_j e^(-s w_j))^(n-1) ds.
///
/// With s = e^x and z_i = x + r_i/lambda the integrand is e^(z_i - e^(z_i)) times a factor of size at most 1, analytic for
/// |Im x| < pi/2: a sum in steps of 1/4 errs by e^(-39), as do its ends. The steps are the same for all outcomes, which
/// therefore share the factor, and only outcomes whose z_i is in reach have to be looked at.
///
/// Rewards may be infinite: -inf has no weight beside any other, +inf takes all of it, equal ones share.
/// @param lambda  temperature [>= 0]; 0: best-of-n, +inf: the reference (of rewards that are finite)
/// @throws DomainError for n < 1, lambda < 0, NaN rewards; ShapeError when sizes differ
template <class = void>
bon::Law soft_best_of_n_integral(std::span<const double> probability, std::span<const double> reward, Index n,
                                 double lambda) {
  require_count(static_cast<double>(n), "n", "soft_bon");
  require<DomainError>(lambda >= 0, "soft_bon: lambda >= 0 expected, got ", lambda);
  require_scores(reward, "soft_bon");
  require<ShapeError>(probability.size() == reward.size(), "soft_bon: as many rewards as probabilities expected, got ",
                      reward.size(), " and ", probability.size());
  if (n == 1) return {probability.begin(), probability.end()};
  std::vector<std::size_t> order(reward.size()), level(reward.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return reward[a] > reward[b]; });
  // Levels of equal rewards, best first. Beyond a factor e^64 the worse level no longer counts: a wider gap changes nothing,
  // and so neither a tiny lambda nor an infinite reward leads out of range.
  const double far = 64;
  std::vector<double> log_weight, mass;
  for (std::size_t k = 0; k < order.size(); ++k) {
    const double r = reward[order[k]], above = k == 0 ? r : reward[order[k - 1]];
    if (k == 0 || r != above) {
      const double gap = above - r;
      log_weight.push_back(k == 0 ? 0 : log_weight.back() - (std::isinf(gap) ? far : std::min(far, gap / lambda)));
      mass.push_back(0);
    }
    level[order[k]] = mass.size() - 1;
    mass.back() += probability[order[k]];
  }
  const double step = 0.25, most = 5, least = -37 - std::log(static_cast<double>(n));  // of z
  std::vector<double> sum(mass.size(), 0), density(mass.size());
  std::size_t first = 0, end = 0;  // levels in reach
  double hit = 0;                  // sum_j p_j (1 - e^(-s w_j)) of the levels that are out of it at the top
  for (double x = std::ceil(least / step) * step; x <= most - log_weight.back(); x += step) {
    while (end < mass.size() && x + log_weight[end] >= least) ++end;
    while (first < end && x + log_weight[first] > most) hit += mass[first++];
    double all = hit;
    for (std::size_t g = first; g < end; ++g) {
      const double z = x + log_weight[g], rate = std::exp(z);
      density[g] = std::exp(z - rate);
      all -= mass[g] * std::expm1(-rate);
    }
    const double others = std::exp(static_cast<double>(n - 1) * std::log1p(-std::min(1.0, all)));
    for (std::size_t g = first; g < end; ++g) sum[g] += density[g] * others;
  }
  bon::Law law(reward.size());
  for (std::size_t k = 0; k < law.size(); ++k) law[k] = probability[k] * sum[level[k]];
  const double total = std::accumulate(law.begin(), law.end(), 0.0);
  for (double& p : law) p /= total;
  return law;
}
/// Where that law goes as n grows: pi_ref e^(r/lambda)/Z, at lambda = 0 the reference on the best level.
template <class = void>
bon::Law soft_limit_law(std::span<const double> probability, std::span<const double> reward, double lambda) {
  if (lambda > 0) return bon::tilted_law(probability, reward, lambda);
  const bon::Levels at = bon::levels(probability, reward);
  bon::Law law(probability.size(), 0);
  for (std::size_t k = 0; k < law.size(); ++k)
    if (at.top[k] && probability[k] > 0) law[k] = probability[k] / at.tie[k];
  return law;
}
}  // namespace vbon::decode
