// vbon/decode/concept.hpp
//
// A decoder aims at inference time where an objective aims in training: it spends samples and reward calls
// on one prompt and returns one response. What it spent is part of the answer.
#pragma once
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/random.hpp"
#include "vbon/data/prompt.hpp"
#include "vbon/policy/concept.hpp"
#include "vbon/reward/concept.hpp"

namespace vbon {
namespace decode {
struct Candidate {
  std::vector<TokenId> token = {};
  std::string text = {};  // empty for policies without a tokenizer
  double log_prob = 0;    // nats, of the whole response under the policy that drew it
  double reward = 0;      // the score the decoder last saw
  bool finished = false;
};
struct Counters {
  Index sequences = 0;     // responses started
  Index tokens = 0;        // tokens generated
  Index reward_calls = 0;  // responses scored, partial ones included
  Counters& operator+=(const Counters& other) {
    sequences += other.sequences;
    tokens += other.tokens;
    reward_calls += other.reward_calls;
    return *this;
  }
};
}  // namespace decode

struct Decoded {
  Index best = 0;  // the candidate that is returned
  std::vector<decode::Candidate> candidate;
  decode::Counters counters;
  std::string note = {};  // what was done otherwise than asked for; mostly nothing
  const decode::Candidate& answer() const { return candidate[static_cast<std::size_t>(best)]; }
  double reward() const { return answer().reward; }
};

template <class D, class P, class R>
concept Decoder = Policy<P> && Reward<R> &&
    requires(const D& decoder, P& policy, const R& reward, const Prompt& prompt, RngKey key) {
  { D::name } -> std::convertible_to<std::string_view>;
  { decoder(policy, reward, prompt, key) } -> std::same_as<Decoded>;
};
}  // namespace vbon
