// vbon/optim/clip.hpp
//
// The global gradient norm and the factor that bounds it. Squares are summed in chunks of fixed size,
// each in double, and the chunks in order: the same bits on any number of threads.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::optim {
/// Euclidean norm of all gradients.
template <class Values = Eigen::ArrayXf>
double global_norm(View<const float> gradients) {
  constexpr Index chunk = Index{1} << 15;
  std::vector<double> squares(static_cast<std::size_t>((gradients.size() + chunk - 1) / chunk));
  parallel_for(gradients.size(), chunk, [&](Index begin, Index end) {
    const Eigen::Map<const Values> part(gradients.data() + begin, end - begin);
    squares[static_cast<std::size_t>(begin / chunk)] = part.template cast<double>().square().sum();
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

/// The factor that brings a norm down to `max_norm`: min(1, max_norm / (norm + 1e-6)).
/// @throws DomainError when max_norm is not positive
inline double clip_factor(double norm, double max_norm) {
  require<DomainError>(max_norm > 0, "clip_factor: max_norm > 0 expected, got ", max_norm);
  return std::min(1.0, max_norm / (norm + 1e-6));
}

/// Scales the gradients so that their norm is at most `max_norm`. Optimisers also take the factor itself,
/// which saves this pass over memory.
/// @return the norm before
template <class Values = Eigen::ArrayXf>
double clip_global_norm(View<float> gradients, double max_norm) {
  const double norm = global_norm(gradients);
  const auto factor = static_cast<float>(clip_factor(norm, max_norm));
  if (factor < 1)
    parallel_for(gradients.size(), Index{1} << 15,
                 [&](Index begin, Index end) { Eigen::Map<Values>(gradients.data() + begin, end - begin) *= factor; });
  return norm;
}
}  // namespace vbon::optim
