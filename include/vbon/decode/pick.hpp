// vbon/decode/pick.hpp
//
// Choices that every decoder makes with numbers it is given: the best, the best few, a weighted draw.
// Ties go to the lowest index.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/index.hpp"

namespace vbon::decode {
/// @throws DomainError `empty_group` or `nan_reward`
inline void require_scores(std::span<const double> score, std::string_view who) {
  require<DomainError>(!score.empty(), ErrorCode{"empty_group"}, who, ": at least one candidate expected, got none");
  for (std::size_t i = 0; i < score.size(); ++i)
    require<DomainError>(!std::isnan(score[i]), ErrorCode{"nan_reward"}, who, ": the score of candidate ", i, " is NaN");
}
/// For methods that compute with the scores, not only rank them.
template <class = void>
void require_finite_scores(std::span<const double> score, std::string_view who) {
  require_scores(score, who);
  for (std::size_t i = 0; i < score.size(); ++i)
    require<DomainError>(std::isfinite(score[i]), ErrorCode{"not_finite"}, who, ": a finite score expected for candidate ",
                         i, ", got ", score[i], "; decoders that only rank, as best_of_n, take infinite ones");
}
inline void require_count(double count, std::string_view setting, std::string_view who) {
  require<DomainError>(count >= 1, who, ": ", setting, " >= 1 expected, got ", count);
}

inline Index best_index(std::span<const double> score) {
  return std::max_element(score.begin(), score.end()) - score.begin();
}
inline Index worst_index(std::span<const double> score) {
  return std::min_element(score.begin(), score.end()) - score.begin();
}
/// The `count` highest, best first.
template <class = void>
std::vector<Index> best_indices(std::span<const double> score, Index count) {
  std::vector<Index> order(score.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(count));
  return order;
}

/// softmax of score / temperature; temperature 0 shares evenly among the best, +inf among all.
/// @throws DomainError for no scores, scores that are not finite, a negative temperature
template <class = void>
std::vector<double> softmax_weights(std::span<const double> score, double temperature) {
  require_finite_scores(score, "softmax_weights");
  require<DomainError>(temperature >= 0, "softmax_weights: temperature >= 0 expected, got ", temperature);
  const double best = *std::max_element(score.begin(), score.end());
  std::vector<double> weight(score.size());
  double total = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    // By the gap to the best of those drawn: neither e^x overflows nor all of them vanish.
    weight[i] = temperature == 0 ? (score[i] == best ? 1 : 0) : std::exp((score[i] - best) / temperature);
    total += weight[i];
  }
  for (double& w : weight) w /= total;
  return weight;
}

/// The smallest index whose cumulative weight exceeds u; the last one of positive weight when rounding leaves none.
inline Index pick(std::span<const double> weight, double u) {
  double cumulative = 0;
  Index last = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    if (weight[i] > 0) last = static_cast<Index>(i);
    cumulative += weight[i];
    if (cumulative > u && weight[i] > 0) return static_cast<Index>(i);
  }
  return last;
}
}  // namespace vbon::decode
