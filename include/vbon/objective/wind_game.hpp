// vbon/objective/wind_game.hpp
//
// The win-rate game behind WIND, solved exactly on K outcomes: preferences P(i, j) in [0, 1] with
// P + P^T = 1, win rates w = P pi, mirror-descent steps with a magnet at the reference, the fixed point.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/pair_loss.hpp"

namespace vbon::objective {
enum class PreferenceRule { step, bt };
constexpr std::array<std::string_view, 2> option_names(PreferenceRule) { return {"step", "bt"}; }

/// P(the first is preferred to the second): 1, 1/2, 0 by order, or Bradley-Terry.
inline double preference_of(PreferenceRule rule, double reward_i, double reward_j) {
  if (rule == PreferenceRule::bt) return sigmoid(reward_i - reward_j);
  return reward_i > reward_j ? 1 : reward_i == reward_j ? 0.5 : 0;
}

class WindGame {
 public:
  /// @param preference  [K, K] row-major
  /// @throws ShapeError unless it is square; DomainError when an entry leaves [0, 1] or P + P^T != 1 (1e-9)
  template <class = void>
  WindGame(std::vector<double> probability, std::vector<double> preference)
      : reference_(std::move(probability)), preference_(std::move(preference)) {
    const std::size_t k = reference_.size();
    require<ShapeError>(k > 0 && preference_.size() == k * k, "wind: ", k, " x ", k, " preferences expected, got ",
                        preference_.size());
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < k; ++j) {
        require_within("wind", "preference", at(i, j), 0, 1);
        require<DomainError>(std::abs(at(i, j) + at(j, i) - 1) <= 1e-9, "wind: P + P^T = 1 expected, got ", at(i, j), " + ",
                             at(j, i));
      }
  }
  /// Preferences from rewards.
  template <class = void>
  static WindGame from_rewards(std::vector<double> probability, std::span<const double> reward, PreferenceRule rule) {
    bon::require_rewards(reward, "wind");
    std::vector<double> preference;
    for (const double a : reward)
      for (const double b : reward) preference.push_back(preference_of(rule, a, b));
    return WindGame(std::move(probability), std::move(preference));
  }

  /// w_pi(y) = sum_j P(y, j) pi(j).
  template <class = void>
  std::vector<double> win_rates(std::span<const double> policy) const {
    std::vector<double> rate(reference_.size(), 0);
    for (std::size_t i = 0; i < rate.size(); ++i)
      for (std::size_t j = 0; j < rate.size(); ++j) rate[i] += at(i, j) * policy[j];
    return rate;
  }

  /// softmax((log pi + beta eta log pi_ref + eta w_pi)/(1 + beta eta)).
  /// @throws DomainError for eta <= 0, beta < 0
  template <class = void>
  bon::Law step(std::span<const double> policy, double beta, double eta) const {
    require_positive("wind", "eta", eta);
    require_at_least("wind", "beta", beta, 0);
    const std::vector<double> rate = win_rates(policy);
    bon::Law next(policy.size());
    for (std::size_t i = 0; i < next.size(); ++i)
      next[i] = (std::log(policy[i]) + beta * eta * std::log(reference_[i]) + eta * rate[i]) / (1 + beta * eta);
    const double log_z = log_sum_exp(next);
    for (double& value : next) value = std::exp(value - log_z);
    return next;
  }

  /// The law pi with pi = pi_ref e^(w_pi/beta)/Z, by steps of size beta (which contract) until they stand still.
  /// @throws DomainError for beta <= 0; RunError when they do not settle
  template <class = void>
  bon::Law fixed_point(double beta) const {
    require_positive("wind", "beta", beta);
    bon::Law policy(reference_);
    for (int iteration = 0; iteration < 2'000'000; ++iteration) {
      bon::Law next = step(policy, beta, beta);
      double moved = 0;
      for (std::size_t i = 0; i < next.size(); ++i) moved = std::max(moved, std::abs(next[i] - policy[i]));
      policy = std::move(next);
      if (moved < 1e-16) return policy;
    }
    // The last bits may cycle; a move of a few units in the last place is as settled as doubles get.
    const bon::Law next = step(policy, beta, beta);
    for (std::size_t i = 0; i < next.size(); ++i)
      require<RunError>(std::abs(next[i] - policy[i]) < 1e-14, "wind: the fixed point at beta = ", beta, " did not settle");
    return policy;
  }

  const bon::Law& reference() const { return reference_; }

 private:
  double at(std::size_t i, std::size_t j) const { return preference_[i * reference_.size() + j]; }

  bon::Law reference_;
  std::vector<double> preference_;  // [K, K]
};
}  // namespace vbon::objective
