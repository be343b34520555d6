// vbon/bon.hpp
//
// The mathematics of best-of-N alone: arrays in, arrays out. Needs no file format, tokenizer or network.
#pragma once

#include "vbon/bon/checks.hpp"
#include "vbon/bon/concept.hpp"
#include "vbon/bon/empirical_cdf.hpp"
#include "vbon/bon/estimator.hpp"
#include "vbon/bon/log_prob.hpp"
#include "vbon/bon/log_prob_array.hpp"
#include "vbon/bon/subset_weights.hpp"
