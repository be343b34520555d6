// vbon/core/types.hpp
//
// The few scalar and array types that every stage shares.
#pragma once
#include <Eigen/Core>
#include <cstdint>

namespace vbon {
using Index = Eigen::Index;    // sizes and positions; signed, so that differences are safe
using TokenId = std::int32_t;  // a row of the vocabulary
using Array = Eigen::ArrayXd;  // per-token and per-response quantities, always double, always on the host
}  // namespace vbon
