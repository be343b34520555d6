// vbon/bon/registry.hpp
//
// Estimators of the reference's reward CDF by name. The first is the default.
#pragma once
#include <tuple>

#include "vbon/bon/estimator.hpp"
#include "vbon/bon/published_estimator.hpp"
#include "vbon/bon/smooth_estimator.hpp"
#include "vbon/core/registry.hpp"

namespace vbon::bon {
using Estimators = std::tuple<Harmonic, AddOne, Half, Jeffreys, Laplace, Uniform, Published, Kernel, Interpolated>;
}  // namespace vbon::bon
