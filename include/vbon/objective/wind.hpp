// vbon/objective/wind.hpp
//
// WIND: best-of-N iterated without end is the equilibrium of a game whose payoff is the win rate. With a
// preference P(i, j) (P + P^T = 1) the KL-regularised fixed point is pi* = pi_ref e^(w_pi*/beta) / Z, and
// one step of mirror descent is pi' ~ exp((log pi + beta eta log pi_ref + eta w_pi)/(1 + beta eta)).
// From n samples of the anchor pi_t, w_i is estimated inside the group and the step becomes a regression:
//
//   h_i = (1 + beta eta) log pi - log pi_t - beta eta log pi_ref
//   pairwise  mean over pairs ((h_i - h_j) - eta (w_i - w_j))^2      pointwise  mean (h_i - eta (w_i - 1/2))^2
//
// The minimiser of the pairwise loss over all pairs is the exact step where w is exact. In groups of n the two of a pair
// also meet each other, and the mean of w_i - w_j pulls n/(n - 1) times as hard (objective/optimum.hpp).
// Source: Yang et al., "Faster WIND", arXiv 2410.20727; the sample form follows from its exact step.
#pragma once
#include <array>

#include "vbon/objective/anchor.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"
#include "vbon/objective/wind_game.hpp"

namespace vbon::objective {
enum class WindLoss { pairwise, pointwise };
constexpr std::array<std::string_view, 2> option_names(WindLoss) { return {"pairwise", "pointwise"}; }

/// Mean probability with which each response is preferred to the others of the group: by order, ties half, or by
/// Bradley-Terry.
template <class Rewards>
Array group_win_rate(const Rewards& reward, PreferenceRule rule = PreferenceRule::step) {
  const Index n = reward.size();
  Array rate(n);
  for (Index i = 0; i < n; ++i) {
    double wins = 0;
    for (Index j = 0; j < n; ++j)
      if (j != i) wins += preference_of(rule, reward[i], reward[j]);
    rate[i] = wins / static_cast<double>(n - 1);
  }
  return rate;
}

/// @throws DomainError for eta <= 0, beta < 0, `group_too_small` (n < 2), `nan_reward`
struct Wind {
  static constexpr std::string_view name = "wind";
  static constexpr Needs needs{.ref_log_prob = true, .anchor_log_prob = true, .min_group = 0, .anchor_group = 2};
  static constexpr Anchor anchor_rule{.swap_every = 4};  // optimiser steps that make one step of mirror descent
  using laws = Laws<law::Surrogate, law::Ranks, law::PerPrompt>;

  double beta = 0.1;
  double eta = 1;
  WindLoss loss = WindLoss::pairwise;
  PreferenceRule preference = PreferenceRule::step;
  void each_option(auto&& f) {
    f("beta", beta, "strength of the pull to the reference, >= 0");
    f("eta", eta, "step size, > 0; converges for eta <= beta");
    f("loss", loss, "pairwise (no normaliser) or pointwise");
    f("preference", preference,
      "of two responses: step, the larger reward wins, or bt, with probability sigmoid(difference)");
  }

  template <class Array = vbon::Array>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_positive(name, "eta", eta);
    require_at_least(name, "beta", beta, 0);
    require_groups(name, batch, 2);
    if (preference == PreferenceRule::step)
      require_ordered(name, "reward", batch.reward, batch.responses());
    else
      require_finite(name, "reward", batch.reward, batch.responses());
    require_finite(name, "anchor_log_prob", batch.anchor_log_prob, batch.tokens());
    const Array to_reference = log_ratio(name, batch);
    const Array &log_prob = batch.log_prob, &anchor_log_prob = batch.anchor_log_prob;
    const Array to_anchor = per_response(batch, log_prob - anchor_log_prob);
    const Array h = to_anchor + beta * eta * to_reference;
    const double scale = 1 + beta * eta;

    ObjectiveResult result;
    Array slope = Array::Zero(batch.responses());
    for (const Group& g : groups(batch)) {
      const Array rate = group_win_rate(batch.reward.segment(g.begin, g.size), preference);
      // How far each response is from the exact step, up to the constant of the group.
      const Array off = h.segment(g.begin, g.size) - eta * (rate - 0.5);
      const auto n = static_cast<double>(g.size);
      auto d = slope.segment(g.begin, g.size);
      if (loss == WindLoss::pointwise) {
        result.loss += off.square().mean();
        d = 2 * scale / n * off;
      } else {
        // Mean over the n(n-1)/2 pairs of (off_i - off_j)^2 = 2/(n-1) sum (off - mean)^2.
        const Array centred = off - mean_of(off);
        result.loss += 2 / (n - 1) * centred.square().sum();
        d = 4 * scale / (n - 1) * centred;
      }
    }
    const auto prompts = static_cast<double>(batch.prompts());
    result.loss /= prompts;
    result.dlog_prob = per_token(batch, slope / prompts);
    return result;
  }
};
}  // namespace vbon::objective
