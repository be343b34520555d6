// vbon/bon.hpp
//
// The mathematics of best-of-N alone: the standard library and nothing else, cheap to include.
// For arrays of responses add vbon/bon/log_prob_array.hpp (xsimd).
#pragma once
#include "vbon/bon/log_prob.hpp"             // log pi_bon of one response, its derivatives and bounds
#include "vbon/bon/empirical_cdf.hpp"        // ranks of a reward among cached reference rewards
#include "vbon/bon/registry.hpp"             // estimates of log F from those ranks, by name
#include "vbon/bon/pooled_cdf.hpp"           // ... pooled with on-policy rollouts
#include "vbon/bon/bands.hpp"                // how far they may be off
#include "vbon/bon/subset_weights.hpp"       // unbiased powers of F, weights of the best of random subsets
#include "vbon/bon/sample_size.hpp"          // N, beta and the cache size
#include "vbon/bon/divergence.hpp"           // KL and other distances to the reference, in closed form
#include "vbon/bon/expected_reward.hpp"      // win rate and expected reward
#include "vbon/bon/reference_law.hpp"        // everything exact for a policy that can be enumerated
#include "vbon/bon/bounds.hpp"               // the objective and its surrogates
#include "vbon/bon/softmax_gradient.hpp"     // their gradients in the logits of a softmax
