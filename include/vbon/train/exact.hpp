// vbon/train/exact.hpp
//
// Training without sampling noise: one prompt with K responses of one token, whose policy, reference and anchor are laws
// that can be enumerated. The gradient of an objective is its mean over every group of responses it could have seen, each
// with its probability, so what is left between the law it ends at and its optimum is no noise but the method's own.
#pragma once
#include <Eigen/Jacobi>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/annotate.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/train/any_objective.hpp"

namespace vbon::train {
/// Calls f(tuple, probability) for all n-tuples of independent draws from a law: K^n of them.
inline void for_each_tuple(const std::vector<double>& law, Index n,
                           const std::function<void(const std::vector<Index>&, double)>& f) {
  std::vector<Index> tuple(static_cast<std::size_t>(n), 0);
  for (;;) {
    double probability = 1;
    for (const Index k : tuple) probability *= law[static_cast<std::size_t>(k)];
    f(tuple, probability);
    std::size_t place = 0;
    while (place < tuple.size() && ++tuple[place] == static_cast<Index>(law.size())) tuple[place++] = 0;
    if (place == tuple.size()) return;
  }
}
/// The same by what was drawn, not in which order: ascending tuples, each with the probability of all its orders.
template <class = void>
void for_each_multiset(const std::vector<double>& law, Index n,
                       const std::function<void(const std::vector<Index>&, double)>& f) {
  std::vector<Index> tuple;
  const auto extend = [&](const auto& self, Index from, double probability, Index run) -> void {
    if (static_cast<Index>(tuple.size()) == n) return f(tuple, probability);
    for (Index k = from; k < static_cast<Index>(law.size()); ++k) {
      // n!/(c_1! c_2! ...) grows by place/run with each draw.
      const Index now = !tuple.empty() && tuple.back() == k ? run + 1 : 1;
      tuple.push_back(k);
      const double orders = static_cast<double>(tuple.size()) / static_cast<double>(now);
      self(self, k, probability * law[static_cast<std::size_t>(k)] * orders, now);
      tuple.pop_back();
    }
  };
  extend(extend, 0, 1, 0);
}

/// One prompt, K responses of one token. The policy is softmax(logits) and starts at the reference, as the anchor does.
class ExactProblem {
 public:
  /// @param reference   [K] probabilities > 0
  /// @param reward      [K]
  /// @param ref_reward  rewards of cached reference responses, for an objective that counts them itself; they stand for the
  ///                    reference exactly where each reward appears as often as the law says
  /// @throws ShapeError; DomainError nan_reward, invalid_probability
  template <class = void>
  ExactProblem(bon::Law reference, std::vector<double> reward, std::vector<double> ref_reward = {})
      : reference_(std::move(reference)), reward_(std::move(reward)), ref_reward_(std::move(ref_reward)) {
    bon::levels(reference_, reward_);  // checks both
    double total = 0;
    for (const double p : reference_) {
      require<DomainError>(p > 0, ErrorCode{"invalid_probability"}, "ExactProblem: probabilities > 0 expected, got ", p);
      total += p;
    }
    for (double& p : reference_) p /= total;
    std::sort(ref_reward_.begin(), ref_reward_.end());
    anchor_ = reference_;
    logits_ = log_of(reference_);
    RolloutBatch law = batch_of(all());
    law.weight = to_array(reference_);
    law.reward = to_array(reward_);
    objective::annotate_exactly(law, law);
    log_cdf_ = law.log_cdf, log_tie_ = law.log_tie, log_cdf_le_ = law.log_cdf_le;
    set_logits(logits_);
  }

  Index size() const { return static_cast<Index>(reference_.size()); }
  const bon::Law& policy() const { return policy_; }
  const bon::Law& reference() const { return reference_; }
  const bon::Law& anchor() const { return anchor_; }
  const std::vector<double>& reward() const { return reward_; }
  const std::vector<double>& logits() const { return logits_; }

  /// @param logits  [K]
  template <class = void>
  void set_logits(std::vector<double> logits) {
    require<ShapeError>(logits.size() == reference_.size(), "ExactProblem: ", reference_.size(), " logits expected, got ",
                        logits.size());
    logits_ = std::move(logits);
    const double log_z = log_sum_exp(logits_);
    log_policy_.resize(size());
    policy_.resize(logits_.size());
    for (std::size_t k = 0; k < logits_.size(); ++k) {
      log_policy_[static_cast<Index>(k)] = logits_[k] - log_z;
      policy_[k] = std::exp(logits_[k] - log_z);
    }
  }
  template <class = void>
  void set_policy(const bon::Law& law) {
    set_logits(log_of(law));
  }
  void set_anchor(bon::Law law) { anchor_ = std::move(law); }

  /// A group with everything that an objective may ask for, drawn from the policy of now, weights as sampled.
  template <class = void>
  RolloutBatch group(const std::vector<Index>& outcomes) const {
    RolloutBatch batch = batch_of(outcomes);
    batch.weight = uniform_weight(batch);
    fill(batch, outcomes);
    return batch;
  }
  /// All K responses with their probabilities as weights.
  template <class = void>
  RolloutBatch enumerated() const {
    RolloutBatch batch = batch_of(all());
    batch.weight = to_array(policy_);
    fill(batch, all());
    return batch;
  }
  /// Calls f(tuple, probability) for groups of n draws. Where no two outcomes share a reward the order within a group
  /// decides nothing (not even which of two equals comes first) and one order stands for all.
  template <class = void>
  void for_each_group(const bon::Law& law, Index n, const std::function<void(const std::vector<Index>&, double)>& f) const {
    std::vector<double> sorted = reward_;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end())
      for_each_multiset(law, n, f);
    else
      for_each_tuple(law, n, f);
  }

 private:
  template <class = void>
  static std::vector<double> log_of(const bon::Law& law) {
    std::vector<double> logits;
    for (const double p : law) logits.push_back(std::log(p));
    return logits;
  }
  static Array to_array(const std::vector<double>& values) {
    return Eigen::Map<const Array>(values.data(), static_cast<Index>(values.size()));
  }
  std::vector<Index> all() const {
    std::vector<Index> outcomes(reference_.size());
    for (std::size_t k = 0; k < outcomes.size(); ++k) outcomes[k] = static_cast<Index>(k);
    return outcomes;
  }
  template <class = void>
  static RolloutBatch batch_of(const std::vector<Index>& outcomes) {
    RolloutBatch batch;
    batch.add_prompt({.id = 0, .text = {}, .tokens = {}});
    for (const Index k : outcomes) batch.add_response(std::vector<TokenId>{static_cast<TokenId>(k)}, true);
    return batch;
  }
  template <class = void>
  void fill(RolloutBatch& batch, const std::vector<Index>& outcomes) const {
    const auto size = static_cast<Index>(outcomes.size());
    for (Array* field : {&batch.reward, &batch.log_cdf, &batch.log_tie, &batch.log_cdf_le, &batch.log_prob,
                         &batch.ref_log_prob, &batch.anchor_log_prob})
      field->resize(size);
    for (Index i = 0; i < size; ++i) {
      const Index k = outcomes[static_cast<std::size_t>(i)];
      const auto at = static_cast<std::size_t>(k);
      batch.reward[i] = reward_[at];
      batch.log_cdf[i] = log_cdf_[k], batch.log_tie[i] = log_tie_[k], batch.log_cdf_le[i] = log_cdf_le_[k];
      batch.log_prob[i] = log_policy_[k];
      batch.ref_log_prob[i] = std::log(reference_[at]);
      batch.anchor_log_prob[i] = std::log(anchor_[at]);
    }
    batch.old_log_prob = batch.log_prob;  // no critic: a baseline leaves the mean as it is
    batch.ref_reward = {ref_reward_};
  }

  bon::Law reference_, anchor_, policy_;
  std::vector<double> reward_, ref_reward_, logits_;
  Array log_policy_, log_cdf_, log_tie_, log_cdf_le_;  // [K]
};

/// A mean loss and its gradient.
struct ExactGradient {
  double loss = 0;
  std::vector<double> dlogits;  // [K] d loss / d logit of the policy
};

/// Adds up an objective over batches of a problem with their probabilities.
class ExactMean {
 public:
  template <class = void>
  explicit ExactMean(const ExactProblem& problem)
      : policy_(problem.policy()), dlog_prob_(static_cast<std::size_t>(problem.size()), 0) {}

  template <Objective O>
  void add(const O& rule, const RolloutBatch& batch, double probability) {
    const ObjectiveResult result = rule(batch);
    loss_ += probability * result.loss;
    backward(batch, result.dlog_prob, probability);
  }
  void add(const StreamsObjective auto& rule, const Streams& streams, double probability) {
    add(streams, rule(streams), probability);
  }
  /// The same for a result that is there.
  void add(const Streams& streams, const StreamsResult& result, double probability) {
    loss_ += probability * result.loss;
    backward(streams.policy, result.policy, probability);
    backward(streams.reference, result.reference, probability);
    backward(streams.anchor, result.anchor, probability);
  }
  void add_constant(double value) { loss_ += value; }

  /// d log pi(y) / d logits = e_y - pi.
  ExactGradient result() const {
    double total = 0;
    for (const double slope : dlog_prob_) total += slope;
    ExactGradient out{.loss = loss_, .dlogits = dlog_prob_};
    for (std::size_t k = 0; k < policy_.size(); ++k) out.dlogits[k] -= policy_[k] * total;
    return out;
  }

 private:
  void backward(const RolloutBatch& batch, const Array& dlog_prob, double probability) {
    for (Index t = 0; t < dlog_prob.size(); ++t)
      dlog_prob_[static_cast<std::size_t>(batch.token[static_cast<std::size_t>(t)])] += probability * dlog_prob[t];
  }

  bon::Law policy_;
  double loss_ = 0;
  std::vector<double> dlog_prob_;  // [K]
};

/// Responses of the prompt that an objective sees at once, by who draws them.
struct ExactGroups {
  Index policy = 2, reference = 2, anchor = 2;
};

/// The mean of an objective and its gradient over all groups it could have seen. Samples of the policy and of the reference
/// are averaged apart, since each one's gradient looks at its own (BOND); samples of the policy and the anchor together.
/// @throws what the objective throws
template <class = void>
ExactGradient exact_gradient(const ExactProblem& problem, const AnyObjective& objective, const ExactGroups& groups) {
  const Needs& needs = objective.needs;
  const bool policy = needs.min_group > 0, reference = needs.reference_group > 0, anchor = needs.anchor_group > 0;
  ExactMean mean(problem);
  Streams streams;
  if (policy && reference) {
    // The part of the stream that stands still is computed beside the other's and left out.
    const auto any = [&](Index size) { return problem.group(std::vector<Index>(static_cast<std::size_t>(size), 0)); };
    streams = {.policy = any(groups.policy), .reference = any(groups.reference), .anchor = {}};
    mean.add_constant(-objective.call(streams).loss);  // of the two groups that stand still: in both means below
    problem.for_each_group(problem.policy(), groups.policy, [&](const std::vector<Index>& tuple, double probability) {
      streams.policy = problem.group(tuple);
      StreamsResult result = objective.call(streams);
      result.reference = {};
      mean.add(streams, result, probability);
    });
    streams.policy = any(groups.policy);
    problem.for_each_group(problem.reference(), groups.reference, [&](const std::vector<Index>& tuple, double probability) {
      streams.reference = problem.group(tuple);
      StreamsResult result = objective.call(streams);
      result.policy = {};
      mean.add(streams, result, probability);
    });
  } else if (policy && anchor) {
    std::vector<std::pair<RolloutBatch, double>> rivals;
    problem.for_each_group(problem.anchor(), groups.anchor, [&](const std::vector<Index>& tuple, double probability) {
      rivals.emplace_back(problem.group(tuple), probability);
    });
    std::vector<std::pair<RolloutBatch, double>> own;
    problem.for_each_group(problem.policy(), groups.policy, [&](const std::vector<Index>& tuple, double probability) {
      own.emplace_back(problem.group(tuple), probability);
    });
    for (const auto& [rival, share] : rivals) {
      streams.anchor = rival;
      for (const auto& [batch, probability] : own) {
        streams.policy = batch;
        mean.add(streams, objective.call(streams), probability * share);
      }
    }
  } else {
    RolloutBatch& batch = policy ? streams.policy : reference ? streams.reference : streams.anchor;
    problem.for_each_group(policy      ? problem.policy()
                           : reference ? problem.reference()
                                       : problem.anchor(),
                           policy      ? groups.policy
                           : reference ? groups.reference
                                       : groups.anchor,
                           [&](const std::vector<Index>& tuple, double probability) {
                             batch = problem.group(tuple);
                             mean.add(streams, objective.call(streams), probability);
                           });
  }
  return mean.result();
}

struct ExactOptions {
  ExactGroups groups = {};
  Index steps = 300;        // at most, for each position of the anchor
  Index rounds = 1000;      // positions of an anchor that is swapped, at most
  double tolerance = 1e-8;  // a logit moves by less: settled
  double stride = 1;        // a logit moves by at most so much in a step
};
struct ExactOutcome {
  Index steps = 0;       // in all rounds
  Index rounds = 0;      // positions that the anchor took
  bool settled = false;  // before the steps or the rounds ran out
};

namespace detail {
/// Turns a symmetric matrix until it is diagonal, but for rounding (Jacobi's method, quick for so few rows); `axes` gets
/// the turns, its columns are the eigenvectors. The headers of Eigen's own solver are a fortieth of what all of vbon costs
/// the file that includes it.
template <class Matrix>
void diagonalize(Matrix& matrix, Matrix& axes) {
  const Index size = matrix.rows();
  axes.setIdentity(size, size);
  const auto rounding = std::numeric_limits<typename Matrix::Scalar>::epsilon() * matrix.cwiseAbs().maxCoeff();
  for (int sweep = 0, turned = 1; sweep < 60 && turned > 0; ++sweep) {
    turned = 0;
    for (Index p = 0; p < size; ++p)
      for (Index q = p + 1; q < size; ++q) {
        Eigen::JacobiRotation<typename Matrix::Scalar> turn;
        if (!(std::abs(matrix(p, q)) > rounding) || !turn.makeJacobi(matrix, p, q)) continue;
        matrix.applyOnTheLeft(p, q, turn.adjoint());
        matrix.applyOnTheRight(p, q, turn);
        axes.applyOnTheRight(p, q, turn);
        ++turned;
      }
  }
}

/// One step of Newton's method that goes downhill whatever the curvature: along each axis of the Hessian by
/// -slope/|curvature|. Returns the longest move of a logit.
template <class Scalar = double>
Scalar descend(ExactProblem& problem, const AnyObjective& objective, const ExactOptions& options) {
  using Vector = Eigen::VectorX<Scalar>;
  using Matrix = Eigen::MatrixX<Scalar>;
  const Index size = problem.size();
  const auto gradient_at = [&](const std::vector<double>& logits) {
    problem.set_logits(logits);
    const auto slope = exact_gradient(problem, objective, options.groups).dlogits;
    return Vector(Eigen::Map<const Vector>(slope.data(), size));
  };
  const std::vector<double> start = problem.logits();
  const Vector slope = gradient_at(start);
  Matrix hessian(size, size);
  constexpr double width = 1e-5;
  for (Index k = 0; k < size; ++k) {
    std::vector<double> moved = start;
    moved[static_cast<std::size_t>(k)] += width;
    hessian.col(k) = gradient_at(moved);
    moved[static_cast<std::size_t>(k)] -= 2 * width;
    hessian.col(k) = (hessian.col(k) - gradient_at(moved)) / (2 * width);
  }
  hessian = (0.5 * (hessian + hessian.transpose())).eval();
  // A common shift of the logits changes nothing: give that axis some curvature, it has no slope.
  hessian.array() += hessian.cwiseAbs().maxCoeff() / static_cast<double>(size);
  Matrix axes;
  diagonalize(hessian, axes);
  const Vector curvature = hessian.diagonal().cwiseAbs();
  const double least = 1e-13 * curvature.maxCoeff();
  Vector along = axes.transpose() * slope;
  for (Index k = 0; k < size; ++k) along[k] /= std::max(curvature[k], least);
  Vector step = axes * along;
  double longest = step.cwiseAbs().maxCoeff();
  if (longest > options.stride) step *= options.stride / longest, longest = options.stride;
  std::vector<double> next = start;
  for (Index k = 0; k < size; ++k) next[static_cast<std::size_t>(k)] -= step[k];
  problem.set_logits(std::move(next));
  return longest;
}
}  // namespace detail

/// Trains the problem's policy with exact gradients until it stands still. An anchor that its rule swaps follows once the
/// policy has settled against it, round after round, until neither moves; any other anchor stays where it is.
/// @throws RunError non_finite when the policy leaves the numbers; what the objective throws
template <class = void>
ExactOutcome train_exactly(ExactProblem& problem, const AnyObjective& objective, const ExactOptions& options = {}) {
  ExactOutcome outcome;
  const bool swaps =
      (objective.needs.anchor_group > 0 || objective.needs.anchor_log_prob) && objective.anchor.swap_every > 0;
  while (outcome.rounds < (swaps ? options.rounds : 1)) {
    ++outcome.rounds;
    bool settled = false;
    for (Index step = 0; step < options.steps && !settled; ++step) {
      const double moved = detail::descend(problem, objective, options);
      require<RunError>(std::isfinite(moved), ErrorCode{"non_finite"}, "exact training of '", objective.name,
                        "' left the numbers at step ", outcome.steps + 1);
      ++outcome.steps;
      settled = moved < options.tolerance;
    }
    if (!swaps || !settled) {
      outcome.settled = settled;
      return outcome;
    }
    double moved = 0;
    for (std::size_t k = 0; k < problem.policy().size(); ++k)
      moved = std::max(moved, std::abs(std::log(problem.policy()[k] / problem.anchor()[k])));
    problem.set_anchor(problem.policy());
    if (moved < options.tolerance) {
      outcome.settled = true;
      return outcome;
    }
  }
  return outcome;
}
}  // namespace vbon::train
