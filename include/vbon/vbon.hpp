// vbon/vbon.hpp
//
// The table of contents: every header, in the order of the story. A prompt comes in, the reference policy
// samples responses, a reward scores them, the law of best-of-N follows in closed form, an objective turns
// it into a gradient, an optimiser moves the policy, and an evaluation reports what was gained.
#pragma once

#include "vbon/core/config.hpp"
