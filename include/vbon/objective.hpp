// vbon/objective.hpp
//
// The objectives alone: pure functions from a batch of arrays to a loss and its gradient.
#pragma once

#include "vbon/objective/baseline.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/objective/laws.hpp"
