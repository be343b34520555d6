// vbon/reward/minimize.hpp
//
// Minimises a smooth convex function: limited-memory BFGS with a preconditioner and a backtracking line
// search. Deterministic. Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4, 3.1.
#pragma once
#include <cmath>
#include <deque>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/reward/dense.hpp"

namespace vbon::reward {
struct MinimizeOptions {
  int memory = 12;  // past steps that shape the next one
  int iterations = 500;
  double tolerance = 1e-8;  // of the gradient norm, relative to its norm at the start
};
struct Minimum {
  double value = 0;
  double gradient_norm = 0;
  int iterations = 0;
  bool converged = false;
};

/// @param x             start, then the minimum
/// @param evaluate      double(const Vector& x, Vector& gradient)
/// @param precondition  void(Vector& g): multiplies by about the inverse Hessian, symmetric and positive
/// @throws DomainError when the function is not finite at the start
template <class Evaluate, class Precondition>
Minimum minimize(Vector& x, const Evaluate& evaluate, const Precondition& precondition,
                 const MinimizeOptions& options = {}) {
  struct Pair {
    Vector step, change;
    double inverse_curvature, alpha;
  };
  std::deque<Pair> past;
  Vector gradient(x.size()), next_gradient(x.size()), next(x.size());
  Minimum result{.value = evaluate(x, gradient)};
  result.gradient_norm = norm(gradient);
  require<DomainError>(std::isfinite(result.value) && std::isfinite(result.gradient_norm),
                       "reward::minimize: a finite start expected, got ", result.value);
  const double enough = options.tolerance * result.gradient_norm;
  for (;; ++result.iterations) {
    result.converged = result.gradient_norm <= enough;
    if (result.converged || result.iterations == options.iterations) return result;

    // Two-loop recursion: descent = H gradient.
    Vector descent = gradient;
    for (auto pair = past.rbegin(); pair != past.rend(); ++pair) {
      pair->alpha = pair->inverse_curvature * dot(pair->step, descent);
      add_scaled(-pair->alpha, pair->change, descent);
    }
    precondition(descent);
    for (const Pair& pair : past)
      add_scaled(pair.alpha - pair.inverse_curvature * dot(pair.change, descent), pair.step, descent);

    const double slope = -dot(gradient, descent);
    double value = 0, next_norm = 0;
    bool lower = false;
    double length = 1;
    for (int halving = 0; halving < 40 && !lower; ++halving, length /= 2) {
      next = x;
      add_scaled(-length, descent, next);
      value = evaluate(next, next_gradient);
      next_norm = norm(next_gradient);
      // Near the minimum the values no longer tell: there a smaller gradient does.
      lower = value <= result.value + 1e-4 * length * slope ||
              (std::abs(value - result.value) <= 1e-13 * std::abs(result.value) && next_norm < result.gradient_norm);
    }
    if (!lower) return result;  // rounding has the last word; the gradient norm tells how near it is
    Pair pair{next, next_gradient, 0, 0};
    add_scaled(-1, x, pair.step);
    add_scaled(-1, gradient, pair.change);
    const double curvature = dot(pair.step, pair.change);
    if (curvature > 0) {
      pair.inverse_curvature = 1 / curvature;
      past.push_back(std::move(pair));
      if (past.size() > static_cast<std::size_t>(options.memory)) past.pop_front();
    }
    std::swap(x, next);
    std::swap(gradient, next_gradient);
    result.value = value;
    result.gradient_norm = next_norm;
  }
}
}  // namespace vbon::reward
