// vbon/objective/anchor.hpp
//
// A second copy of the weights that follows the policy: frozen, swapped in whole every M steps, or an
// exponential moving average. Iterated best-of-2 on a moving anchor reaches best-of-2^T.
#pragma once
#include <span>

#include "vbon/objective/check.hpp"

namespace vbon::objective {
/// anchor <- (1 - eta) anchor + eta policy.
/// @throws ShapeError when sizes differ; DomainError for eta outside [0, 1]
template <class T>
void move_anchor(std::span<T> anchor, std::span<const T> policy, double eta) {
  require_within("anchor", "eta", eta, 0, 1);
  require<ShapeError>(anchor.size() == policy.size(), "anchor: as many values as the policy has expected, got ",
                      anchor.size(), " and ", policy.size());
  for (std::size_t i = 0; i < anchor.size(); ++i)
    anchor[i] = static_cast<T>((1 - eta) * static_cast<double>(anchor[i]) + eta * static_cast<double>(policy[i]));
}

/// When to move: eta every step (an average), or all the way every `swap_every` steps. An objective with an
/// anchor names the one of its paper as a static member `anchor_rule`.
struct Anchor {
  double eta = 0.02;     // share of the policy taken in each step; 0: frozen
  Index swap_every = 0;  // > 0: instead, replace the anchor after every so many steps

  template <class T>
  void after_step(Index step, std::span<T> anchor, std::span<const T> policy) const {
    if (swap_every == 0) return move_anchor(anchor, policy, eta);
    if ((step + 1) % swap_every == 0) move_anchor(anchor, policy, 1.0);
  }
};
}  // namespace vbon::objective
