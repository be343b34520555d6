// vbon/objective/optimum.hpp
//
// Where the objectives end on K outcomes: the law that minimises the population loss, by a closed form where there is
// one, otherwise by solving the conditions of stationarity, written out by hand. Nothing here calls an objective, so a
// gradient that is wrong cannot agree with these laws.
//
//   vbon, bon_sft, bond (exact)       pi_bon
//   vbon_bound, vbon_ppo              pi_ref G^(N-1) / Z
//   reinforce, rloo, ppo              pi_ref e^(r/beta) / Z
//   infalign, quantile_regression     pi_ref e^(Phi(u)/beta) / Z
//   dpo, ipo                          pi_ref e^(r/beta) / Z under Bradley-Terry labels, pi_ref e^(w/beta) / Z
//   wind                              pi_ref e^(n/(n-1) w_pi/beta) / Z, a fixed point, in groups of n
//   bond (bound), jbond, pkpo, bonbon  no closed form
#pragma once
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <concepts>
#include <numbers>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/registry.hpp"
#include "vbon/objective/wind_game.hpp"

namespace vbon::objective {
/// One prompt with K responses. The anchor of an objective that has one is the reference: frozen, or the place from which
/// it moves.
struct FiniteProblem {
  bon::Law reference;          // [K] > 0
  std::vector<double> reward;  // [K]
  Index group = 4;             // responses that are looked at together: of the reference, for wind of the anchor
};

/// The law that minimises -a sum_i b_i log pi_i + c sum_i pi_i (log pi_i - s_i), a forward and a backward divergence:
/// c (log pi_i - s_i + 1) - a b_i / pi_i + lambda = 0 for each i is monotone in pi_i, and the sum of the pi_i in lambda.
/// @param likelihood  [K] b, sums to 1
/// @param log_target  [K] s, up to a constant
/// @throws DomainError for a or c < 0 or not finite, or both 0; RunError where they are too large to be solved for
template <class = void>
bon::Law mixed_divergence_optimum(double a, std::span<const double> likelihood, double c,
                                  std::span<const double> log_target) {
  require<DomainError>(a >= 0 && c >= 0 && a + c > 0 && std::isfinite(a + c),
                       "optimum: finite weights >= 0 expected, not both 0, got ", a, " and ", c);
  const std::size_t size = likelihood.size();
  if (c == 0) return bon::Law(likelihood.begin(), likelihood.end());
  const double highest = *std::max_element(log_target.begin(), log_target.end());
  const auto bisect = [](double low, double high, const auto& is_right_of_root) {
    for (int i = 0; i < 200 && low < high; ++i) {
      const double middle = low + (high - low) / 2;
      (is_right_of_root(middle) ? high : low) = middle;
    }
    return low + (high - low) / 2;
  };
  const auto law_at = [&](double lambda) {
    bon::Law law(size);
    for (std::size_t k = 0; k < size; ++k) {
      const auto slope = [&](double x) {
        return c * (x - (log_target[k] - highest)) + lambda - a * likelihood[k] * std::exp(-x);
      };
      law[k] = std::exp(bisect(-745, 20, [&](double x) { return slope(x) > 0; }));
    }
    return law;
  };
  double wide = c + a;  // at lambda = -wide the law sums to more than 1, at wide to less
  const auto mass = [&](double lambda) {
    const bon::Law law = law_at(lambda);
    return std::accumulate(law.begin(), law.end(), 0.0);
  };
  while (mass(wide) > 1 || mass(-wide) < 1) {
    wide *= 2;
    require<RunError>(std::isfinite(wide), "optimum: weights ", a, " and ", c, " are too far apart to be solved for");
  }
  bon::Law law = law_at(bisect(-wide, wide, [&](double lambda) { return mass(lambda) < 1; }));
  const double total = std::accumulate(law.begin(), law.end(), 0.0);
  for (double& p : law) p /= total;
  return law;
}

/// The law that maximises E[max of k draws] - beta KL(pi || pi_ref): pi = pi_ref e^(k E[max(r, best of k - 1)]/beta) / Z.
/// The objective is concave; damped steps towards the right-hand side settle at its one fixed point.
/// @throws DomainError for k < 1, beta <= 0; RunError when they do not settle
template <class = void>
bon::Law best_of_k_optimum(const FiniteProblem& problem, Index k, double beta) {
  require_at_least("optimum", "k", static_cast<double>(k), 1);
  require_positive("optimum", "beta", beta);
  const std::size_t size = problem.reward.size();
  std::vector<std::size_t> order(size);
  for (std::size_t i = 0; i < size; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return problem.reward[i] < problem.reward[j]; });
  const auto target = [&](const bon::Law& law) {
    // E[max(r_i, M)], M the best of k - 1: r_i P(M <= r_i) + sum over better outcomes j of r_j P(M = r_j).
    std::vector<double> score(size);
    double at_most = 1, above = 0;
    for (std::size_t place = size; place-- > 0;) {
      const std::size_t i = order[place];
      const double power = std::pow(std::min(1.0, at_most), static_cast<double>(k - 1));
      score[i] = static_cast<double>(k) * (problem.reward[i] * power + above);
      at_most = std::max(0.0, at_most - law[i]);
      above += problem.reward[i] * (power - (k > 1 ? std::pow(at_most, static_cast<double>(k - 1)) : 1.0));
    }
    return bon::tilted_law(problem.reference, score, beta);
  };
  const auto [least, most] = std::minmax_element(problem.reward.begin(), problem.reward.end());
  // The right-hand side moves by at most this many nats for a unit of law: steps of its inverse contract.
  const double damping = 1 / (1 + static_cast<double>(k * k) * (*most - *least) / beta);
  bon::Law law = problem.reference;
  for (int iteration = 0; iteration < 200'000; ++iteration) {
    const bon::Law next = target(law);
    double moved = 0;
    std::vector<double> log_law(size);
    for (std::size_t i = 0; i < size; ++i) {
      moved = std::max(moved, std::abs(std::log(next[i] / law[i])));
      log_law[i] = (1 - damping) * std::log(law[i]) + damping * std::log(next[i]);
    }
    const double log_z = log_sum_exp(log_law);
    for (std::size_t i = 0; i < size; ++i) law[i] = std::exp(log_law[i] - log_z);
    if (moved < 1e-12) return law;
  }
  throw RunError(message("optimum: the fixed point of the best of ", k, " at beta = ", beta, " did not settle"));
}

/// The law that minimises the population loss of BoNBoN, alpha E[-log pi(best)] + (1 - alpha) E[(D - t)^2] over the best
/// and the worst of n reference samples that are not all equal in reward; convex in the log-probs, by Newton steps.
/// @param margin  t
template <class Scalar = double>
bon::Law best_worst_optimum(const FiniteProblem& problem, Index n, double alpha, double margin) {
  require_at_least("optimum", "n", static_cast<double>(n), 2);
  require_within("optimum", "alpha", alpha, 0, 1);
  using Vector = Eigen::VectorX<Scalar>;
  using Matrix = Eigen::MatrixX<Scalar>;
  const auto size = static_cast<Index>(problem.reward.size());
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  const bon::Levels level = bon::levels(problem.reference, problem.reward);
  // P(best = i, worst = j): all n in [r_j, r_i], some at both ends; an end's level is shared by pi_ref.
  Matrix both = Matrix::Zero(size, size);
  for (Index i = 0; i < size; ++i)
    for (Index j = 0; j < size; ++j) {
      if (!(problem.reward[at(i)] > problem.reward[at(j)])) continue;
      const auto power = [&](double mass) { return std::pow(std::max(0.0, mass), static_cast<double>(n)); };
      const double top = level.tie[at(i)], bottom = level.tie[at(j)];
      const double between = level.below[at(i)] - level.at_most(at(j));
      const double ends = power(between + top + bottom) - power(between + top) - power(between + bottom) + power(between);
      both(i, j) = ends * problem.reference[at(i)] / top * problem.reference[at(j)] / bottom;
    }
  both /= both.sum();
  Vector log_ref(size), best = both.rowwise().sum();
  for (Index i = 0; i < size; ++i) log_ref[i] = std::log(problem.reference[at(i)]);
  Vector logits = log_ref;
  const auto policy = [&] {
    Vector p = (logits.array() - logits.maxCoeff()).exp();
    return Vector(p / p.sum());
  };
  for (int iteration = 0; iteration < 500; ++iteration) {
    const Vector pi = policy();
    Vector slope = alpha * (pi - best);
    Matrix curvature = alpha * (Matrix(pi.asDiagonal()) - pi * pi.transpose());
    for (Index i = 0; i < size; ++i)
      for (Index j = 0; j < size; ++j) {
        const double weight = 2 * (1 - alpha) * both(i, j);
        const double off = weight * (logits[i] - log_ref[i] - logits[j] + log_ref[j] - margin);
        slope[i] += off, slope[j] -= off;
        curvature(i, i) += weight, curvature(j, j) += weight;
        curvature(i, j) -= weight, curvature(j, i) -= weight;
      }
    curvature += Matrix::Constant(size, size, curvature.trace() / static_cast<double>(size * size));  // the free shift
    Vector step = curvature.ldlt().solve(slope);
    const double longest = step.cwiseAbs().maxCoeff();
    logits -= step * std::min(1.0, 1 / longest);  // far away the likelihood is not quadratic
    if (longest < 1e-13) break;
  }
  const Vector pi = policy();
  return {pi.begin(), pi.end()};
}

namespace detail {
[[noreturn]] inline void no_optimum(std::string_view name, std::string_view why) {
  throw ConfigError(message("objective ", name, " has no known optimum on a table ", why));
}
/// (N - 1) log G of each outcome; strict with mid at the lowest level, as the objective has it.
template <class = void>
std::vector<double> bound_reward(const FiniteProblem& problem, double n, Side side) {
  const bon::Levels at = bon::levels(problem.reference, problem.reward);
  std::vector<double> score;
  for (std::size_t k = 0; k < at.below.size(); ++k) {
    const double middle = at.below[k] + at.tie[k] / 2;
    const double g = side == Side::weak ? at.at_most(k) : side == Side::mid || at.below[k] <= 0 ? middle : at.below[k];
    score.push_back((n - 1) * std::log(g));
  }
  return score;
}
/// Phi of the quantile of each outcome.
template <class = void>
std::vector<double> transformed_quantiles(const FiniteProblem& problem, const Phi& phi, Side side) {
  const bon::Levels at = bon::levels(problem.reference, problem.reward);
  std::vector<double> score;
  for (std::size_t k = 0; k < at.below.size(); ++k) {
    const double middle = at.below[k] + at.tie[k] / 2;
    const double u = side == Side::weak ? at.at_most(k) : side == Side::mid || at.below[k] <= 0 ? middle : at.below[k];
    score.push_back(phi(u));
  }
  return score;
}
template <class = void>
bon::Law best_of_n(const FiniteProblem& problem, double n) {
  return bon::best_of_n_law(problem.reference, problem.reward, n);
}
template <class = void>
std::vector<double> logs(std::span<const double> values) {
  std::vector<double> out;
  for (const double value : values) out.push_back(std::log(value));
  return out;
}
template <class = void>
bon::Law reward_tilt(std::string_view name, const FiniteProblem& problem, double beta) {
  if (beta == 0) no_optimum(name, "at beta = 0: all mass goes to the best outcome");
  return bon::tilted_law(problem.reference, problem.reward, beta);
}
}  // namespace detail

// optimum(rule, problem) for every objective that has one.
// @throws ConfigError, naming the setting, where this rule has none; DomainError for settings out of range

template <Baseline B>
bon::Law optimum(const Vbon<B>& rule, const FiniteProblem& problem) {
  bon::Law best = detail::best_of_n(problem, rule.n);
  if (!rule.published) return best;
  // (1/N) log(pi_bon/pi_ref) - 1/(N-1) log(pi/pi_ref)
  std::vector<double> score;
  for (std::size_t k = 0; k < best.size(); ++k) score.push_back(std::log(best[k] / problem.reference[k]) / rule.n);
  return bon::tilted_law(problem.reference, score, 1 / (rule.n - 1));
}
template <Baseline B>
bon::Law optimum(const VbonBound<B>& rule, const FiniteProblem& problem) {
  return bon::tilted_law(problem.reference, detail::bound_reward(problem, rule.n, rule.side), 1);
}
template <Baseline B>
bon::Law optimum(const Reinforce<B>& rule, const FiniteProblem& problem) {
  return detail::reward_tilt(rule.name, problem, rule.beta);
}
template <class = void>
bon::Law optimum(const Rloo& rule, const FiniteProblem& problem) {
  if (rule.normalize) detail::no_optimum(rule.name, "with normalize=true");
  return detail::reward_tilt(rule.name, problem, rule.beta);
}
namespace detail {
inline void require_plain_ppo(std::string_view name, const PpoSettings& settings) {
  if (settings.whiten) no_optimum(name, "with whitened advantages; give whiten=false");
  if (settings.estimator != KlEstimator::k1) no_optimum(name, "with estimators other than k1");
}
}  // namespace detail
template <class = void>
bon::Law optimum(const Ppo& rule, const FiniteProblem& problem) {
  detail::require_plain_ppo(rule.name, rule.settings);
  if (rule.kl_target > 0) detail::no_optimum(rule.name, "with a beta that follows kl_target");
  return detail::reward_tilt(rule.name, problem, rule.beta);
}
template <class = void>
bon::Law optimum(const VbonPpo& rule, const FiniteProblem& problem) {
  detail::require_plain_ppo(rule.name, rule.settings);
  return bon::tilted_law(problem.reference, detail::bound_reward(problem, rule.n, rule.side), 1);
}
template <Baseline B>
bon::Law optimum(const InfAlign<B>& rule, const FiniteProblem& problem) {
  return bon::tilted_law(problem.reference, detail::transformed_quantiles(problem, rule.phi, Side::mid), rule.beta);
}
template <class = void>
bon::Law optimum(const QuantileRegression& rule, const FiniteProblem& problem) {
  if (!rule.centred) detail::no_optimum(rule.name, "with the normaliser of atomless rewards; give centred=true");
  return bon::tilted_law(problem.reference, detail::transformed_quantiles(problem, rule.phi, rule.side), rule.beta);
}
template <class = void>
bon::Law optimum(const BonSft& rule, const FiniteProblem& problem) {
  return detail::best_of_n(problem, static_cast<double>(rule.n > 0 ? rule.n : problem.group));
}
template <Baseline B>
bon::Law optimum(const Bond<B>& rule, const FiniteProblem& problem) {
  require_within(rule.name, "beta", rule.beta, 0, 1);
  const bon::Law best = optimum(rule.forward, problem);
  std::vector<double> target = detail::logs(detail::best_of_n(problem, rule.n));
  if (rule.target == BondTarget::bound) {
    target = detail::bound_reward(problem, rule.n, Side::weak);
    for (std::size_t k = 0; k < target.size(); ++k) target[k] += std::log(problem.reference[k]);
  }
  return mixed_divergence_optimum(1 - rule.beta, best, rule.beta, target);
}
/// With the anchor frozen at the reference.
template <Baseline B>
bon::Law optimum(const Jbond<B>& rule, const FiniteProblem& problem) {
  require_within(rule.name, "beta", rule.beta, 0, 1);
  const bon::Levels at = bon::levels(problem.reference, problem.reward);
  const double pull = rule.beta + rule.gamma;
  std::vector<double> target = detail::logs(problem.reference);
  if (pull > 0)
    for (std::size_t k = 0; k < target.size(); ++k) {
      const double both_better = (1 - at.at_most(k)) * (1 - at.at_most(k));
      target[k] -= rule.beta / pull * 4 * std::numbers::ln2 * both_better;
    }
  return mixed_divergence_optimum(1 - rule.beta, detail::best_of_n(problem, 2), pull, target);
}
template <class = void>
bon::Law optimum(const BonBon& rule, const FiniteProblem& problem) {
  return best_worst_optimum(problem, problem.group, rule.alpha,
                            bonbon_margin(static_cast<double>(rule.n > 0 ? rule.n : problem.group)));
}
/// A pair of a group of n meets each other in its own win rates: the mean of w_i - w_j over the rest of the group is
/// ((n - 2)(w(y_i) - w(y_j)) + 2 P(y_i, y_j) - 1)/(n - 1), and the regression on it takes n/(n - 1) times the exact step in
/// w.
template <class = void>
bon::Law optimum(const Wind& rule, const FiniteProblem& problem) {
  if (rule.loss != WindLoss::pairwise) detail::no_optimum(rule.name, "with loss=pointwise: its normaliser is a guess");
  require_at_least(rule.name, "group", static_cast<double>(problem.group), 2);
  const auto n = static_cast<double>(problem.group);
  const auto game = WindGame::from_rewards(problem.reference, problem.reward, rule.preference);
  return game.fixed_point(rule.beta * (n - 1) / n);
}
template <class = void>
bon::Law optimum(const Pkpo& rule, const FiniteProblem& problem) {
  if (rule.beta == 0) detail::no_optimum(rule.name, "at beta = 0: all mass goes to the best outcome");
  return best_of_k_optimum(problem, rule.k, rule.beta);
}
namespace detail {
template <class L>
void require_plain_pairs(const Preference<L>& rule) {
  if (rule.reference_free) no_optimum(rule.name, "without the reference");
}
}  // namespace detail
template <class = void>
bon::Law optimum(const Preference<Dpo>& rule, const FiniteProblem& problem) {
  detail::require_plain_pairs(rule);
  if (rule.pairs != PairRule::bradley_terry)
    detail::no_optimum(rule.name, "under hard labels: margins grow without end; give pairs=bradley_terry");
  return bon::tilted_law(problem.reference, problem.reward, rule.pair_loss.beta);
}
template <class = void>
bon::Law optimum(const Preference<Ipo>& rule, const FiniteProblem& problem) {
  detail::require_plain_pairs(rule);
  const bool soft = rule.pairs == PairRule::bradley_terry;
  const auto game =
      WindGame::from_rewards(problem.reference, problem.reward, soft ? PreferenceRule::bt : PreferenceRule::step);
  return bon::tilted_law(problem.reference, game.win_rates(problem.reference), rule.pair_loss.beta);
}

template <class O>
concept HasOptimum = requires(const O& rule, const FiniteProblem& problem) {
  { optimum(rule, problem) } -> std::same_as<bon::Law>;
};
}  // namespace vbon::objective
