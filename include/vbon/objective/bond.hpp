// vbon/objective/bond.hpp
//
// BOND: distil best-of-N by a Jeffreys divergence, (1 - beta) KL(pi_bon || pi) + beta KL(pi || pi_bon).
// The forward part is likelihood of the best of N reference samples, the backward part the vBoN objective
// on a policy sample. So beta = 1 is variational best-of-N and beta = 0 is BoN-SFT.
// Source: Sessa et al., "BOND", arXiv 2407.14622, equations 8 to 15; the exact target keeps the tie sum
// that the paper's bound F^(N-1) drops.
#pragma once
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/bon_sft.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/objective/vbon_bound.hpp"

namespace vbon::objective {
enum class BondTarget { bound, exact };
constexpr std::array<std::string_view, 2> option_names(BondTarget) { return {"bound", "exact"}; }

///   reference stream: N samples, d loss / d log pi(best) = -(1 - beta)/P
///   policy stream:    S = (N - 1) log q - (log pi - log pi_ref), q the weak CDF; A = S - baseline
/// Annotate the policy stream with the add-one estimator for the paper's q.
/// @throws DomainError for n < 2, beta outside [0, 1], and as VbonBound and BonSft do
template <Baseline B = BatchLeaveOneOut>
struct Bond {
  static constexpr std::string_view name = "bond";
  static constexpr Needs needs{.ref_log_prob = true, .ref_reward = true, .min_group = B::min_group, .reference_group = 1};
  using laws = Laws<law::Enumerable, law::Ranks>;
  template <Baseline Other>
  using with_baseline = Bond<Other>;

  double n = 4;
  double beta = 0.5;
  BondTarget target = BondTarget::bound;
  BonSft forward = {};  // n = 0: each reference group holds N samples; otherwise subset weights
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    f("n", n, "draws of best-of-N, >= 2");
    f("beta", beta, "share of the backward part: 1 is vbon, 0 is bon_sft");
    f("target", target, "bound: F^(N-1); exact: the law of best-of-N");
    f("forward_n", forward.n, "subset weights for the forward part; 0: the best of each group");
    baseline_option(baseline, f);
  }

  template <class Array = vbon::Array>
  Array score(const RolloutBatch& batch) const {
    if (target == BondTarget::bound) return bound_score(name, batch, n, Side::weak);
    const Array log_bon = log_best_of_n(name, batch, n), log_prob = per_response(batch, batch.log_prob);
    return log_bon - log_prob;
  }
  template <class Array = vbon::Array>
  StreamsResult operator()(const Streams& streams) const {
    require_at_least(name, "n", n, 2);
    require_within(name, "beta", beta, 0, 1);
    StreamsResult result;
    if (beta < 1) {
      ObjectiveResult sft = forward(streams.reference);
      result.loss += (1 - beta) * sft.loss;
      const Array& of_reference = sft.dlog_prob;
      result.reference = (1 - beta) * of_reference;
    }
    if (beta > 0) {
      ObjectiveResult backward = score_function(name, streams.policy, score(streams.policy), baseline);
      result.loss += beta * backward.loss;
      const Array& of_policy = backward.dlog_prob;
      result.policy = beta * of_policy;
    }
    return result;
  }
};

/// The divergence itself on a finite problem, with its gradient in the logits of a softmax policy:
/// (1 - beta)(pi - pi_bon) + beta pi (log(pi/pi_bon) - KL(pi || pi_bon)).
struct Jeffreys {
  double forward_kl = 0;   // KL(target || policy)
  double backward_kl = 0;  // KL(policy || target)
  double value = 0;
  std::vector<double> dlogits;  // [K]
};
/// @throws ShapeError; DomainError for beta outside [0, 1]
template <class = void>
Jeffreys jeffreys(std::span<const double> policy, std::span<const double> target, double beta) {
  require_within("jeffreys", "beta", beta, 0, 1);
  Jeffreys result{.forward_kl = bon::kl_of_laws(target, policy),
                  .backward_kl = bon::kl_of_laws(policy, target),
                  .value = 0,
                  .dlogits = {}};
  // A term of weight 0 is left out: its divergence may be infinite.
  if (beta < 1) result.value += (1 - beta) * result.forward_kl;
  if (beta > 0) result.value += beta * result.backward_kl;
  for (std::size_t k = 0; k < policy.size(); ++k) {
    double slope = (1 - beta) * (policy[k] - target[k]);
    if (beta > 0) slope += beta * policy[k] * (std::log(policy[k] / target[k]) - result.backward_kl);
    result.dlogits.push_back(slope);
  }
  return result;
}
}  // namespace vbon::objective
