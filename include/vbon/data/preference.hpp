// vbon/data/preference.hpp
//
// A preference between two responses to one prompt, as pair losses (DPO, IPO, ...) learn from it.
#pragma once
#include <span>
#include <vector>

#include "vbon/data/rollout_batch.hpp"

namespace vbon {
struct Preference {
  Prompt prompt;
  std::vector<TokenId> chosen, rejected;  // end token included where the response ends
};

/// Pairs as groups of two with the rewards 1 and 0, which every pair rule turns back into the pair.
/// @param which  numbers of the pairs to take
template <class = void>
RolloutBatch preference_batch(std::span<const Preference> pairs, std::span<const std::size_t> which) {
  RolloutBatch batch;
  for (const std::size_t i : which) {
    batch.add_prompt(pairs[i].prompt);
    batch.add_response(pairs[i].chosen, true);
    batch.add_response(pairs[i].rejected, true);
  }
  batch.reward.resize(batch.responses());
  for (Index i = 0; i < batch.responses(); ++i) batch.reward[i] = i % 2 == 0 ? 1 : 0;
  batch.weight = uniform_weight(batch);
  return batch;
}
}  // namespace vbon
