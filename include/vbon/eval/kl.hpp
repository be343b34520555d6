// vbon/eval/kl.hpp
//
// KL(p || q) of a trained policy p from its reference q [nats]: Monte-Carlo estimates from log-ratios
// l = log p(y) - log q(y) of responses y ~ p, and the exact value of one next-token law from its logits.
// Summed over the steps of sampled responses the exact value is the Rao-Blackwell estimate, the one to report.
#pragma once
#include <cmath>
#include <span>

#include "vbon/bon/checks.hpp"
#include "vbon/core/log_space.hpp"

namespace vbon::eval {
namespace detail {
template <class Term>
double mean_term(std::span<const double> log_ratio, std::string_view where, const Term& term) {
  require<DomainError>(!log_ratio.empty(), ErrorCode{"empty_group"}, where, ": at least one log-ratio expected, got none");
  double sum = 0;
  for (const double l : log_ratio) {
    require<DomainError>(!std::isnan(l), ErrorCode{"invalid_log_prob"}, where, ": a log-ratio is NaN");
    sum += term(l);
  }
  return sum / static_cast<double>(log_ratio.size());
}
}  // namespace detail

/// Contribution of one log-ratio to k3: e^-l - 1 + l >= 0.
inline double k3_term(double l) { return std::isinf(l) && l > 0 ? l : std::expm1(-l) + l; }

/// k1 = mean l: unbiased. +inf where q has no mass.
/// @throws DomainError empty_group, invalid_log_prob (NaN)
inline double kl_k1(std::span<const double> log_ratio) {
  return detail::mean_term(log_ratio, "eval::kl_k1", [](double l) { return l; });
}
/// k2 = mean l^2 / 2: biased, small variance near p = q.
inline double kl_k2(std::span<const double> log_ratio) {
  return detail::mean_term(log_ratio, "eval::kl_k2", [](double l) { return 0.5 * l * l; });
}
/// k3 = mean (e^-l - 1 + l): unbiased and >= 0, with a heavy right tail where e^-l has one.
inline double kl_k3(std::span<const double> log_ratio) { return detail::mean_term(log_ratio, "eval::kl_k3", k3_term); }

/// Exact divergence and entropy of one softmax.
struct ExactKl {
  double kl = 0;       // KL(p || q), nats
  double entropy = 0;  // H(p), nats
};
/// @param p_logits, q_logits  [V]; -inf masks an outcome. Where p = 0 the term is 0; where only q = 0, +inf
/// @throws ShapeError; DomainError empty_group (V = 0), invalid_temperature
inline ExactKl kl_from_logits(std::span<const double> p_logits, std::span<const double> q_logits, double temperature = 1) {
  require<ShapeError>(p_logits.size() == q_logits.size(), "eval::kl_from_logits: rows of equal size expected, got ",
                      p_logits.size(), " and ", q_logits.size());
  require<DomainError>(!p_logits.empty(), ErrorCode{"empty_group"}, "eval::kl_from_logits: at least one logit expected, got none");
  require<DomainError>(temperature > 0, ErrorCode{"invalid_temperature"},
                       "eval::kl_from_logits: temperature > 0 expected, got ", temperature);
  const auto log_total = [&](std::span<const double> logits) {
    const double high = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double x : logits) sum += std::exp((x - high) / temperature);
    return high / temperature + std::log(sum);
  };
  const double p_total = log_total(p_logits), q_total = log_total(q_logits);
  ExactKl result;
  for (std::size_t v = 0; v < p_logits.size(); ++v) {
    const double log_p = p_logits[v] / temperature - p_total, p = std::exp(log_p);
    if (p == 0) continue;
    result.kl += p * (log_p - (q_logits[v] / temperature - q_total));
    result.entropy -= p * log_p;
  }
  return result;
}
}  // namespace vbon::eval
