// vbon/optim/concept.hpp
//
// An optimiser moves parameters against their gradients. It owns its moments.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon {
template <class O, class D>
concept Optimizer = Device<D> && requires(O& optimizer, View<float, D> parameters, View<float, D> gradients) {
  optimizer.step(parameters, gradients);
};
}  // namespace vbon
