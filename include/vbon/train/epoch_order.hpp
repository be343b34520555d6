// vbon/train/epoch_order.hpp
//
// Which examples a step takes.
#pragma once
#include <numeric>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/types.hpp"

namespace vbon::train {
/// The examples (prompts, pairs) of one step: epoch after epoch, each in its own random order.
template <class = void>
std::vector<std::size_t> examples_of_step(std::size_t count, Index per_step, Index step, RngKey key) {
  require<ConfigError>(count > 0, "examples_of_step: at least one example expected");
  std::vector<std::size_t> chosen, order(count);
  std::size_t held = count;  // no epoch shuffled yet: epochs are at most 2^63
  for (Index i = 0; i < per_step; ++i) {
    const auto place = static_cast<std::size_t>(step * per_step + i);
    const std::size_t epoch = place / count;
    if (i == 0 || epoch != held) {
      std::iota(order.begin(), order.end(), std::size_t{0});
      const RngKey shuffle = key.fold(epoch);
      for (std::size_t k = count; k > 1; --k)
        std::swap(order[k - 1], order[static_cast<std::size_t>(shuffle.below(k, static_cast<Index>(k)))]);
      held = epoch;
    }
    chosen.push_back(order[place % count]);
  }
  return chosen;
}
}  // namespace vbon::train
