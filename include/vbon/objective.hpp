// vbon/objective.hpp
//
// The objectives alone: pure functions from a batch of arrays to a loss and its gradient.
#pragma once

// What a batch must carry for them: the place of each reward under the reference.
#include "vbon/objective/annotate.hpp"

// The subject, exact and as bounds, and its relatives; all of them stand in the registry.
#include "vbon/objective/chosen_baseline.hpp"
#include "vbon/objective/registry.hpp"

// What is not an entry of the registry: a baseline chosen by name, anchors, plain likelihood, the published PPO
// arithmetic, the two-policy game.
#include "vbon/objective/anchor.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/ppo_published.hpp"
#include "vbon/objective/wind_game.hpp"
