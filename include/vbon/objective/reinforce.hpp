// vbon/objective/reinforce.hpp
//
// KL-constrained reinforcement learning by the score function: maximises E[r] - beta KL(pi || pi_ref),
// whose optimum is pi_ref e^(r/beta) / Z. Source: Williams 1992; for language models Ahmadian et al.,
// "Back to Basics", arXiv 2402.14740. Both methods here differ in the baseline alone.
#pragma once
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// R = r - beta (log pi - log pi_ref), A = R - baseline.
/// @throws DomainError when beta < 0 or a reward is not finite
template <Baseline B = BatchMean>
struct Reinforce {
  static constexpr std::string_view name = "reinforce";
  static constexpr Needs needs{.ref_log_prob = true, .min_group = B::min_group};
  using laws = Laws<law::Enumerable>;
  template <Baseline Other>
  using with_baseline = Reinforce<Other>;

  double beta = 0.05;
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    f("beta", beta, "weight of KL(policy || reference) in the reward, >= 0");
    baseline_option(baseline, f);
  }
  constexpr Needs needs_now() const { return without_reference(needs, beta == 0); }

  Array score(const RolloutBatch& batch) const { return shaped_reward(name, batch, batch.reward, beta); }
  ObjectiveResult operator()(const RolloutBatch& batch) const { return score_function(name, batch, score(batch), baseline); }
};

/// A_i = R_i - mean of the other R of the prompt; optionally normalised over the batch by
/// (A - mean) / (deviation + epsilon).
/// @throws DomainError `group_too_small` for groups of one
struct Rloo {
  static constexpr std::string_view name = "rloo";
  static constexpr Needs needs{.ref_log_prob = true, .min_group = 2};
  using laws = Laws<law::GroupTuple, law::PerPrompt>;

  double beta = 0.05;
  bool normalize = false;
  double epsilon = 1e-4;
  void each_option(auto&& f) {
    f("beta", beta, "weight of KL(policy || reference) in the reward, >= 0");
    f("normalize", normalize, "divide advantages by their deviation over the batch");
    f("epsilon", epsilon, "added to that deviation");
  }

  constexpr Needs needs_now() const { return without_reference(needs, beta == 0); }
  template <class Array = vbon::Array>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    const Array score = shaped_reward(name, batch, batch.reward, beta);
    ObjectiveResult result = score_function(name, batch, score, LeaveOneOut{});
    if (!normalize) return result;
    require_at_least(name, "epsilon", epsilon, 0);
    const Array advantage = score - LeaveOneOut{}(batch, score);
    const double spread = deviation_of(advantage, 1) + epsilon;
    return weighted_log_probs(batch, spread > 0 ? Array((advantage - mean_of(advantage)) / spread) : Array(advantage * 0),
                              result.loss);
  }
};
}  // namespace vbon::objective
