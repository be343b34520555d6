// vbon/core/types.hpp
//
// The few scalar and array types that every stage shares.
#pragma once
#include <Eigen/Core>
#include <concepts>
#include <cstdint>

#include "vbon/core/index.hpp"

namespace vbon {
static_assert(std::same_as<Index, Eigen::Index>, "Eigen must be built with its default index type");

using TokenId = std::int32_t;  // a row of the vocabulary
using Array = Eigen::ArrayXd;  // per-token and per-response quantities, always double, always on the host
}  // namespace vbon
