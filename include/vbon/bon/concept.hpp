// vbon/bon/concept.hpp
//
// An estimator of the reference policy's reward CDF, from the rewards of M reference samples.
#pragma once
#include <concepts>
#include <span>

namespace vbon {
template <class E>
concept CdfEstimator = requires(const E& estimator, std::span<const double> sorted, double reward) {
  { estimator.log_cdf(sorted, reward) } -> std::same_as<double>;     // log P(r < reward), nats, <= 0
  { estimator.log_cdf_le(sorted, reward) } -> std::same_as<double>;  // log P(r <= reward), nats, <= 0
};
}  // namespace vbon
