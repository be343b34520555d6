// vbon/train/callback.hpp
//
// The hooks of a program into the trainer. Training and evaluation meet only here.
#pragma once
#include <functional>
#include <string>

#include "vbon/core/types.hpp"
#include "vbon/train/metrics.hpp"

namespace vbon::train {
/// What a finished step hands to the program.
struct StepReport {
  const std::string& phase;
  Index step;   // steps of this phase that are done
  Index steps;  // of this many
  const Metrics& metrics;
  const Metrics& timing;
};

/// How a run came to its end.
enum class Outcome { finished, stopped };

/// Every hook may be empty.
struct Callbacks {
  std::function<void(const StepReport&)> step = {};  // after every step
  std::function<Metrics(Index done)> evaluate = {};  // every `evaluate_every` steps; its row is kept as phase "evaluate"
  std::function<bool()> stop = {};                   // true: finish the step, save, return
  std::function<void(const std::string& phase, Index step)> saved = {};  // a checkpoint is on the disk
};
}  // namespace vbon::train
