// vbon/eval/pareto.hpp
//
// The trade between staying close to the reference (low KL) and winning (high win rate, or reward).
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/divergence.hpp"
#include "vbon/bon/expected_reward.hpp"

namespace vbon::eval {
struct ParetoPoint {
  double kl = 0;   // nats, less is better
  double win = 0;  // win rate or mean reward, more is better
};

namespace detail {
inline void require_metrics(std::span<const ParetoPoint> points, std::string_view where) {
  for (std::size_t i = 0; i < points.size(); ++i)
    require<DomainError>(!std::isnan(points[i].kl) && !std::isnan(points[i].win), ErrorCode{"nan_metric"}, where, ": point ", i,
                         " is NaN");
}
}  // namespace detail

/// Indices (ascending) of the points that no other point beats: none has KL <= and win >= with one of them
/// strict. Equal points all stay. No points: empty.
/// @throws DomainError nan_metric
template <class = void>
std::vector<Index> pareto_frontier(std::span<const ParetoPoint> points) {
  detail::require_metrics(points, "eval::pareto_frontier");
  std::vector<Index> order;
  for (Index i = 0; i < static_cast<Index>(points.size()); ++i) order.push_back(i);
  const auto at = [&](Index i) -> const ParetoPoint& { return points[static_cast<std::size_t>(i)]; };
  // By rising KL, best win first: a point stays if it beats every win seen at lower KL, or equals the last kept.
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return at(a).kl != at(b).kl ? at(a).kl < at(b).kl : at(a).win > at(b).win;
  });
  std::vector<Index> frontier;
  for (const Index i : order)
    if (frontier.empty() || at(i).win > at(frontier.back()).win ||
        (at(i).win == at(frontier.back()).win && at(i).kl == at(frontier.back()).kl))
      frontier.push_back(i);
  std::sort(frontier.begin(), frontier.end());
  return frontier;
}

/// Area of the union of [KL_i, kl_max] x [win_min, win_i]. Points outside that corner add nothing.
/// @throws DomainError nan_metric
template <class = void>
double hypervolume(std::span<const ParetoPoint> points, double kl_max, double win_min) {
  detail::require_metrics(points, "eval::hypervolume");
  require<DomainError>(!std::isnan(kl_max) && !std::isnan(win_min), ErrorCode{"nan_metric"}, "eval::hypervolume: the reference point is NaN");
  std::vector<ParetoPoint> inside;
  for (const ParetoPoint& point : points)
    if (point.kl < kl_max && point.win > win_min) inside.push_back(point);
  std::sort(inside.begin(), inside.end(), [](const ParetoPoint& a, const ParetoPoint& b) { return a.kl < b.kl; });
  double area = 0, best = win_min;
  for (const ParetoPoint& point : inside)
    if (point.win > best) {  // a strip that no point of lower KL has covered
      area += (kl_max - point.kl) * (point.win - best);
      best = point.win;
    }
  return area;
}

/// The point of best-of-N for a reward without ties: (log N - (N-1)/N, N/(N+1)).
/// @throws DomainError invalid_n
inline ParetoPoint ideal_point(double n) { return {bon::kl_to_reference(n), bon::win_rate(n)}; }
}  // namespace vbon::eval
