// vbon/policy/concept.hpp
//
// What a policy is: it samples responses and knows their log-probabilities. A trainable one also turns
// d loss / d log_prob into d loss / d parameter. A stepped one can be driven token by token (decoders).
#pragma once
#include <concepts>
#include <span>

#include "vbon/core/device.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/data/rollout_batch.hpp"

namespace vbon {
template <class P>
concept Policy = Device<typename P::device_type> &&
    requires(P& policy, std::span<const Prompt> prompts, Index samples, RngKey key, const RolloutBatch& batch) {
      { policy.sample(prompts, samples, key) } -> std::same_as<RolloutBatch>;  // fills old_log_prob, weight
      { policy.log_prob(batch) } -> std::same_as<Array>;                       // [T] nats
    };

template <class P>
concept TrainablePolicy = Policy<P> && requires(P& policy, P& reference, const RolloutBatch& batch, const Array& dlog_prob) {
  policy.backward(batch, dlog_prob);  // adds d loss / d parameter into gradients()
  policy.zero_gradients();
  policy.parameters_changed();  // after a step: refresh whatever is derived from the parameters
  { policy.kl(batch, reference) } -> std::same_as<Array>;  // [T] exact per-step KL(policy || reference), nats
  { policy.parameters() } -> std::same_as<View<float, typename P::device_type>>;
  { policy.gradients() } -> std::same_as<View<float, typename P::device_type>>;
};
}  // namespace vbon
