// Objectives and CDF estimators by name.
#pragma once
#include <string>

#include "vbon/rollout/collect.hpp"
#include "vbon/train/any_objective.hpp"

namespace vbon::program {
/// What the other flags say of an objective's options, where its spec does not.
struct ObjectiveDefaults {
  double n = 4;           // N of best-of-N
  Index max_length = 24;  // tokens of a response at most
};
/// @param spec  "name" or "name:option=value,option=value"
/// @throws ConfigError listing the known names, options or values
train::AnyObjective make_objective(const std::string& spec, const ObjectiveDefaults& defaults);

/// @throws ConfigError listing the known names
rollout::AnyCdf make_cdf(const std::string& name);

/// A line for every objective with its options, for `vbon inspect objectives`.
std::string list_objectives();
std::string list_estimators();
}  // namespace vbon::program
