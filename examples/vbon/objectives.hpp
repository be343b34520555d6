// Objectives and CDF estimators by name.
#pragma once
#include <string>

#include "vbon/rollout/collect.hpp"
#include "vbon/train/any_objective.hpp"

namespace vbon::program {
/// @param spec  "name" or "name:option=value,option=value"
/// @param n     the N of best-of-N, for an objective that has one and whose spec does not say
/// @throws ConfigError listing the known names, options or values
train::AnyObjective make_objective(const std::string& spec, double n);

/// @throws ConfigError listing the known names
rollout::AnyCdf make_cdf(const std::string& name);

/// A line for every objective with its options, for `vbon inspect objectives`.
std::string list_objectives();
std::string list_estimators();
}  // namespace vbon::program
