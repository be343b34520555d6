// vbon/objective/concept.hpp
//
// An objective is a pure function of the arrays of a batch: it reports a loss and hands back
// d loss / d log_prob. It never sees a network, a sampler or a tokenizer. Rewards, advantages and
// reference quantities are constants: no gradient flows through them.
#pragma once
#include <concepts>
#include <string_view>
#include <vector>

#include "vbon/data/rollout_batch.hpp"

namespace vbon {
/// One named number an objective reports beside its loss (a clip fraction, a KL estimate).
struct Metric {
  std::string_view name;
  double value = 0;
};

struct ObjectiveResult {
  double loss = 0;                   // nats per response, minimised
  Array dlog_prob;                   // [T] d loss / d log_prob
  Array dvalue = {};                 // [T] d loss / d value; empty without a critic
  std::vector<Metric> metrics = {};  // what else is worth a column in the log
};

/// What the trainer must have computed before it calls the objective. It computes nothing else.
struct Needs {
  bool ref_log_prob = false;     // a forward pass of the reference
  bool old_log_prob = false;     // kept from sampling
  bool anchor_log_prob = false;  // a forward pass of the anchor
  bool value = false;            // a critic: value now, old_value when the sample was drawn
  bool ref_reward = false;       // the reference cache: ref_reward, log_cdf, log_tie, log_cdf_le
  bool answer = false;           // RolloutBatch::answer: which responses say the same
  Index min_group = 1;           // responses per prompt drawn from the policy; 0: none are used
  Index reference_group = 0;     // responses per prompt drawn from the reference; 0: none are used
  Index anchor_group = 0;        // responses per prompt drawn from the anchor; 0: none are used
};

/// What an objective needs as it is set: O::needs, or less, or more, by its options where it has `needs_now()`.
template <class O>
constexpr Needs needs_of(const O& rule) {
  Needs needs = O::needs;
  if constexpr (requires { rule.needs_now(); }) needs = rule.needs_now();
  if constexpr (requires { rule.baseline.least_group(); }) needs.min_group = rule.baseline.least_group();
  return needs;
}

namespace objective {
/// The one number that an objective carries from batch to batch (a moving average, an adapted weight), or null. Objectives
/// stay functions: whoever runs them keeps the number, sets it before a batch, and asks for the next one after it.
template <class O>
double* carried_by(O& rule) {
  if constexpr (requires { rule.carried(); })
    return rule.carried();
  else if constexpr (requires { rule.baseline.carried(); })
    return rule.baseline.carried();
  else
    return nullptr;
}
/// Its value after a batch of the policy's own samples [carried_by() is not null].
template <class O>
double carried_after(const O& rule, const RolloutBatch& batch) {
  if constexpr (requires { rule.carried_after(batch); })
    return rule.carried_after(batch);
  else if constexpr (requires { rule.baseline.carried_after(rule.score(batch)); })
    return rule.baseline.carried_after(rule.score(batch));
  else
    return 0;
}
}  // namespace objective

template <class O>
concept Objective = requires(const O& objective, const RolloutBatch& batch) {
  { O::name } -> std::convertible_to<std::string_view>;
  { O::needs } -> std::convertible_to<Needs>;
  { objective(batch) } -> std::same_as<ObjectiveResult>;
};

/// True where an objective says that, as it is set, its loss is the mean over prompts of what each prompt gives alone, with
/// no metrics beside it: `by_prompt()`. A batch may then be cut between prompts.
template <class O>
constexpr bool is_by_prompt(const O& rule) {
  if constexpr (requires { rule.by_prompt(); })
    return rule.by_prompt();
  else
    return false;
}

/// Responses by who drew them. `log_prob` is under the trained policy in every one of them.
struct Streams {
  RolloutBatch policy, reference, anchor;
};
struct StreamsResult {
  double loss = 0;
  Array policy = {}, reference = {}, anchor = {};  // d loss / d log_prob of each stream; empty: not used
  Array dvalue = {};                               // [T] of the policy stream
  std::vector<Metric> metrics = {};
};

/// An objective over several streams at once (BOND, J-BOND).
template <class O>
concept StreamsObjective = requires(const O& objective, const Streams& streams) {
  { O::name } -> std::convertible_to<std::string_view>;
  { O::needs } -> std::convertible_to<Needs>;
  { objective(streams) } -> std::same_as<StreamsResult>;
};

namespace objective {
/// Runs any objective on streams: a one-stream objective reads the stream its needs name.
template <class O>
requires Objective<O> || StreamsObjective<O> StreamsResult evaluate(const O& rule, const Streams& streams) {
  if constexpr (StreamsObjective<O>) {
    return rule(streams);
  } else {
    constexpr Needs needs = O::needs;
    const RolloutBatch& batch = needs.min_group > 0         ? streams.policy
                                : needs.reference_group > 0 ? streams.reference
                                                            : streams.anchor;
    ObjectiveResult result = rule(batch);
    StreamsResult out{.loss = result.loss, .dvalue = std::move(result.dvalue), .metrics = std::move(result.metrics)};
    Array& gradient = needs.min_group > 0 ? out.policy : needs.reference_group > 0 ? out.reference : out.anchor;
    gradient = std::move(result.dlog_prob);
    return out;
  }
}
}  // namespace objective
}  // namespace vbon
