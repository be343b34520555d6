// A problem on which everything is exact: a policy, a reference and an anchor as tables, and a reward for
// every outcome of every prompt. It fills in whatever an objective may ask of a batch.
#pragma once
#include <cmath>
#include <vector>

#include "vbon/objective/annotate.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/policy/tabular_policy.hpp"
#include "vbon/train/exact.hpp"

namespace vbon::test {
using Table = policy::BasicTabularPolicy<double>;

inline Table random_table(policy::TabularShape shape, std::uint64_t seed, double spread = 1) {
  Table table(shape);
  for (Index i = 0; i < table.parameters().size(); ++i)
    table.parameters()[i] = spread * RngKey{seed, 77}.normal(static_cast<std::uint64_t>(i));
  return table;
}

struct TabularProblem {
  Table policy, reference, anchor;
  std::vector<std::vector<double>> reward;  // [prompt][outcome]

  /// Distinct rewards, or with many ties when `levels` is positive.
  static TabularProblem random(policy::TabularShape shape, std::uint64_t seed, Index levels = 0) {
    TabularProblem problem{random_table(shape, seed), random_table(shape, seed + 1), random_table(shape, seed + 2), {}};
    const auto outcomes = static_cast<std::uint64_t>(std::lround(std::pow(shape.vocabulary, shape.length)));
    for (Index p = 0; p < shape.prompts; ++p) {
      std::vector<double> row;
      for (std::uint64_t k = 0; k < outcomes; ++k) {
        const RngKey key{seed, static_cast<std::uint64_t>(p) + 5};
        row.push_back(levels > 0 ? static_cast<double>(key.below(k, levels)) : key.normal(k));
      }
      problem.reward.push_back(row);
    }
    return problem;
  }

  double reward_of(std::uint64_t prompt, std::span<const TokenId> response) const {
    return reward[static_cast<std::size_t>(prompt)][static_cast<std::size_t>(policy.outcome(response))];
  }
  void fill_reward(RolloutBatch& batch) const {
    batch.reward.resize(batch.responses());
    for (Index p = 0; p < batch.prompts(); ++p)
      for (Index i = batch.group_offset[static_cast<std::size_t>(p)];
           i < batch.group_offset[static_cast<std::size_t>(p) + 1]; ++i)
        batch.reward[i] = reward_of(batch.prompt[static_cast<std::size_t>(p)].id, batch.response(i));
  }

  /// Everything an objective may need. Responses count as drawn by the policy with its logits of now,
  /// unless old_log_prob is already there; weights as sampled, unless they are.
  RolloutBatch filled(RolloutBatch batch) const {
    fill_reward(batch);
    batch.log_prob = policy.log_prob(batch);
    batch.ref_log_prob = reference.log_prob(batch);
    batch.anchor_log_prob = anchor.log_prob(batch);
    if (batch.old_log_prob.size() != batch.tokens()) batch.old_log_prob = batch.log_prob;
    if (batch.weight.size() != batch.responses()) batch.weight = uniform_weight(batch);
    RolloutBatch law = reference.enumerate(batch.prompt);
    fill_reward(law);
    annotate_exactly(batch, law);
    batch.ref_reward.clear();
    for (const Prompt& prompt : batch.prompt) {
      batch.ref_reward.push_back(reward[static_cast<std::size_t>(prompt.id)]);
      std::sort(batch.ref_reward.back().begin(), batch.ref_reward.back().end());
    }
    for (Index i = 0; i < batch.responses(); ++i)
      batch.answer.push_back(static_cast<std::int32_t>(policy.outcome(batch.response(i)) % 2));
    batch.old_value.resize(batch.tokens());
    for (Index t = 0; t < batch.tokens(); ++t) batch.old_value[t] = RngKey{3, 3}.normal(static_cast<std::uint64_t>(t));
    batch.value = batch.old_value;
    return batch;
  }
  static void annotate_exactly(RolloutBatch& batch, const RolloutBatch& law) { objective::annotate_exactly(batch, law); }

  /// One prompt with the given one-token responses.
  RolloutBatch group(const std::vector<Index>& outcomes, std::uint64_t prompt = 0) const {
    RolloutBatch batch;
    batch.add_prompt({.id = prompt, .text = {}, .tokens = {}});
    for (const Index k : outcomes) {
      const std::vector<TokenId> token = {static_cast<TokenId>(k)};
      batch.add_response(token, true);
    }
    return batch;
  }
};

using train::for_each_tuple;
}  // namespace vbon::test
