// vbon/reward/concept.hpp
//
// A reward gives every response of a batch one number. Only its order matters to best-of-N.
#pragma once
#include <concepts>
#include <string_view>

#include "vbon/data/rollout_batch.hpp"

namespace vbon {
template <class R>
concept Reward = requires(const R& reward, const RolloutBatch& batch) {
  { R::name } -> std::convertible_to<std::string_view>;
  { reward(batch) } -> std::same_as<Array>;  // [R]
};
}  // namespace vbon
