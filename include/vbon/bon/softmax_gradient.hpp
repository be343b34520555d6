// vbon/bon/softmax_gradient.hpp
//
// Gradients in the logits of one softmax: exact by enumeration, and the estimators of them from samples.
// For any score R that does not itself depend on the logits,
//
//   sum_y p(y) R(y) grad log p(y)  has component  p_k (R_k - E_p R)  for logit k,
//
// which with R = log bon - log p is grad J: the term from d log p in R has mean 0. An autoregressive law is
// one softmax per context, so the same forms serve it context by context.
#pragma once
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/core/log_space.hpp"

namespace vbon::bon {
/// log softmax(logits / temperature).
/// @throws DomainError invalid_temperature unless temperature > 0; empty_group (no logits)
template <class = void>
std::vector<double> log_softmax(std::span<const double> logits, double temperature = 1) {
  require<DomainError>(!logits.empty(), ErrorCode{"empty_group"}, "bon::log_softmax: at least one logit expected, got none");
  require<DomainError>(temperature > 0, ErrorCode{"invalid_temperature"}, "bon::log_softmax: temperature > 0 expected, got ", temperature);
  std::vector<double> log_p(logits.begin(), logits.end());
  for (double& value : log_p) value /= temperature;
  const double total = log_sum_exp(log_p);
  for (double& value : log_p) value -= total;
  return log_p;
}

/// p_k (R_k - E_p R): exact gradient of E_p[R] by the score function. Scores where p = 0 do not count.
/// @throws ShapeError
template <class = void>
std::vector<double> score_gradient(std::span<const double> log_p, std::span<const double> score) {
  require<ShapeError>(log_p.size() == score.size(), "bon::score_gradient: ", log_p.size(), " scores expected, got ", score.size());
  double mean = 0;
  for (std::size_t k = 0; k < score.size(); ++k)
    if (const double p = std::exp(log_p[k]); p > 0) mean += p * score[k];
  std::vector<double> gradient(score.size(), 0.0);
  for (std::size_t k = 0; k < score.size(); ++k)
    if (const double p = std::exp(log_p[k]); p > 0) gradient[k] = p * (score[k] - mean);
  return gradient;
}

/// Leave-one-out advantages A_i = R_i - mean of the other scores = B/(B-1) (R_i - mean). They sum to 0.
/// @throws DomainError empty_group (B = 0), group_too_small (B = 1 would give a silent zero)
template <class = void>
std::vector<double> leave_one_out_advantages(std::span<const double> score) {
  require<DomainError>(!score.empty(), ErrorCode{"empty_group"}, "bon::leave_one_out_advantages: a score expected, got none");
  require<DomainError>(score.size() > 1, ErrorCode{"group_too_small"}, "bon::leave_one_out_advantages: at least 2 scores expected, got 1");
  // Differences to the first score: a group of equal scores gives exactly 0, whatever their size.
  const double b = static_cast<double>(score.size());
  double mean = 0;
  for (const double r : score) mean += (r - score[0]) / b;
  std::vector<double> advantage;
  for (const double r : score) advantage.push_back(b / (b - 1) * ((r - score[0]) - mean));
  return advantage;
}

/// sum_i weight_i grad log p(y_i) for sampled outcomes y_i; with weight = A / B the policy gradient.
/// @throws ShapeError when sizes differ or a sample is not an outcome
template <class = void>
std::vector<double> sampled_gradient(std::span<const double> log_p, std::span<const Index> sample,
                                     std::span<const double> weight) {
  require<ShapeError>(sample.size() == weight.size(), "bon::sampled_gradient: one weight per sample expected, got ", weight.size(),
                      " for ", sample.size());
  std::vector<double> gradient(log_p.size(), 0.0);
  double total = 0;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    require<ShapeError>(sample[i] >= 0 && sample[i] < static_cast<Index>(log_p.size()), "bon::sampled_gradient: an outcome below ",
                        log_p.size(), " expected, got ", sample[i]);
    gradient[static_cast<std::size_t>(sample[i])] += weight[i];
    total += weight[i];
  }
  for (std::size_t k = 0; k < gradient.size(); ++k) gradient[k] -= total * std::exp(log_p[k]);
  return gradient;
}

/// Weights of sampled_gradient for samples of another law, self-normalised: wbar_i (R_i - sum_j wbar_j R_j)
/// with wbar proportional to p / q. Biased by O(1/B), but bounded.
/// @param log_weight  [B] log p(y_i) - log q(y_i)
/// @throws ShapeError; DomainError empty_group; invalid_log_prob (all weights 0, or NaN)
template <class = void>
std::vector<double> self_normalised_weights(std::span<const double> log_weight, std::span<const double> score) {
  require<ShapeError>(log_weight.size() == score.size(), "bon::self_normalised_weights: ", log_weight.size(), " scores expected, got ", score.size());
  require<DomainError>(!score.empty(), ErrorCode{"empty_group"}, "bon::self_normalised_weights: a sample expected, got none");
  const double total = log_sum_exp(log_weight);
  require<DomainError>(std::isfinite(total), ErrorCode{"invalid_log_prob"},
                       "bon::self_normalised_weights: a finite positive total weight expected, got e^", total);
  double mean = 0;
  for (std::size_t i = 0; i < score.size(); ++i) mean += std::exp(log_weight[i] - total) * score[i];
  std::vector<double> weight;
  for (std::size_t i = 0; i < score.size(); ++i) weight.push_back(std::exp(log_weight[i] - total) * (score[i] - mean));
  return weight;
}
}  // namespace vbon::bon
