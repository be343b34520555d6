// vbon/reward/agreement.hpp
//
// How well predicted scores agree with wanted ones: in sign, linearly (Pearson), in order (Spearman).
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::reward {
struct Agreement {
  double sign_accuracy = 0;  // share of equal signs among the wanted scores that are not the threshold
  double pearson = 0;
  double spearman = 0;     // Pearson of the ranks, ties at their mean rank
  Index signed_count = 0;  // scores that sign_accuracy is over
};

namespace detail {
/// 0 where one side does not vary.
template <class Array = vbon::Array>
double pearson(std::span<const double> a, std::span<const double> b) {
  const Eigen::Map<const Array> x(a.data(), static_cast<Index>(a.size())), y(b.data(), static_cast<Index>(b.size()));
  const Array dx = x - x.mean(), dy = y - y.mean();
  const double scale = std::sqrt(dx.square().sum() * dy.square().sum());
  return scale > 0 ? (dx * dy).sum() / scale : 0;
}
/// Ranks from 0; equal values share their mean rank.
template <class = void>
std::vector<double> ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) rank[order[i]] = static_cast<double>(begin + end - 1) / 2;
    begin = end;
  }
  return rank;
}
}  // namespace detail

/// @param threshold  what counts as neither positive nor negative, in both
/// @throws ShapeError when sizes differ or are 0
template <class = void>
Agreement agreement(std::span<const double> predicted, std::span<const double> wanted, double threshold = 0) {
  require<ShapeError>(predicted.size() == wanted.size() && !wanted.empty(), "reward::agreement: ", wanted.size(),
                      " predictions expected (at least one), got ", predicted.size());
  Agreement result;
  Index right = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == threshold) continue;
    ++result.signed_count;
    right += (predicted[i] > threshold) == (wanted[i] > threshold) ? 1 : 0;
  }
  result.sign_accuracy = result.signed_count > 0 ? static_cast<double>(right) / static_cast<double>(result.signed_count) : 0;
  result.pearson = detail::pearson(predicted, wanted);
  result.spearman = detail::pearson(detail::ranks(predicted), detail::ranks(wanted));
  return result;
}
}  // namespace vbon::reward
