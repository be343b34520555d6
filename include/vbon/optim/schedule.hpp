// vbon/optim/schedule.hpp
//
// The learning rate as a factor of its peak, by step: a linear warm-up from 0, then constant, linear or
// cosine decay. The cosine has half a period by default and is not held at 0 after `total`; a trainer
// stops there.
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::optim {
enum class Decay { constant, linear, cosine };

/// @throws ConfigError, listing the known names
inline Decay decay_from_name(std::string_view name) {
  if (name == "constant") return Decay::constant;
  if (name == "linear") return Decay::linear;
  require<ConfigError>(name == "cosine", "unknown decay '", name, "'; known: constant, linear, cosine");
  return Decay::cosine;
}

struct Schedule {
  Decay decay = Decay::constant;
  Index warmup = 0;     // steps from 0 to the peak [>= 0]
  Index total = 0;      // steps until a decay has ended [> warmup for linear and cosine]
  double cycles = 0.5;  // periods of the cosine after the warm-up

  /// Factor of the peak rate at a step, in [0, 1]; steps count from 0.
  /// @throws ConfigError when the sizes above do not hold
  double factor(Index step) const {
    require<ConfigError>(warmup >= 0 && step >= 0, "Schedule: warmup >= 0 and step >= 0 expected, got ", warmup, " and ",
                         step);
    require<ConfigError>(decay == Decay::constant || total > warmup, "Schedule: total > warmup expected, got ", total,
                         " and ", warmup);
    if (step < warmup) return static_cast<double>(step) / static_cast<double>(warmup);
    if (decay == Decay::constant) return 1;
    const double progress = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
    if (decay == Decay::linear) return std::max(0.0, 1 - progress);
    return std::max(0.0, 0.5 * (1 + std::cos(2 * std::numbers::pi * cycles * progress)));
  }
};
}  // namespace vbon::optim
