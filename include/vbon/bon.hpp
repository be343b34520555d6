// vbon/bon.hpp
//
// The mathematics of best-of-N alone: arrays in, arrays out. Needs no file format, tokenizer or network.
#pragma once

// The law in closed form, one response at a time and for arrays.
#include "vbon/bon/log_prob.hpp"
#include "vbon/bon/log_prob_array.hpp"
#include "vbon/bon/sample_size.hpp"

// Where a reward stands among M samples of the reference.
#include "vbon/bon/bands.hpp"
#include "vbon/bon/pooled_cdf.hpp"
#include "vbon/bon/registry.hpp"
#include "vbon/bon/subset_weights.hpp"

// What best-of-N costs and gains: in closed form, as bounds, and exactly on finite problems.
#include "vbon/bon/bounds.hpp"
#include "vbon/bon/divergence.hpp"
#include "vbon/bon/expected_reward.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/bon/reference_law.hpp"
#include "vbon/bon/softmax_gradient.hpp"
