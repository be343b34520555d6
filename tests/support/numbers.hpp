// Numbers that tests name.
#pragma once
#include <limits>

namespace vbon::test {
inline constexpr double inf = std::numeric_limits<double>::infinity();
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();
}  // namespace vbon::test
