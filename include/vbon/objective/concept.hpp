// vbon/objective/concept.hpp
//
// An objective is a pure function of the arrays of a batch: it reports a loss and hands back
// d loss / d log_prob. It never sees a network, a sampler or a tokenizer. Rewards, advantages and
// reference quantities are constants: no gradient flows through them.
#pragma once
#include <concepts>
#include <string_view>

#include "vbon/data/rollout_batch.hpp"

namespace vbon {
struct ObjectiveResult {
  double loss = 0;      // nats per response, minimised
  Array dlog_prob;      // [T] d loss / d log_prob
  Array dvalue = {};    // [T] d loss / d value; empty without a critic
};

/// What the trainer must have computed before it calls the objective. It computes nothing else.
struct Needs {
  bool ref_log_prob = false;     // a forward pass of the reference
  bool old_log_prob = false;     // kept from sampling
  bool anchor_log_prob = false;  // a forward pass of the anchor
  bool value = false;            // a critic
  bool ref_reward = false;       // the reference cache: ref_reward, log_cdf, log_tie, log_cdf_le
  Index min_group = 1;           // responses per prompt
};

template <class O>
concept Objective = requires(const O& objective, const RolloutBatch& batch) {
  { O::name } -> std::convertible_to<std::string_view>;
  { O::needs } -> std::convertible_to<Needs>;
  { objective(batch) } -> std::same_as<ObjectiveResult>;
};
}  // namespace vbon
