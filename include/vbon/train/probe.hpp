// vbon/train/probe.hpp
//
// Settings that can never work are told before anything is computed: a phase is tried on a made-up batch of the
// sizes it will have. What an objective refuses there it would refuse after hours of sampling.
#pragma once
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/data/answer.hpp"
#include "vbon/train/phase.hpp"

namespace vbon::train {
namespace detail {
/// Prompts with `samples` responses of 1 to 3 tokens each; every array filled, rewards with a tie.
template <class Array = vbon::Array>
RolloutBatch made_up_batch(std::uint64_t prompts, Index samples) {
  RolloutBatch batch;
  const RngKey key{1, 0};
  for (std::uint64_t p = 0; p < prompts; ++p) {
    batch.add_prompt({.id = p, .text = {}, .tokens = {0}});
    for (Index m = 0; m < samples; ++m)
      batch.add_response(std::vector<TokenId>(static_cast<std::size_t>(1 + m % 3), 0), true);
  }
  const auto random = [&](std::uint64_t stream, Index size) -> Array {
    Array values(size);
    for (Index i = 0; i < size; ++i) values[i] = key.fold(stream).uniform(static_cast<std::uint64_t>(i));
    return values;
  };
  batch.weight = uniform_weight(batch);
  Array reward = (random(1, batch.responses()) * static_cast<double>(2 * samples)).floor();
  if (samples > 1) reward[0] = reward[1];
  const auto levels = static_cast<double>(2 * samples + 2);
  const Array rank = (reward + 1) / levels;
  batch.log_cdf = rank.log();
  batch.log_tie = Array::Constant(batch.responses(), -std::log(levels));
  batch.log_cdf_le = (rank + 1 / levels).log();
  batch.reward = reward;
  for (Index p = 0; p < batch.prompts(); ++p) {
    const auto rewards = batch.reward.segment(batch.group_offset[static_cast<std::size_t>(p)], batch.samples(p));
    batch.ref_reward.emplace_back(rewards.begin(), rewards.end());
    std::sort(batch.ref_reward.back().begin(), batch.ref_reward.back().end());
  }
  std::uint64_t stream = 2;
  for (vbon::Array RolloutBatch::*field : {&RolloutBatch::log_prob, &RolloutBatch::ref_log_prob, &RolloutBatch::old_log_prob,
                                           &RolloutBatch::anchor_log_prob, &RolloutBatch::value, &RolloutBatch::old_value})
    batch.*field = -random(stream++, batch.tokens());
  classify_answers(batch, {});
  return batch;
}
/// Runs an objective once.
/// @throws ConfigError with what it says
template <class = void>
void probe(const AnyObjective& objective, const Streams& streams) {
  StreamsResult result;
  try {
    result = objective.call(streams);
  } catch (const Error& error) {
    throw ConfigError(message("objective '", objective.name, "' cannot work with these settings: ", error.what()),
                      ErrorCode{std::string(error.code())});
  }
  require<ConfigError>(std::isfinite(result.loss), "objective '", objective.name,
                       "' cannot work with these settings: its loss is ", result.loss, " on a made-up batch");
}
}  // namespace detail

/// Runs the objective of a phase once on made-up numbers.
/// @param cached  responses per prompt in the reference cache
/// @throws ConfigError with what the objective says; group_too_small
template <class = void>
void probe(const Phase& phase, Index cached) {
  check(phase);
  Streams streams;
  const bool every = phase.draw == Draw::all || phase.draw == Draw::weighted;
  const auto made_up = [few = static_cast<std::uint64_t>(std::min<Index>(2, phase.prompts))](Index samples) {
    return detail::made_up_batch(few, samples);
  };
  if (phase.from_policy()) streams.policy = made_up(phase.samples);
  if (phase.from_cache()) streams.reference = made_up(every ? cached : std::min(cached, phase.samples));
  if (phase.from_pairs()) {
    const std::size_t first[] = {0};
    streams.reference = preference_batch(phase.pairs, first);
    streams.reference.log_prob = streams.reference.ref_log_prob = Array::Constant(streams.reference.tokens(), -1);
  }
  if (phase.from_anchor()) streams.anchor = made_up(phase.anchor_samples());
  detail::probe(phase.objective, streams);
}

/// The same for an objective alone, on groups of so many responses.
/// @throws ConfigError with what the objective says
template <class = void>
void probe(const AnyObjective& objective, Index policy, Index reference, Index anchor) {
  detail::probe(objective, {.policy = detail::made_up_batch(2, policy),
                            .reference = detail::made_up_batch(2, reference),
                            .anchor = detail::made_up_batch(2, anchor)});
}
}  // namespace vbon::train
