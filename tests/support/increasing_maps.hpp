// What must not matter to a method that only ranks: strictly increasing maps of the rewards.
#pragma once
#include <array>
#include <cmath>

namespace vbon::test {
/// Rewards of size up to 4 stay below 10, so that decoders with an upper bound can be asked too.
using Map = double (*)(double);
inline constexpr std::array<Map, 3> increasing_maps = {[](double r) { return 10 - std::exp(-2 * r); },
                                                       [](double r) { return r * r * r / 10 - 3; },
                                                       [](double r) { return std::atan(r); }};
}  // namespace vbon::test
