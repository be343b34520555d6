// vbon/core/index.hpp
//
// The integer of sizes and positions, apart from types.hpp so that the mathematics can be included
// without Eigen.
#pragma once
#include <cstddef>

namespace vbon {
using Index = std::ptrdiff_t;  // signed, so that differences are safe
}  // namespace vbon
