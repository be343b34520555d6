// vbon/bon/divergence.hpp
//
// How far best-of-N lies from the reference policy, in closed form. Where rewards never tie (a continuous
// reward) these hold exactly for any reward and any reference; ties only bring the two laws closer.
// N is real, N > 0.
#pragma once
#include <cmath>

#include "vbon/bon/checks.hpp"
#include "vbon/core/log_space.hpp"

namespace vbon::bon {
namespace detail {
/// log r - (r-1)/r, which vanishes like (r-1)^2 / 2 at 1 and keeps its digits there.
inline double kl_of_ratio(double difference, double ratio) {
  const double y = -difference / ratio;  // log r = -log(1 + y)
  return std::abs(y) < 0.5 ? -log1p_minus(y) : std::log(ratio) + y;
}
}  // namespace detail

/// KL(bon || ref) = log N - (N-1)/N [nats]; an upper bound when rewards tie.
/// @throws DomainError invalid_n
inline double kl_to_reference(double n) {
  require_positive_n(n, "bon::kl_to_reference");
  return detail::kl_of_ratio(n - 1, n);
}
/// KL(ref || bon) = N - 1 - log N [nats].
/// @throws DomainError invalid_n
inline double kl_from_reference(double n) {
  require_positive_n(n, "bon::kl_from_reference");
  return -log1p_minus(n - 1);
}
/// KL(BoN_N || BoN_M) = log(N/M) + (M-N)/N [nats]: best-of-N is the best-of-(N/M) of best-of-M.
/// @throws DomainError invalid_n
inline double kl_between(double n, double m) {
  require_positive_n(n, "bon::kl_between");
  require_positive_n(m, "bon::kl_between");
  return detail::kl_of_ratio((n - m) / m, n / m);
}
/// chi-square divergence of bon from ref: N^2 / (2N-1) - 1 for N > 1/2, else inf.
/// @throws DomainError invalid_n
inline double chi_square(double n) {
  require_positive_n(n, "bon::chi_square");
  return n > 0.5 ? (n - 1) * (n - 1) / (2 * n - 1) : std::numeric_limits<double>::infinity();
}
/// Total variation distance |N-1| N^(-N/(N-1)).
/// @throws DomainError invalid_n
inline double total_variation(double n) {
  require_positive_n(n, "bon::total_variation");
  const double x = n - 1;
  return x == 0 ? 0 : std::abs(x) * std::exp(-n * std::log1p(x) / x);
}
/// Squared Hellinger distance 1 - 2 sqrt(N) / (N+1).
/// @throws DomainError invalid_n
inline double squared_hellinger(double n) {
  require_positive_n(n, "bon::squared_hellinger");
  const double root_minus_1 = (n - 1) / (std::sqrt(n) + 1);
  return root_minus_1 * root_minus_1 / (n + 1);
}
/// KL(bon || ref) where the best response is one atom of reference mass e and the rest is continuous:
/// c^N (log N + (N-1) log c - (N-1)/N) + T log(T/e) with c = 1-e, T = 1 - c^N. With e = ref(y*) of the
/// selected y* it estimates the KL of one prompt; it tends to kl_to_reference(N) as e -> 0.
/// @param atom  e, in [0, 1]
/// @throws DomainError invalid_n, invalid_probability
inline double kl_with_atom(double n, double atom) {
  require_positive_n(n, "bon::kl_with_atom");
  require<DomainError>(atom >= 0 && atom <= 1, ErrorCode{"invalid_probability"},
                       "bon::kl_with_atom: 0 <= atom <= 1 expected, got ", atom);
  if (atom == 0) return kl_to_reference(n);
  if (atom == 1) return 0;
  const double log_c = std::log1p(-atom);
  const double missed = std::exp(n * log_c), hit = -std::expm1(n * log_c);  // c^N and T
  return missed * (kl_to_reference(n) + (n - 1) * log_c) + hit * std::log(hit / atom);
}
}  // namespace vbon::bon
