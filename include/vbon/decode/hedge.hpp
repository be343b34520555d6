// vbon/decode/hedge.hpp
//
// How far to trust a proxy reward: the mean TRUE reward of best-of-N chosen by the proxy, as a function of
// N, from calibration pairs; and the N (or the mu of best-of-Poisson, the lambda of soft best-of-N, the beta of
// pessimism) where it is largest. Source: Khalaf et al., "Inference-time reward hacking", arXiv 2506.19248.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/bon/subset_weights.hpp"
#include "vbon/decode/rejection_law.hpp"
#include "vbon/decode/soft_bon_law.hpp"

namespace vbon::decode {
/// Calibration pairs of one prompt, grouped by ties of the proxy.
class HedgeCurve {
 public:
  /// @throws DomainError for no pairs, NaN proxies, true rewards that are not finite; ShapeError when sizes differ
  template <class = void>
  HedgeCurve(std::span<const double> proxy, std::span<const double> truth)
      : proxy_(proxy.begin(), proxy.end()), truth_(truth.begin(), truth.end()) {
    require<ShapeError>(proxy.size() == truth.size(), "hedge: as many true rewards as proxies expected, got ", truth.size(),
                        " and ", proxy.size());
    bon::require_rewards(proxy, "hedge");
    for (const double r : truth) require<DomainError>(std::isfinite(r), "hedge: finite true rewards expected, got ", r);
    even_.assign(proxy.size(), 1 / static_cast<double>(proxy.size()));
  }

  std::span<const double> proxy() const { return proxy_; }
  std::span<const double> truth() const { return truth_; }

  /// Best of n draws with replacement from the pairs; n real.
  template <class = void>
  double best_of_n(double n) const {
    return bon::mean_under(bon::best_of_n_law(even_, proxy_, n), truth_);
  }
  /// Unbiased, without replacement; n <= number of pairs.
  /// @throws DomainError `cache_too_small`
  template <class = void>
  double best_of_n_unbiased(Index n) const {
    return bon::mean_under(bon::subset_max_weights(proxy_, n), truth_);
  }
  /// Best of 1 + Poisson(mu).
  template <class = void>
  double best_of_poisson(double mu) const {
    return bon::mean_under(bon::best_of_poisson_law(even_, proxy_, mu), truth_);
  }
  /// One of n draws with replacement, by softmax(proxy/lambda): best_of_n(n) at 0, the plain mean at +inf.
  /// @throws DomainError for n < 1, lambda < 0
  template <class = void>
  double soft_best_of_n(Index n, double lambda) const {
    return bon::mean_under(soft_best_of_n_integral(even_, proxy_, n, lambda), truth_);
  }
  /// The law that InferenceTimePessimism has in the limit of many draws, weights relu((proxy - lambda)/beta) that average
  /// 1: the plain mean for a large beta, the best level of the proxy for a small one.
  /// @throws DomainError for beta <= 0, proxies that are not finite
  template <class = void>
  double pessimism(double beta) const {
    const double lambda = pessimism_normalizer(even_, proxy_, beta);
    bon::Law law;
    for (const double r : proxy_) law.push_back(pessimism_weight(r, lambda, beta));
    const double total = std::accumulate(law.begin(), law.end(), 0.0);
    for (double& p : law) p /= total;
    return bon::mean_under(law, truth_);
  }

 private:
  std::vector<double> proxy_, truth_, even_;
};

/// Where a curve over a grid is largest, the grid in order of trust: the first setting on ties, so the one that follows the
/// proxy least. Values within 1e-12 of the largest are ties, where the curve's largest size is 1: sums of the same numbers
/// in another order differ by that. At the last setting the maximum may lie beyond: `at_end` says so, and the choice should
/// be refused.
struct HedgeChoice {
  std::size_t index = 0;
  double value = 0;
  bool at_end = false;
  bool last_ties = false;  // the last setting does as well
};
/// @throws DomainError for an empty curve
template <class = void>
HedgeChoice hedge_choice(std::span<const double> curve) {
  require<DomainError>(!curve.empty(), "hedge: a grid of at least one setting expected");
  double size = 0;
  for (const double value : curve) size = std::max(size, std::abs(value));
  const double enough = *std::max_element(curve.begin(), curve.end()) - 1e-12 * size;
  const auto best = std::find_if(curve.begin(), curve.end(), [&](double value) { return value >= enough; });
  const auto index = static_cast<std::size_t>(best - curve.begin());
  return {index, *best, index + 1 == curve.size() && curve.size() > 1, curve.back() >= enough};
}
}  // namespace vbon::decode
