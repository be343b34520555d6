// vbon/policy/linear_critic.hpp
//
// The critic of PPO: V(s_t) = w . phi(s_t) + b on what the policy computes anyway at the state s_t from which
// token t is drawn. It reads the policy's features and does not train them, so it costs a forward pass and a
// vector of weights instead of a second network, and no value gradient disturbs the policy.
#pragma once
#include <algorithm>
#include <concepts>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/policy/concept.hpp"

namespace vbon {
/// A policy with states that a critic can read: features of Euclidean length 1, [T, C], row t for the state
/// from which token t was drawn.
template <class P>
concept FeaturedPolicy = Policy<P> && requires(P& policy, const RolloutBatch& batch) {
  { policy.features(batch) } -> std::same_as<Tensor<float>>;
};

namespace policy {
class LinearCritic {
 public:
  LinearCritic() = default;
  /// Values every state 0.
  /// @param width  C, the features of a state
  template <class = void>
  explicit LinearCritic(Index width) : parameters_(width + 1), gradients_(width + 1) {}

  Index width() const { return std::max<Index>(0, parameters_.size() - 1); }

  /// Values of states [T].
  /// @throws ShapeError when the features are not C wide
  Array value(View<const float> features) const {
    check(features);
    Array values(features.rows());
    for (Index t = 0; t < features.rows(); ++t) {
      const View<const float> row = features.row(t);
      double sum = static_cast<double>(parameters_[width()]);
      for (Index c = 0; c < width(); ++c) sum += static_cast<double>(parameters_[c]) * static_cast<double>(row[c]);
      values[t] = sum;
    }
    return values;
  }
  /// Sets the gradients from d loss / d value [T].
  template <class = void>
  void backward(View<const float> features, const Array& dvalue) {
    check(features);
    require<ShapeError>(dvalue.size() == features.rows(), "LinearCritic: ", features.rows(), " derivatives expected, got ",
                        dvalue.size());
    Array sum = Array::Zero(width() + 1);
    for (Index t = 0; t < features.rows(); ++t) {
      const View<const float> row = features.row(t);
      for (Index c = 0; c < width(); ++c) sum[c] += dvalue[t] * static_cast<double>(row[c]);
      sum[width()] += dvalue[t];
    }
    std::transform(sum.begin(), sum.end(), gradients_.data(), [](double x) { return static_cast<float>(x); });
  }

  /// [C + 1] the weights and the bias.
  View<float> parameters() { return parameters_.view(); }
  View<const float> gradients() const { return gradients_.view(); }

 private:
  void check(View<const float> features) const {
    require<ShapeError>(features.cols() == width(), "LinearCritic: features of width ", width(), " expected, got ",
                        features.cols());
  }
  Tensor<float> parameters_, gradients_;  // [C + 1]
};
}  // namespace policy
}  // namespace vbon
