// vbon/eval/kl.hpp
//
// KL(p || q) of a trained policy p from its reference q [nats]: Monte-Carlo estimates from log-ratios
// l = log p(y) - log q(y) of responses y ~ p, and the exact value of one next-token law from its logits.
// Summed over the steps of sampled responses the exact value is the Rao-Blackwell estimate, the one to report.
#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/bon/softmax_gradient.hpp"

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
template <class = void>
double kl_k1(std::span<const double> log_ratio) {
  return detail::mean_term(log_ratio, "eval::kl_k1", [](double l) { return l; });
}
/// k2 = mean l^2 / 2: biased, small variance near p = q.
template <class = void>
double kl_k2(std::span<const double> log_ratio) {
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
template <class = void>
ExactKl kl_from_logits(std::span<const double> p_logits, std::span<const double> q_logits, double temperature = 1) {
  require<ShapeError>(p_logits.size() == q_logits.size(), "eval::kl_from_logits: rows of equal size expected, got ",
                      p_logits.size(), " and ", q_logits.size());
  const std::vector<double> log_p = bon::log_softmax(p_logits, temperature), log_q = bon::log_softmax(q_logits, temperature);
  ExactKl result;
  for (std::size_t v = 0; v < log_p.size(); ++v) {
    const double p = std::exp(log_p[v]);
    if (p == 0) continue;
    result.kl += p * (log_p[v] - log_q[v]);
    result.entropy -= p * log_p[v];
  }
  return result;
}
}  // namespace vbon::eval
