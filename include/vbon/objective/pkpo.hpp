// vbon/objective/pkpo.hpp
//
// PKPO: maximise the expected maximum of k samples (pass@k for rewards 0 and 1) from groups of n >= k, by
// an unbiased transform of the rewards, minus an optional KL. Weights w_i of sum_i w_i grad log pi(y_i):
//
//   s                 mean over subsets with i of the maximum, no baseline
//   sloo              s - k/(n-1) mean@k of the others      published; not invariant to a reward shift
//   sloo_matched      s - k/n mean@k of the others          zero for constant rewards; k < n
//   sloo_minus_one    s - k/n mean@(k-1) of the others      k >= 2: max_I - max of I without i, averaged
//
// Source: Walder and Karkhanis, arXiv 2505.15201, equations 12, 19, 29, 33.
#pragma once
#include <array>

#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"
#include "vbon/objective/subset_max.hpp"

namespace vbon::objective {
enum class PkpoVariant { automatic, s, sloo, sloo_matched, sloo_minus_one };
constexpr std::array<std::string_view, 5> option_names(PkpoVariant) {
  return {"automatic", "s", "sloo", "sloo_matched", "sloo_minus_one"};
}

/// Weights of one group in the sum convention [n]; automatic: sloo_minus_one, at k = 1 sloo_matched.
/// @throws DomainError for k outside [1, n], the variants' own bounds, rewards that are not finite
template <class = void>
Array pkpo_weights(const Array& reward, Index k, PkpoVariant variant) {
  if (variant == PkpoVariant::automatic) variant = k >= 2 ? PkpoVariant::sloo_minus_one : PkpoVariant::sloo_matched;
  const auto n = static_cast<double>(reward.size()), draws = static_cast<double>(k);
  if (variant == PkpoVariant::s || variant == PkpoVariant::sloo) {
    const SubsetMax subsets(reward, k);
    if (variant == PkpoVariant::s) return subsets.inclusion();
    return subsets.inclusion() - draws / (n - 1) * subsets.without_own(k);
  }
  // The matched baselines do not see a shift of the rewards: take it out, so that ties give exactly 0.
  const double lowest = reward.size() > 0 ? reward.minCoeff() : 0;
  const SubsetMax subsets(std::isfinite(lowest) ? Array(reward - lowest) : reward, k);
  return subsets.inclusion() - draws / n * subsets.without_own(variant == PkpoVariant::sloo_matched ? k : k - 1);
}

/// loss = -(mean over prompts of mean@k) + beta KL(pi || pi_ref), the KL part with a leave-one-out baseline.
struct Pkpo {
  static constexpr std::string_view name = "pkpo";
  static constexpr Needs needs{.ref_log_prob = true, .min_group = 2};
  using laws = Laws<law::GroupTuple, law::PerPrompt>;

  Index k = 2;
  double beta = 0;
  PkpoVariant variant = PkpoVariant::automatic;
  void each_option(auto&& f) {
    f("k", k, "samples whose maximum counts, 1 <= k <= group");
    f("beta", beta, "weight of KL(policy || reference), >= 0");
    f("variant", variant, "automatic, s, sloo, sloo_matched or sloo_minus_one");
  }

  constexpr Needs needs_now() const { return without_reference(needs, beta == 0); }
  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_groups(name, batch, 2);
    require_finite(name, "weight", batch.weight, batch.responses());
    // The KL part is a shaped reward of zero: score -beta log-ratio.
    const Array penalty = shaped_reward(name, batch, Array::Zero(batch.responses()), beta);
    require_finite(name, "reward", batch.reward, batch.responses());
    Array advantage = penalty - LeaveOneOut{}(batch, penalty);
    double loss = -(batch.weight * penalty).sum();
    const bool compares_k = variant == PkpoVariant::sloo || variant == PkpoVariant::sloo_matched;
    for (const Group& g : groups(batch)) {
      require<DomainError>(k >= 1 && k <= g.size - (compares_k ? 1 : 0), "pkpo: k in [1, ", g.size - (compares_k ? 1 : 0),
                           "] expected for groups of ", g.size, compares_k ? " with this variant" : "", ", got ", k,
                           "; take a smaller k or more samples of a prompt");
      const Array reward = batch.reward.segment(g.begin, g.size);
      advantage.segment(g.begin, g.size) += static_cast<double>(g.size) * pkpo_weights(reward, k, variant);
      loss -= SubsetMax(reward, k).mean();
    }
    return weighted_log_probs(batch, advantage, loss / static_cast<double>(batch.prompts()));
  }
};
}  // namespace vbon::objective
