// vbon/train/step_metrics.hpp
//
// What a step measured of the responses it learnt from: weighted means over them, and what they cost.
#pragma once
#include <algorithm>
#include <cmath>

#include "vbon/objective/concept.hpp"
#include "vbon/train/metrics.hpp"

namespace vbon::train {
/// Share of the responses whose reward another response of the prompt has too.
/// @returns in [0, 1]; NaN for no responses
template <class = void>
double tied_share(const RolloutBatch& batch) {
  Index tied = 0;
  for (Index p = 0; p < batch.prompts(); ++p) {
    const auto rewards = batch.reward.segment(batch.group_offset[static_cast<std::size_t>(p)], batch.samples(p));
    for (const double r : rewards) tied += std::count(rewards.begin(), rewards.end(), r) > 1 ? 1 : 0;
  }
  return static_cast<double>(tied) / static_cast<double>(batch.responses());
}

/// The row of a step: loss, mean reward, win rate P(r > reference) + P(tie) / 2 by the cache's CDF where it is known,
/// estimates k1 and k3 [nats per response] of KL(policy, reference) where the reference's log-probs are known
/// (spec core, 5), shares, lengths [tokens] and counts.
/// @param streams  after the update; the policy's samples are measured, else the cached responses, else the anchor's
/// @param norm     of the gradient before clipping
/// @param rate     learning rate of the step
template <class Array = vbon::Array>
Metrics step_metrics(const Streams& streams, const StreamsResult& result, double norm, double rate) {
  const RolloutBatch& batch = streams.policy.responses() > 0      ? streams.policy
                              : streams.reference.responses() > 0 ? streams.reference
                                                                  : streams.anchor;
  const double prompts = static_cast<double>(batch.prompts());
  const Array &weight = batch.weight, &log_cdf = batch.log_cdf, &log_tie = batch.log_tie;
  const auto mean = [&](const Array& values) { return (weight * values).sum() / prompts; };
  Metrics row = {{"loss", result.loss}, {"reward", mean(batch.reward)}};
  if (log_cdf.size() > 0) {  // a data set of preferences knows no reference rewards
    const Array tie = log_tie.isNaN().select(Array::Zero(batch.responses()), log_tie.exp());
    row.emplace_back("win_rate", mean(log_cdf.exp() + 0.5 * tie));
  }
  if (batch.ref_log_prob.size() > 0) {
    const Array &log_prob = batch.log_prob, &ref_log_prob = batch.ref_log_prob;
    const Array log_ratio = per_response(batch, log_prob - ref_log_prob);
    row.emplace_back("kl_k1", mean(log_ratio));
    row.emplace_back("kl_k3", mean((-log_ratio).unaryExpr([](double x) { return std::expm1(x); }) + log_ratio));
  }
  double length = 0, ended = 0;
  for (Index i = 0; i < batch.responses(); ++i) {
    length += static_cast<double>(batch.length(i));
    ended += batch.finished[static_cast<std::size_t>(i)];
  }
  const double responses = static_cast<double>(batch.responses());
  row.emplace_back("tied", tied_share(batch));
  row.emplace_back("gradient_norm", norm);
  row.emplace_back("rate", rate);
  row.emplace_back("length", length / responses);
  row.emplace_back("ended", ended / responses);
  // What the step cost: each response drawn in it, from the policy or the anchor, was scored once.
  row.emplace_back("sampled_tokens", static_cast<double>(streams.policy.tokens() + streams.anchor.tokens()));
  row.emplace_back("reward_calls", static_cast<double>(streams.policy.responses() + streams.anchor.responses()));
  for (const Metric& extra : result.metrics) row.emplace_back(extra.name, extra.value);
  return row;
}
}  // namespace vbon::train
