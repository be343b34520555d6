// vbon/bon/log_prob.hpp
//
// The best-of-N policy in closed form. Draw N responses from the reference policy and keep one with the
// highest reward: the probability of keeping y needs only log pi_ref(y), where its reward stands in the
// reference's reward distribution, and N. With F = P(r < r(y)), tau = P(r = r(y)) under the reference,
//
//   pi_bon(y) = pi_ref(y) / tau * ((F + tau)^N - F^N),
//
// for every way of breaking ties that looks only at rewards and draw indices. N is real: 1 + 1/beta
// rarely is whole. Source: "Variational Best-of-N Alignment", arXiv 2407.06057, extended to ties.
#pragma once
#include <type_traits>

#include "vbon/bon/checks.hpp"
#include "vbon/core/log_space.hpp"

namespace vbon::bon {
namespace detail {
inline constexpr double derive = std::numeric_limits<double>::quiet_NaN();  // "no log_cdf_le was given"

/// Excess over a bound that counts as rounding, and the logarithm of what is lost beside 1.
template <std::floating_point T>
inline constexpr T slack = std::is_same_v<T, float> ? T(1e-5) : T(rounding_slack);
template <std::floating_point T>
inline constexpr T negligible = std::is_same_v<T, float> ? T(-17) : T(log_negligible);

/// log(1 + tau / F) and log(F + tau), from their logarithms.
template <class T>
struct TieShare {
  T log_growth;  // w = log((F + tau) / F); inf where F = 0
  T log_cdf_le;  // b, not yet clamped to 0
};
template <class T>
TieShare<T> tie_share(T log_cdf, T log_tie) {
  const T gap = log_tie - log_cdf;
  const T rest = std::log1p(std::exp(-std::abs(gap)));
  return {std::max(gap, T(0)) + rest, std::max(log_cdf, log_tie) + rest};
}

template <class T>
void require_logs(T log_ref, T log_cdf, T log_tie, std::string_view where) {
  require_log_prob(log_ref, "log_ref", where);
  require_log_prob(log_cdf, "log_cdf", where);
  require_log_prob(log_tie, "log_tie", where);
  require<DomainError>(log_ref <= log_tie + slack<T>, ErrorCode{"inconsistent_mass"}, where,
                       ": log_ref <= log_tie expected, got ", log_ref, " and ", log_tie);
}
template <class T>
void require_total(T log_cdf, T log_tie, T derived_cdf_le, std::string_view where) {
  require<DomainError>(!(derived_cdf_le > slack<T>), ErrorCode{"inconsistent_mass"}, where,
                       ": F + tau <= 1 expected, got log F = ", log_cdf, ", log tau = ", log_tie);
}
/// Cheap necessary condition: F + tau lies between max(F, tau) and twice that.
inline void require_top(double log_cdf, double log_tie, double log_cdf_le, std::string_view where) {
  const double low = std::max(log_cdf, log_tie);
  require_log_prob(log_cdf_le, "log_cdf_le", where);
  require<DomainError>(log_cdf_le >= low - rounding_slack && log_cdf_le <= low + std::numbers::ln2 + rounding_slack,
                       ErrorCode{"inconsistent_mass"}, where, ": log_cdf_le = log(F + tau) expected, got ", log_cdf_le,
                       " with log F = ", log_cdf, ", log tau = ", log_tie);
}

/// The checked law. In logs only F + tau needs a clamp to 1: F and tau enter otherwise through their ratio.
template <std::floating_point T>
T log_prob(T log_ref, T log_cdf, T log_tie, T log_cdf_le, T n, std::string_view where) {
  require_n(n, where);
  require_logs(log_ref, log_cdf, log_tie, where);
  log_ref = std::min(log_ref, T(0));
  log_cdf = std::min(log_cdf, T(0));
  log_tie = std::min(log_tie, T(0));
  const T gap = log_tie - log_cdf;
  if (gap < negligible<T>) {
    const T log_n = std::log(n);
    // N tau / F is below rounding (and may underflow): N ref F^(N-1) is the law to the last digit.
    if (log_n + gap < negligible<T>) return log_n + (n - 1) * log_cdf + log_ref;
  }
  const auto [log_growth, derived] = tie_share(log_cdf, log_tie);
  require_total(log_cdf, log_tie, derived, where);
  if (n == 1 || log_ref == -std::numeric_limits<T>::infinity()) return log_ref;
  const T top = std::min(std::isnan(log_cdf_le) ? derived : log_cdf_le, T(0));
  // (F + tau)^N - F^N = (F + tau)^N (1 - e^-Nw): all N draws stay at or below r(y), one of them hits it.
  return (log_ref - log_tie) + n * top + log1mexp(-n * log_growth);
}
}  // namespace detail

/// Log-probability of one response under the best-of-N policy, O(1) in N.
///
/// @param log_ref  log pi_ref(y) [nats]; -inf gives -inf
/// @param log_cdf  log F, the strict CDF: P(r < r(y)) [nats]; -inf (no reward below) is legal
/// @param log_tie  log tau, the mass of the level of y, log_ref <= log_tie [nats]; log_ref where rewards are distinct
/// @param n        N [draws, real, 1 <= N <= 2^53]; N = 1 gives log_ref bit for bit
/// @return         log pi_bon(y) [nats], within 8 units of 2^-52 of its conditioning
/// @throws DomainError invalid_n; invalid_log_prob (NaN or above 1e-9; smaller excess is taken as 0);
///         inconsistent_mass (ref > tau or F + tau > 1 beyond 1e-9)
template <class = void>
double log_prob(double log_ref, double log_cdf, double log_tie, double n) {
  return detail::log_prob(log_ref, log_cdf, log_tie, detail::derive, n, "bon::log_prob");
}
/// The same with log_cdf_le = log(F + tau) known. At the highest level pass 0: N times a rounded
/// log(F + tau) would cost digits at large N.
/// @throws DomainError also inconsistent_mass where log_cdf_le cannot be log(F + tau)
template <class = void>
double log_prob(double log_ref, double log_cdf, double log_tie, double log_cdf_le, double n) {
  detail::require_top(log_cdf, log_tie, log_cdf_le, "bon::log_prob");
  return detail::log_prob(log_ref, log_cdf, log_tie, log_cdf_le, n, "bon::log_prob");
}
/// The same in single precision, for data that is single precision anyway: within 8 units of 2^-23 of
/// 1 + N |log F| + |log_ref| + |log pi_bon|.
template <class = void>
float log_prob_f32(float log_ref, float log_cdf, float log_tie, float n) {
  return detail::log_prob(log_ref, log_cdf, log_tie, std::numeric_limits<float>::quiet_NaN(), n, "bon::log_prob_f32");
}

/// First-order value log N + (N - 1) log F + log_ref: exact to double precision for a whole sequence,
/// a lower bound always.
inline double log_prob_first_order(double log_ref, double log_cdf, double n) {
  require_n(n, "bon::log_prob_first_order");
  return n == 1 ? log_ref : std::log(n) + (n - 1) * log_cdf + log_ref;
}
/// Upper bound of log_prob - log_prob_first_order: min((N - 1) log(1 + rho), x/2 + x^2/24) with
/// rho = tau / F and x = (N - 1) rho.
inline double first_order_gap_bound(double log_cdf, double log_tie, double n) {
  require_n(n, "bon::first_order_gap_bound");
  if (n == 1) return 0;
  const double gap = log_tie - log_cdf;
  const double x = (n - 1) * std::exp(gap);
  return std::min((n - 1) * log1pexp(gap), x / 2 + x * x / 24);
}

/// Derivatives of log((F + tau)^N - F^N), the log-mass of a whole reward level. Where tau = pi_ref(y)
/// they are those of log pi_bon(y); with tau a separate input, d log pi_bon / d log_tie is log_tie - 1.
struct LevelDerivatives {
  double log_cdf;  // h_a = d / d log F, in [0, N - 1]
  double log_tie;  // h_t = d / d log tau, in [1, N]; h_a + h_t = N
  double n;        // d / d N
};

namespace detail {
template <class = void>
LevelDerivatives log_prob_derivatives(double log_cdf, double log_tie, double log_cdf_le, double n) {
  require_n(n, "bon::log_prob_derivatives");
  require_logs(log_tie, log_cdf, log_tie, "bon::log_prob_derivatives");
  const auto [w, derived] = tie_share(std::min(log_cdf, 0.0), std::min(log_tie, 0.0));
  require_total(log_cdf, log_tie, derived, "bon::log_prob_derivatives");
  const double top = std::min(std::isnan(log_cdf_le) ? derived : log_cdf_le, 0.0);
  if (std::isinf(w)) return {0, n, top};           // F = 0
  if (w < 1e-290) return {n - 1, 1, top + 1 / n};  // tau / F vanishes or is denormal
  const double missed = std::expm1(-n * w);        // u^N - 1 with u = F / (F + tau) = e^-w
  return {n * std::exp(-w) * std::expm1(-(n - 1) * w) / missed, n * std::expm1(-w) / missed, top + w / std::expm1(n * w)};
}
}  // namespace detail

/// @throws DomainError as log_prob
template <class = void>
LevelDerivatives log_prob_derivatives(double log_cdf, double log_tie, double n) {
  return detail::log_prob_derivatives(log_cdf, log_tie, detail::derive, n);
}
/// The same with log_cdf_le = log(F + tau) known: 0 at the top level.
template <class = void>
LevelDerivatives log_prob_derivatives(double log_cdf, double log_tie, double log_cdf_le, double n) {
  detail::require_top(log_cdf, log_tie, log_cdf_le, "bon::log_prob_derivatives");
  return detail::log_prob_derivatives(log_cdf, log_tie, log_cdf_le, n);
}
}  // namespace vbon::bon
