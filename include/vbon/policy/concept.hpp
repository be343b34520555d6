// vbon/policy/concept.hpp
//
// What a policy is: it samples responses and knows their log-probabilities. A trainable one also turns
// d loss / d log_prob into d loss / d parameter. A stepped one can be driven token by token (decoders).
#pragma once
#include <concepts>
#include <span>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/policy/draft.hpp"

namespace vbon {
template <class P>
concept Policy = Device<typename P::device_type> &&
    requires(P& policy, std::span<const Prompt> prompts, Index samples, RngKey key, const RolloutBatch& batch) {
  { policy.sample(prompts, samples, key) } -> std::same_as<RolloutBatch>;  // fills old_log_prob, weight
  { policy.log_prob(batch) } -> std::same_as<Array>;                       // [T] nats
};

template <class P>
concept TrainablePolicy = Policy<P> &&
    requires(P& policy, P& reference, const RolloutBatch& batch, const Array& dlog_prob, Array* ref_log_prob) {
  policy.backward(batch, dlog_prob);  // adds d loss / d parameter into gradients()
  policy.zero_gradients();            // ask for gradients() again afterwards
  policy.parameters_changed();        // after a step: refresh whatever is derived from the parameters
  // [T] exact per-step KL(policy || reference), nats; the log-probs of the reference are made on the way, if asked for
  { policy.kl(batch, reference, ref_log_prob) } -> std::same_as<Array>;
  { policy.parameters() } -> std::same_as<View<float, typename P::device_type>>;
  { policy.gradients() } -> std::same_as<View<float, typename P::device_type>>;
};

/// One that can keep what it computes to draw responses for the backward pass over them; sample_for_backward() draws as
/// sample() does.
template <class P>
concept RecordingPolicy = TrainablePolicy<P> &&
    requires(P& policy, std::span<const Prompt> prompts, Index samples, RngKey key) {
  { policy.sample_for_backward(prompts, samples, key) } -> std::same_as<RolloutBatch>;
};

/// Responses that grow together: extend() draws tokens for all live ones, append() gives each live one a
/// chosen token, keep() goes on with some of them (one named twice is copied and shares what it has so far).
template <class S>
concept PolicySession = requires(S& session, Index count, RngKey key, std::span<const TokenId> tokens,
                                 std::span<const Index> numbers) {
  { session.drafts() } -> std::convertible_to<const std::vector<policy::Draft>&>;
  { session.live() } -> std::same_as<std::vector<Index>>;
  { session.next_log_probs() } -> std::same_as<Tensor<float>>;                // [live, V] nats
  { session.room() } -> std::same_as<Index>;                                  // tokens before a limit ends the live ones
  { session.end_tokens() } -> std::convertible_to<std::span<const TokenId>>;  // none: no token means the end
  session.extend(count, key);
  session.append(tokens);
  session.keep(numbers);
};
template <class P>
concept SteppedPolicy = Policy<P> && requires(P& stepped, std::span<const Prompt> prompts, Index samples) {
  { stepped.open(prompts, samples) } -> PolicySession;
};
}  // namespace vbon
