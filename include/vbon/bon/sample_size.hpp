// vbon/bon/sample_size.hpp
//
// N, the strength of the KL penalty that stands for it, and how many reference rewards it takes.
#pragma once
#include <cmath>
#include <limits>

#include "vbon/bon/checks.hpp"

namespace vbon::bon {
/// N = 1 + 1/beta: the N whose bound is KL-constrained reinforcement learning with reward log F and
/// coefficient beta. Real, never truncated.
/// @throws DomainError invalid_beta unless beta > 0
inline double n_from_beta(double beta) {
  require<DomainError>(beta > 0, ErrorCode{"invalid_beta"}, "bon::n_from_beta: beta > 0 expected, got ", beta);
  return 1 + 1 / beta;
}
/// beta = 1 / (N - 1); inf at N = 1.
/// @throws DomainError invalid_n
inline double beta_from_n(double n) {
  require_n(n, "bon::beta_from_n");
  return n == 1 ? std::numeric_limits<double>::infinity() : 1 / (n - 1);
}
/// The published int(1/beta) + 1. Truncation in floating point makes it wrong for some beta = 1/k (93).
inline double published_n_from_beta(double beta) {
  require<DomainError>(beta > 0, ErrorCode{"invalid_beta"}, "bon::published_n_from_beta: beta > 0 expected, got ", beta);
  return std::trunc(1 / beta) + 1;
}
/// The N that the published "exact" mode really aims at: its reward scale 1/N and KL coefficient 1/(N-1)
/// do not match, so its optimum is best-of-N_eff with N_eff = 1 + (N-1)^2 / N.
inline double published_effective_n(double n) {
  require_n(n, "bon::published_effective_n");
  return 1 + (n - 1) * (n - 1) / n;
}
/// Expected KL(bon || law implied by an estimate of F from M samples) [nats]: N / (4M) for every rank
/// estimator. The error is frozen with the cache, so it is systematic and not noise.
inline double cache_error(double n, Index samples) {
  require_n(n, "bon::cache_error");
  require<DomainError>(samples >= 1, ErrorCode{"empty_cache"}, "bon::cache_error: M >= 1 expected, got ", samples);
  return n / (4 * static_cast<double>(samples));
}
/// The smallest M with cache_error(n, M) <= nats.
inline Index cache_size(double n, double nats) {
  require_n(n, "bon::cache_size");
  require<DomainError>(nats > 0, ErrorCode{"invalid_error"}, "bon::cache_size: an error > 0 nats expected, got ", nats);
  return static_cast<Index>(std::ceil(n / (4 * nats)));
}
}  // namespace vbon::bon
