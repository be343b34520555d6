// vbon/objective/quantile_regression.hpp
//
// Pointwise regression of the log-ratio on a reward whose partition function is known: the quantile u of
// a reference sample is uniform, so log Z of Phi(u)/beta is an integral over [0, 1] and needs no samples:
//
//   L = mean (Phi(u) - beta log Z - beta (log pi - log pi_ref))^2.
//
// With Phi = (N-1) log u and beta = 1 the target log-ratio is log N + (N-1) log u: offline variational
// best-of-N. Source: Matrenok et al., "Quantile reward policy optimization", arXiv 2507.08068 (identity);
// the best-of-N case is this library's.
#pragma once
#include <algorithm>
#include <numbers>
#include <utility>

#include "vbon/objective/cdf_side.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/quantile.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
namespace detail {
/// Nodes in [0, 1] and weights of the 64-point Gauss-Legendre rule, by Newton's method on P_64.
inline std::array<std::pair<double, double>, 64> gauss_legendre() {
  constexpr int points = 64;
  std::array<std::pair<double, double>, points> rule;
  for (int i = 0; i < points; ++i) {
    double x = std::cos(std::numbers::pi * (i + 0.75) / (points + 0.5)), slope = 1;
    for (int step = 0; step < 8; ++step) {  // quadratic convergence from a close start
      double p = 1, previous = 0;
      for (int k = 1; k <= points; ++k) {
        const double next = ((2 * k - 1) * x * p - (k - 1) * previous) / k;
        previous = p;
        p = next;
      }
      slope = points * (x * p - previous) / (x * x - 1);
      x -= p / slope;
    }
    rule[static_cast<std::size_t>(i)] = {0.5 * (1 + x), 1 / ((1 - x * x) * slope * slope)};
  }
  return rule;
}
}  // namespace detail

/// log of the integral of u^power over [0, 1], u at least `floor` [power >= 0].
inline double log_power_integral(double power, double floor) {
  // floor^(p + 1) below the floor, (1 - floor^(p + 1))/(p + 1) above: together (1 + p floor^(p + 1))/(p + 1).
  return std::log1p(power * std::pow(floor, power + 1)) - std::log1p(power);
}

/// log of the integral of exp(Phi(u)/beta) over [0, 1], nats: closed forms for identity and the logs, otherwise quadrature
/// by 64 points on each of many pieces. One rule over all of [0, 1] would do while the integrand is smooth, but at
/// Phi = e^(10 u), beta = 1 all its mass lies in the last 1e-5 and the rule is off by 71 nats of 22,014. The pieces halve
/// towards both ends, where these transforms are steepest.
/// @throws DomainError for beta <= 0, and where Phi/beta overflows
template <class = void>
double log_partition(const Phi& phi, double beta) {
  require_positive("log_partition", "beta", beta);
  const double inverse = 1 / beta;
  switch (phi.kind) {
    case PhiKind::identity:
      return inverse + std::log(beta) + log1mexp(-inverse);
    case PhiKind::log:
      return log_power_integral(inverse, phi.floor);
    case PhiKind::bon_log:
      return log_power_integral((phi.n - 1) * inverse, phi.floor);
    default:
      break;
  }
  static const auto rule = detail::gauss_legendre();
  constexpr int halvings = 48;                             // a mass within 2^-48 of an end is that of the end itself
  const double peak = std::max(phi(0), phi(1)) * inverse;  // both transforms are monotone
  require<DomainError>(std::isfinite(peak), "log_partition: Phi(u)/beta is no double at beta = ", beta, " and t = ", phi.t,
                       "; give a larger beta or a smaller t");
  double sum = 0;
  for (int k = 1; k <= halvings; ++k) {
    const double width = std::ldexp(0.5, -k) * (k == halvings ? 2 : 1);  // the last piece reaches the end
    const double from_end = k == halvings ? 0 : width;
    for (const auto& [t, weight] : rule) {
      const double distance = from_end + width * t;
      sum += weight * width * (std::exp(phi(distance) * inverse - peak) + std::exp(phi(1 - distance) * inverse - peak));
    }
  }
  return peak + std::log(sum);
}

/// The squared log-ratio loss of one response: residual = target - beta log_ratio.
struct PointGrad {
  double loss = 0;
  double slope = 0;  // d loss / d log pi
};
inline PointGrad squared_residual(double target, double log_ratio, double beta) {
  const double residual = target - beta * log_ratio;
  return {residual * residual, -2 * beta * residual};
}

/// With `centred` the residuals of a prompt are taken against their weighted mean, which is the best guess of
/// any normaliser: the least squares over all pairs of responses. It keeps the optimum, and the gradient no
/// longer carries the noise of a common offset, which is what counts when only a few extreme responses are used.
///
/// Any samples serve; u comes from log_cdf, log_cdf_le on the side asked for (for cached samples annotate
/// with Drawn::from_cache). Mean over prompts of the weighted mean over responses.
/// @throws DomainError for u outside [0, 1], u = 0 under a logarithm without floor, beta <= 0
struct QuantileRegression {
  static constexpr std::string_view name = "quantile_regression";
  static constexpr Needs needs{.ref_log_prob = true, .ref_reward = true, .min_group = 0, .reference_group = 1};
  using laws = Laws<law::Surrogate, law::Ranks, law::PerPrompt>;

  Phi phi = {.kind = PhiKind::bon_log};
  double beta = 1;
  Side side = Side::mid;
  bool centred = false;
  void each_option(auto&& f) {
    phi.each_option(f);
    f("beta", beta, "weight of the log-ratio, > 0");
    f("side", side, "the quantile at ties: strict, mid or weak");
    f("centred", centred, "compare the responses of a prompt with each other: log Z drops out");
  }
  constexpr bool by_prompt() const { return true; }

  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    const double log_z = log_partition(phi, beta);
    require_groups(name, batch);
    require_finite(name, "weight", batch.weight, batch.responses());
    const Array log_u = side_log_cdf(name, batch, side), ratio = log_ratio(name, batch);
    const Array share = batch.weight / static_cast<double>(batch.prompts());
    ObjectiveResult result;
    Array slope(batch.responses());
    for (const Group& g : groups(batch)) {
      double offset = beta * log_z;
      if (centred) {
        offset = 0;
        for (Index i = g.begin; i < g.end(); ++i) offset += batch.weight[i] * (phi(std::exp(log_u[i])) - beta * ratio[i]);
      }
      for (Index i = g.begin; i < g.end(); ++i) {
        const PointGrad point = squared_residual(phi(std::exp(log_u[i])) - offset, ratio[i], beta);
        result.loss += share[i] * point.loss;
        slope[i] = share[i] * point.slope;
      }
    }
    result.dlog_prob = per_token(batch, slope);
    return result;
  }
};
}  // namespace vbon::objective
