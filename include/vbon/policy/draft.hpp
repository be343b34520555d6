// vbon/policy/draft.hpp
//
// One response under way in a session that is driven step by step.
#pragma once
#include <vector>

#include "vbon/core/types.hpp"

namespace vbon::policy {
struct Draft {
  Index prompt = 0;                   // number of its prompt in the session
  Index sample = 0;                   // addresses its draws
  std::vector<TokenId> token = {};    // [length] end token included
  std::vector<double> log_prob = {};  // [length] nats, of the law really sampled
  bool finished = false;              // ended by itself
  bool live = true;                   // neither finished nor at a limit
};
}  // namespace vbon::policy
