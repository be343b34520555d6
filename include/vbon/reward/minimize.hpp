// vbon/reward/minimize.hpp
//
// Minimises a smooth convex function: limited-memory BFGS with a preconditioner and a backtracking line
// search. Deterministic. Source: Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4, 3.1.
#pragma once
#include <Eigen/Core>
#include <cmath>
#include <deque>

#include "vbon/core/error.hpp"

namespace vbon::reward {
struct MinimizeOptions {
  int memory = 12;          // past steps that shape the next one
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
/// @param evaluate      double(const VectorXd& x, VectorXd& gradient)
/// @param precondition  VectorXd(const VectorXd& g): about the inverse Hessian times g, symmetric and positive
/// @throws DomainError when the function is not finite at the start
template <class Evaluate, class Precondition>
Minimum minimize(Eigen::VectorXd& x, const Evaluate& evaluate, const Precondition& precondition, const MinimizeOptions& options = {}) {
  struct Pair {
    Eigen::VectorXd step, change;
    double inverse_curvature;
  };
  std::deque<Pair> past;
  Eigen::VectorXd gradient(x.size()), next_gradient(x.size());
  Minimum result{.value = evaluate(x, gradient)};
  require<DomainError>(std::isfinite(result.value) && gradient.allFinite(), "reward::minimize: a finite start expected, got ", result.value);
  const double enough = options.tolerance * gradient.norm();
  for (;; ++result.iterations) {
    result.gradient_norm = gradient.norm();
    result.converged = result.gradient_norm <= enough;
    if (result.converged || result.iterations == options.iterations) return result;

    // Two-loop recursion: direction = -H gradient.
    Eigen::VectorXd direction = gradient;
    std::deque<double> alpha;
    for (auto pair = past.rbegin(); pair != past.rend(); ++pair) {
      alpha.push_front(pair->inverse_curvature * pair->step.dot(direction));
      direction -= alpha.front() * pair->change;
    }
    direction = precondition(direction);
    for (std::size_t i = 0; i < past.size(); ++i)
      direction += (alpha[i] - past[i].inverse_curvature * past[i].change.dot(direction)) * past[i].step;
    direction = -direction;

    const double slope = gradient.dot(direction);
    double length = 1, value = 0;
    bool lower = false;
    Eigen::VectorXd next;
    for (int halving = 0; halving < 40 && !lower; ++halving, length /= 2) {
      next = x + length * direction;
      value = evaluate(next, next_gradient);
      // Near the minimum the values no longer tell: there a smaller gradient does.
      lower = value <= result.value + 1e-4 * length * slope ||
              (std::abs(value - result.value) <= 1e-13 * std::abs(result.value) && next_gradient.norm() < result.gradient_norm);
    }
    if (!lower) return result;  // rounding has the last word; the gradient norm tells how near it is
    Pair pair{next - x, next_gradient - gradient, 0};
    const double curvature = pair.step.dot(pair.change);
    if (curvature > 0) {
      pair.inverse_curvature = 1 / curvature;
      past.push_back(std::move(pair));
      if (past.size() > static_cast<std::size_t>(options.memory)) past.pop_front();
    }
    x = std::move(next);
    gradient = next_gradient;
    result.value = value;
  }
}
}  // namespace vbon::reward
