// vbon/decode/soft_bon_law.hpp
//
// The exact law of soft best-of-N on a finite problem: over all multisets c of N outcomes,
// sum_c Mult(c; p) c_y e^(r_y/lambda) / sum_j c_j e^(r_j/lambda). Source: Verdun et al., arXiv 2505.03156.
#pragma once
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
inline bon::Law soft_best_of_n_law(std::span<const double> probability, std::span<const double> reward, Index n,
                                   double lambda) {
  require_count(static_cast<double>(n), "n", "soft_bon");
  require<DomainError>(lambda >= 0, "soft_bon: lambda >= 0 expected, got ", lambda);
  require_finite_scores(reward, "soft_bon");
  require<ShapeError>(probability.size() == reward.size(), "soft_bon: as many rewards as probabilities expected, got ",
                      reward.size(), " and ", probability.size());
  detail::MultisetSum sum{probability, reward, lambda, std::vector<Index>(reward.size()), bon::Law(reward.size(), 0)};
  sum.visit(0, n, log_gamma(static_cast<double>(n) + 1));
  return sum.law;
}
/// Where that law goes as n grows: pi_ref e^(r/lambda)/Z, at lambda = 0 the reference on the best level.
inline bon::Law soft_limit_law(std::span<const double> probability, std::span<const double> reward, double lambda) {
  if (lambda > 0) return bon::tilted_law(probability, reward, lambda);
  const bon::Levels at = bon::levels(probability, reward);
  bon::Law law(probability.size(), 0);
  for (std::size_t k = 0; k < law.size(); ++k)
    if (at.top[k] && probability[k] > 0) law[k] = probability[k] / at.tie[k];
  return law;
}
}  // namespace vbon::decode
