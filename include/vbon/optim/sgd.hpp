// vbon/optim/sgd.hpp
//
// Stochastic gradient descent, with momentum when asked: v = momentum v + g, p = p - rate v. Enough for
// tabular policies and for tests; it keeps no state without momentum.
#pragma once
#include <vector>

#include "vbon/core/tensor.hpp"
#include "vbon/optim/concept.hpp"
#include "vbon/optim/parameter_range.hpp"

namespace vbon::optim {
struct Sgd {
  double rate = 0.1;
  double momentum = 0;
  double weight_decay = 0;                  // decoupled: p = p (1 - rate decay) first
  std::vector<ParameterRange> ranges = {};  // in order; empty: all parameters alike
  Tensor<float> velocity = {};              // [parameters], with momentum only

  /// @throws ShapeError   when sizes differ from each other or from the velocity
  /// @throws DomainError  when a setting leaves its range
  template <class Real = float>
  void step(View<float> parameters, View<const float> gradients, double gradient_scale = 1) {
    require<ShapeError>(parameters.size() == gradients.size(), "Sgd: as many gradients as parameters expected, got ",
                        gradients.size(), " and ", parameters.size());
    require<DomainError>(rate >= 0 && weight_decay >= 0, "Sgd: rate and weight_decay >= 0 expected, got ", rate, " and ",
                         weight_decay);
    require<DomainError>(momentum >= 0 && momentum < 1, "Sgd: momentum in [0, 1) expected, got ", momentum);
    if (momentum > 0 && velocity.empty()) velocity = Tensor<float>(parameters.size());
    require<ShapeError>(velocity.empty() || velocity.size() == parameters.size(), "Sgd: velocity for ", velocity.size(),
                        " parameters, got ", parameters.size());
    for_each_piece(parameters.size(), Index{1} << 15, ranges, [&](Index begin, Index end, const ParameterRange& range) {
      if (range.rate == 0) return;
      const double piece_rate = rate * range.rate;
      auto p = View<Real>(parameters.slice(begin, end - begin)).array();
      const auto g = View<const Real>(gradients.slice(begin, end - begin)).array() * static_cast<float>(gradient_scale);
      p *= static_cast<float>(1 - piece_rate * weight_decay * range.weight_decay);
      if (velocity.empty()) {
        p -= static_cast<float>(piece_rate) * g;
      } else {
        auto v = View<Real>(velocity.view().slice(begin, end - begin)).array();
        v = static_cast<float>(momentum) * v + g;
        p -= static_cast<float>(piece_rate) * v;
      }
    });
  }
};
}  // namespace vbon::optim
