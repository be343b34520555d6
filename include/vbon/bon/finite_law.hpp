// vbon/bon/finite_law.hpp
//
// Exact laws on a finite problem: K outcomes with reference probabilities and rewards. Any rule that looks
// only at reward order turns P(r <= v) into some G(P(r <= v)), and shares each level among its outcomes in
// proportion to the reference: p(y) = pi_ref(y)/tau (G(F + tau) - G(F)). These laws are what tests and
// plots hold the sampled methods against.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/reference_law.hpp"

namespace vbon::bon {
using Law = std::vector<double>;  // [K] probabilities

/// Where each outcome's level stands: F = P(r < r(y)), tau = P(r = r(y)), both normalised.
struct Levels {
  std::vector<double> below, tie;  // [K]
  std::vector<bool> top;           // [K] no outcome of positive probability is better
  double at_most(std::size_t k) const { return top[k] ? 1 : std::min(1.0, below[k] + tie[k]); }
};

/// @throws ShapeError when sizes differ or are 0; DomainError `nan_reward`, `invalid_probability`
template <class = void>
Levels levels(std::span<const double> probability, std::span<const double> reward) {
  require<ShapeError>(!probability.empty() && probability.size() == reward.size(),
                      "finite law: as many rewards as probabilities expected, got ", reward.size(), " and ",
                      probability.size());
  const ReferenceLaw law = reference_law_from_weights(probability, reward);
  Levels result;
  for (std::size_t k = 0; k < probability.size(); ++k) {
    result.below.push_back(std::exp(law.log_cdf[k]));
    result.tie.push_back(std::exp(law.log_tie[k]));
    result.top.push_back(law.log_cdf_le[k] == 0);
  }
  return result;
}

/// Law of an order rule given the mass it gives to a level: level_mass(F, F + tau) = G(F + tau) - G(F).
template <class LevelMass>
Law order_rule_law(std::span<const double> probability, std::span<const double> reward, const LevelMass& level_mass) {
  const Levels at = levels(probability, reward);
  const double total = std::accumulate(probability.begin(), probability.end(), 0.0);
  Law law(probability.size(), 0);
  for (std::size_t k = 0; k < law.size(); ++k)
    if (probability[k] > 0) law[k] = probability[k] / total / at.tie[k] * level_mass(at.below[k], at.at_most(k));
  return law;
}

/// Best of N draws: G = u^N.
/// @throws DomainError `invalid_n`, and as levels()
template <class = void>
Law best_of_n_law(std::span<const double> probability, std::span<const double> reward, double n) {
  require_n(n, "bon::best_of_n_law");
  return order_rule_law(probability, reward, [n](double below, double at_most) {
    // at_most^N - below^N without cancellation.
    return std::exp(n * std::log(at_most)) * -std::expm1(n * std::log(below / at_most));
  });
}
/// Worst of N draws: the same with the order reversed.
template <class = void>
Law worst_of_n_law(std::span<const double> probability, std::span<const double> reward, double n) {
  std::vector<double> reversed(reward.begin(), reward.end());
  for (double& r : reversed) r = -r;
  return best_of_n_law(probability, reversed, n);
}
/// Best of 1 + Poisson(mu) draws: G = u e^(mu (u - 1)).
/// @throws DomainError for mu < 0, and as levels()
template <class = void>
Law best_of_poisson_law(std::span<const double> probability, std::span<const double> reward, double mu) {
  require<DomainError>(mu >= 0 && std::isfinite(mu), "bon::best_of_poisson_law: mu >= 0 expected, got ", mu);
  return order_rule_law(probability, reward, [mu](double below, double at_most) {
    const double gap = at_most - below;
    return gap * std::exp(mu * (at_most - 1)) + below * std::exp(mu * (below - 1)) * std::expm1(mu * gap);
  });
}

/// pi_ref e^(score / beta) / Z: the optimum of E[score] - beta KL(pi || pi_ref).
/// @throws ShapeError, DomainError for beta <= 0 or NaN scores
template <class = void>
Law tilted_law(std::span<const double> probability, std::span<const double> score, double beta) {
  require<ShapeError>(probability.size() == score.size(), "bon::tilted_law: as many scores as probabilities expected, got ",
                      score.size(), " and ", probability.size());
  require<DomainError>(beta > 0, "bon::tilted_law: beta > 0 expected, got ", beta);
  Law law(probability.size());
  for (std::size_t k = 0; k < law.size(); ++k) {
    require_reward(score[k], "bon::tilted_law");
    law[k] = std::log(probability[k]) + score[k] / beta;
  }
  const double log_z = log_sum_exp(law);
  for (double& value : law) value = std::exp(value - log_z);
  return law;
}

/// KL(p || q) of two finite laws, nats; outcomes without mass under p count 0.
inline double kl_of_laws(std::span<const double> p, std::span<const double> q) {
  require<ShapeError>(p.size() == q.size(), "bon::kl_of_laws: laws of one size expected, got ", p.size(), " and ", q.size());
  double sum = 0;
  for (std::size_t k = 0; k < p.size(); ++k)
    if (p[k] > 0) sum += p[k] * std::log(p[k] / q[k]);
  return sum;
}
/// Mean of a value under a law.
inline double mean_under(std::span<const double> law, std::span<const double> value) {
  double sum = 0;
  for (std::size_t k = 0; k < law.size(); ++k) sum += law[k] * value[k];
  return sum;
}
/// P(r(y) > r(z)) + P(r(y) = r(z))/2 for y ~ p, z ~ q.
inline double win_rate_of_laws(std::span<const double> p, std::span<const double> q, std::span<const double> reward) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    for (std::size_t j = 0; j < q.size(); ++j)
      sum += p[i] * q[j] * (reward[i] > reward[j] ? 1 : reward[i] == reward[j] ? 0.5 : 0);
  return sum;
}
/// F + tau/2 of each outcome: its win rate against the reference.
template <class = void>
std::vector<double> mid_quantiles(std::span<const double> probability, std::span<const double> reward) {
  const Levels at = levels(probability, reward);
  std::vector<double> quantile(probability.size());
  for (std::size_t k = 0; k < quantile.size(); ++k) quantile[k] = at.below[k] + 0.5 * at.tie[k];
  return quantile;
}
}  // namespace vbon::bon
