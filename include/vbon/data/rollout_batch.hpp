// vbon/data/rollout_batch.hpp
//
// The table that travels through the whole story: P prompts, a group of responses for each, and one
// array per quantity that some stage adds. Tokens lie end to end without padding. An array that no
// stage has filled yet is empty.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/data/prompt.hpp"

namespace vbon {
/// P prompts with groups of responses; R = group_offset.back() responses, T = offset.back() tokens.
struct RolloutBatch {
  std::vector<Prompt> prompt;             // [P]
  std::vector<Index> group_offset = {0};  // [P+1] responses of prompt p: [group_offset[p], group_offset[p+1])
  std::vector<Index> offset = {0};        // [R+1] tokens of response i: [offset[i], offset[i+1])
  std::vector<TokenId> token;             // [T] end-of-sequence token included where one was drawn
  std::vector<std::string> text;          // [R] decoded responses; empty for policies without text
  std::vector<std::uint8_t> finished;     // [R] 1: ended by itself, 0: cut at the token limit

  Array weight;                      // [R] sums to 1 over a prompt: 1/M when sampled, pi(y) when enumerated
  Array reward;                      // [R] reward of the response
  Array log_cdf;                     // [R] log P_ref(r < r(y)), nats
  Array log_tie;                     // [R] log P_ref(r = r(y)), nats; NaN where no cached reward ties (then tau = ref(y))
  Array log_cdf_le;                  // [R] log P_ref(r <= r(y)), nats
  std::vector<std::int32_t> answer;  // [R] answer class, for majority votes
  std::vector<std::vector<double>> ref_reward;  // [P] rewards of reference samples, ascending

  Array log_prob;         // [T] under the policy at its parameters of now, nats
  Array ref_log_prob;     // [T] under the reference policy
  Array old_log_prob;     // [T] under the policy that drew the sample
  Array anchor_log_prob;  // [T] under a moving anchor
  Array value;            // [T] critic
  Array old_value;        // [T] critic when the sample was drawn

  Index prompts() const { return static_cast<Index>(prompt.size()); }
  Index responses() const { return group_offset.back(); }
  Index tokens() const { return offset.back(); }
  Index samples(Index p) const { return group_offset[u(p) + 1] - group_offset[u(p)]; }
  Index length(Index i) const { return offset[u(i) + 1] - offset[u(i)]; }
  std::span<const TokenId> response(Index i) const { return std::span(token).subspan(u(offset[u(i)]), u(length(i))); }

  /// Appends one response to the group of the last prompt.
  template <class = void>
  void add_response(std::span<const TokenId> tokens_of_response, bool ended) {
    token.insert(token.end(), tokens_of_response.begin(), tokens_of_response.end());
    offset.push_back(static_cast<Index>(token.size()));
    finished.push_back(ended ? 1 : 0);
    ++group_offset.back();
  }
  /// Starts the (still empty) group of the next prompt.
  template <class = void>
  void add_prompt(Prompt next) {
    prompt.push_back(std::move(next));
    group_offset.push_back(group_offset.back());
  }
  /// Appends a prompt with one response, both known by their text alone: what a reward needs.
  template <class = void>
  void add_text(std::string prompt_text, std::string response_text) {
    add_prompt({.id = prompt.size(), .text = std::move(prompt_text), .tokens = {}});
    add_response({}, true);
    text.push_back(std::move(response_text));
  }

 private:
  static std::size_t u(Index i) { return static_cast<std::size_t>(i); }
};

/// Sums a per-token array over each response: [T] -> [R].
template <class = void>
Array per_response(const RolloutBatch& batch, const Array& per_token_values) {
  require<ShapeError>(per_token_values.size() == batch.tokens(), "per_response: ", batch.tokens(),
                      " token values expected, got ", per_token_values.size());
  Array sums(batch.responses());
  for (Index i = 0; i < batch.responses(); ++i)
    sums[i] = per_token_values.segment(batch.offset[static_cast<std::size_t>(i)], batch.length(i)).sum();
  return sums;
}

/// Repeats a per-response array over its tokens: [R] -> [T]. The gradient of per_response.
template <class = void>
Array per_token(const RolloutBatch& batch, const Array& per_response_values) {
  require<ShapeError>(per_response_values.size() == batch.responses(), "per_token: ", batch.responses(),
                      " response values expected, got ", per_response_values.size());
  Array values(batch.tokens());
  for (Index i = 0; i < batch.responses(); ++i)
    values.segment(batch.offset[static_cast<std::size_t>(i)], batch.length(i)) = per_response_values[i];
  return values;
}

/// 1 / (size of its group) for every response: the weights of sampled groups.
template <class = void>
Array uniform_weight(const RolloutBatch& batch) {
  Array weight(batch.responses());
  for (Index p = 0; p < batch.prompts(); ++p)
    weight.segment(batch.group_offset[static_cast<std::size_t>(p)], batch.samples(p)) =
        1.0 / static_cast<double>(std::max<Index>(batch.samples(p), 1));
  return weight;
}
}  // namespace vbon
