// vbon/bon/checks.hpp
//
// What every function of this folder demands of its arguments, with the error codes of the
// specification. Log-probs up to 1e-9 above 0 count as rounding and are taken as 0.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/core/index.hpp"

namespace vbon::bon {
/// Largest excess over a bound of log space that counts as rounding.
inline constexpr double rounding_slack = 1e-9;
/// Largest N: above 2^53 consecutive integers are not doubles.
inline constexpr double max_n = 9007199254740992.0;
/// Below this logarithm a term added to 1 is lost in double precision (2^-53 = e^-36.7).
inline constexpr double log_negligible = -37;

/// N of the best-of-N law: real, 1 <= N <= 2^53.
/// @throws DomainError (invalid_n)
inline void require_n(double n, std::string_view where) {
  require<DomainError>(n >= 1 && n <= max_n, ErrorCode{"invalid_n"}, where, ": 1 <= N <= 2^53 expected, got ", n);
}
/// N of a closed form: real, 0 < N <= 2^53.
/// @throws DomainError (invalid_n)
inline void require_positive_n(double n, std::string_view where) {
  require<DomainError>(n > 0 && n <= max_n, ErrorCode{"invalid_n"}, where, ": 0 < N <= 2^53 expected, got ", n);
}
/// A logarithm of a probability: at most 0, up to rounding; -inf is legal.
/// @throws DomainError (invalid_log_prob)
inline void require_log_prob(double value, std::string_view name, std::string_view where) {
  require<DomainError>(value <= rounding_slack, ErrorCode{"invalid_log_prob"}, where, ": ", name, " <= 0 expected, got ", value);
}
/// @throws DomainError (invalid_probability) unless 0 < p < 1
inline void require_open_unit(double p, std::string_view name, std::string_view where) {
  require<DomainError>(p > 0 && p < 1, ErrorCode{"invalid_probability"}, where, ": 0 < ", name, " < 1 expected, got ", p);
}
/// @throws DomainError (nan_reward)
inline void require_reward(double reward, std::string_view where) {
  require<DomainError>(!std::isnan(reward), ErrorCode{"nan_reward"}, where, ": the reward is NaN");
}
/// @throws DomainError (empty_cache, nan_reward)
inline void require_rewards(std::span<const double> rewards, std::string_view where) {
  require<DomainError>(!rewards.empty(), ErrorCode{"empty_cache"}, where, ": at least one reward expected, got none");
  for (std::size_t i = 0; i < rewards.size(); ++i)
    require<DomainError>(!std::isnan(rewards[i]), ErrorCode{"nan_reward"}, where, ": reward ", i, " is NaN");
}
}  // namespace vbon::bon
