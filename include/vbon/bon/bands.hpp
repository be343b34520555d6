// vbon/bon/bands.hpp
//
// How far the reference's reward CDF may be from what M samples show.
#pragma once
#include <cmath>

#include "vbon/bon/checks.hpp"
#include "vbon/core/special.hpp"

namespace vbon::bon {
struct Interval {
  double lower = 0;
  double upper = 1;
};

/// Half-width of the Dvoretzky-Kiefer-Wolfowitz band: |F^ - F| <= width for all rewards at once with
/// probability 1 - delta.
/// @throws DomainError empty_cache (M < 1), invalid_probability (delta outside (0, 1))
inline double dkw_half_width(Index samples, double delta = 0.05) {
  require<DomainError>(samples >= 1, ErrorCode{"empty_cache"}, "bon::dkw_half_width: M >= 1 expected, got ", samples);
  require_open_unit(delta, "delta", "bon::dkw_half_width");
  return std::sqrt(std::log(2 / delta) / (2 * static_cast<double>(samples)));
}

/// Clopper-Pearson interval of F at one reward with K of M samples below: covers F with probability at
/// least 1 - delta.
/// @throws DomainError empty_cache, invalid_probability, inconsistent_counts (K outside [0, M])
template <class = void>
Interval clopper_pearson(Index below, Index samples, double delta = 0.05) {
  require<DomainError>(samples >= 1, ErrorCode{"empty_cache"}, "bon::clopper_pearson: M >= 1 expected, got ", samples);
  require<DomainError>(below >= 0 && below <= samples, ErrorCode{"inconsistent_counts"},
                       "bon::clopper_pearson: 0 <= K <= M = ", samples, " expected, got ", below);
  require_open_unit(delta, "delta", "bon::clopper_pearson");
  const double k = static_cast<double>(below), m = static_cast<double>(samples);
  return {below == 0 ? 0 : incomplete_beta_inverse(k, m - k + 1, delta / 2),
          below == samples ? 1 : incomplete_beta_inverse(k + 1, m - k, 1 - delta / 2)};
}
}  // namespace vbon::bon
