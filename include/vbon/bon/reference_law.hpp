// vbon/bon/reference_law.hpp
//
// A reference policy that can be enumerated: K outcomes with their log-probs and rewards. Here F and tau
// are exact, ties and all, so this is what every estimate and every sampled gradient is measured against.
#pragma once
#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/bon/log_prob.hpp"

namespace vbon::bon {
/// Exact reward ranks of K outcomes; every array [K], in the caller's order, in nats.
struct ReferenceLaw {
  std::vector<double> log_ref;     // log pi_ref(y), normalised
  std::vector<double> log_cdf;     // log F(y), strict; -inf at the lowest level
  std::vector<double> log_tie;     // log tau(y), the mass of the level of y
  std::vector<double> log_cdf_le;  // log(F + tau); exactly 0 at the highest level
  Index size() const { return static_cast<Index>(log_ref.size()); }
};

/// @param log_ref  [K] log-probs that sum to 1 within 1e-9; -inf is legal
/// @param rewards  [K]
/// @throws ShapeError; DomainError empty_cache (K = 0), nan_reward, invalid_log_prob, inconsistent_mass
template <class = void>
ReferenceLaw reference_law(std::span<const double> log_ref, std::span<const double> rewards) {
  require<ShapeError>(log_ref.size() == rewards.size(), "bon::reference_law: one reward per outcome expected, got ",
                      rewards.size(), " for ", log_ref.size());
  require_rewards(rewards, "bon::reference_law");
  for (const double value : log_ref) require_log_prob(value, "log_ref", "bon::reference_law");
  const double total = log_sum_exp(log_ref);
  require<DomainError>(std::abs(total) <= rounding_slack, ErrorCode{"inconsistent_mass"},
                       "bon::reference_law: probabilities that sum to 1 expected, got e^", total);
  std::vector<std::size_t> order(rewards.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rewards[a] < rewards[b]; });

  struct Level {
    std::size_t first, last;  // of `order`
    double log_mass, log_below, log_above;
  };
  std::vector<Level> levels;
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  for (std::size_t first = 0; first < order.size(); first = levels.back().last) {
    Level level{first, first, nothing, nothing, nothing};
    for (; level.last < order.size() && rewards[order[level.last]] == rewards[order[first]]; ++level.last)
      level.log_mass = log_add(level.log_mass, log_ref[order[level.last]] - total);
    if (!levels.empty()) level.log_below = log_add(levels.back().log_below, levels.back().log_mass);
    levels.push_back(level);
  }
  for (std::size_t l = levels.size() - 1; l-- > 0;) levels[l].log_above = log_add(levels[l + 1].log_above, levels[l + 1].log_mass);

  ReferenceLaw law{std::vector<double>(log_ref.begin(), log_ref.end()), {}, {}, {}};
  for (double& value : law.log_ref) value -= total;
  for (auto* field : {&law.log_cdf, &law.log_tie, &law.log_cdf_le}) field->resize(order.size());
  // A CDF near 1 is one minus what lies above: that side has the digits.
  const auto cdf = [](double log_at_most, double log_rest) {
    return log_at_most < -std::numbers::ln2 ? log_at_most : log1mexp(std::min(log_rest, 0.0));
  };
  for (const Level& level : levels)
    for (std::size_t i = level.first; i < level.last; ++i) {
      const std::size_t y = order[i];
      law.log_tie[y] = std::min(level.log_mass, 0.0);
      law.log_cdf[y] = cdf(level.log_below, log_add(level.log_mass, level.log_above));
      law.log_cdf_le[y] = cdf(log_add(level.log_below, level.log_mass), level.log_above);
    }
  return law;
}
/// The same from weights >= 0 of any sum (counts, probabilities).
/// @throws DomainError also invalid_probability (a weight that is negative or NaN, or all 0)
template <class = void>
ReferenceLaw reference_law_from_weights(std::span<const double> weights, std::span<const double> rewards) {
  double total = 0;
  for (const double w : weights) {
    require<DomainError>(w >= 0 && std::isfinite(w), ErrorCode{"invalid_probability"},
                         "bon::reference_law_from_weights: weights >= 0 expected, got ", w);
    total += w;
  }
  require<DomainError>(total > 0 || weights.empty(), ErrorCode{"invalid_probability"},
                       "bon::reference_law_from_weights: a positive weight expected");
  std::vector<double> log_ref;
  for (const double w : weights) log_ref.push_back(std::log(w / total));
  return reference_law(log_ref, rewards);
}

/// log pi_bon of every outcome [K].
/// @throws DomainError invalid_n
template <class = void>
std::vector<double> best_of_n(const ReferenceLaw& law, double n) {
  std::vector<double> log_bon(law.log_ref.size());
  for (std::size_t y = 0; y < log_bon.size(); ++y)
    log_bon[y] = log_prob(law.log_ref[y], law.log_cdf[y], law.log_tie[y], law.log_cdf_le[y], n);
  return log_bon;
}

/// KL(p || q) of two laws over the same outcomes [nats]; +inf where p reaches outside q.
/// @throws ShapeError
inline double categorical_kl(std::span<const double> log_p, std::span<const double> log_q) {
  require<ShapeError>(log_p.size() == log_q.size(), "bon::categorical_kl: laws of equal size expected, got ", log_p.size(), " and ",
                      log_q.size());
  double sum = 0;
  for (std::size_t y = 0; y < log_p.size(); ++y)
    if (const double p = std::exp(log_p[y]); p > 0) sum += p * (log_p[y] - log_q[y]);
  return sum;
}

/// KL(bon || ref) with ties [nats]: at most min(log N - (N-1)/N, -log tau of the highest level).
template <class = void>
double kl_to_reference(const ReferenceLaw& law, double n) {
  return categorical_kl(best_of_n(law, n), law.log_ref);
}

/// Win rate of a policy against the reference, a tie counting one half: sum_y p(y) (F + tau/2).
/// @throws ShapeError
inline double win_rate(std::span<const double> log_p, const ReferenceLaw& law) {
  require<ShapeError>(log_p.size() == law.log_ref.size(), "bon::win_rate: ", law.log_ref.size(), " outcomes expected, got ", log_p.size());
  double sum = 0;
  for (std::size_t y = 0; y < log_p.size(); ++y)
    sum += std::exp(log_p[y]) * (std::exp(law.log_cdf[y]) + 0.5 * std::exp(law.log_tie[y]));
  return sum;
}
}  // namespace vbon::bon
