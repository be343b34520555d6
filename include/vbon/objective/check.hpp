// vbon/objective/check.hpp
//
// The checks that every objective makes once per batch, before it computes anything: arrays are there,
// have the right size, and hold numbers that may enter arithmetic.
#pragma once
#include <cmath>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/data/rollout_batch.hpp"

namespace vbon::objective {
/// @throws ShapeError when an array was not filled or has another size
inline void require_size(std::string_view who, std::string_view field, const Array& values, Index size) {
  require<ShapeError>(values.size() == size, who, ": ", size, " values in ", field, " expected, got ", values.size());
}

/// @throws ShapeError, DomainError (code `nan_FIELD` says too little: the message names field and place)
template <class = void>
void require_finite(std::string_view who, std::string_view field, const Array& values, Index size) {
  require_size(who, field, values, size);
  for (Index i = 0; i < values.size(); ++i)
    require<DomainError>(std::isfinite(values[i]), ErrorCode{"not_finite"}, who, ": finite ", field, " expected, got ",
                         values[i], " at ", i);
}

/// For arrays that are only ranked: infinities order, NaN does not.
template <class = void>
void require_ordered(std::string_view who, std::string_view field, const Array& values, Index size) {
  require_size(who, field, values, size);
  for (Index i = 0; i < values.size(); ++i)
    require<DomainError>(!std::isnan(values[i]), ErrorCode{"nan_reward"}, who, ": ", field, " is NaN at ", i);
}

/// @throws DomainError `empty_group`, `group_too_small` or `empty_response`
template <class = void>
void require_groups(std::string_view who, const RolloutBatch& batch, Index min_group = 1) {
  require<DomainError>(batch.prompts() > 0, ErrorCode{"empty_group"}, who, ": at least one prompt expected, got 0");
  for (Index p = 0; p < batch.prompts(); ++p) {
    require<DomainError>(batch.samples(p) > 0, ErrorCode{"empty_group"}, who, ": prompt ", p, " has no response");
    require<DomainError>(batch.samples(p) >= min_group, ErrorCode{"group_too_small"}, who, ": groups of ", min_group,
                         " responses or more expected, got ", batch.samples(p), " for prompt ", p);
  }
  for (Index i = 0; i < batch.responses(); ++i)
    require<DomainError>(batch.length(i) > 0, ErrorCode{"empty_response"}, who, ": response ", i, " has no token");
}

/// @throws DomainError when a setting is below its least value (or NaN)
inline void require_at_least(std::string_view who, std::string_view setting, double value, double least) {
  require<DomainError>(value >= least && std::isfinite(value), who, ": ", setting, " >= ", least,
                       std::isinf(value) ? " and finite" : "", " expected, got ", value);
}
inline void require_positive(std::string_view who, std::string_view setting, double value) {
  require<DomainError>(value > 0 && std::isfinite(value), who, ": ", setting, " > 0", std::isinf(value) ? " and finite" : "",
                       " expected, got ", value);
}
inline void require_within(std::string_view who, std::string_view setting, double value, double low, double high) {
  require<DomainError>(value >= low && value <= high, who, ": ", setting, " in [", low, ", ", high, "] expected, got ",
                       value);
}
}  // namespace vbon::objective
