// vbon/objective/jbond.hpp
//
// J-BOND: BOND with N = 2 against a moving anchor, so that two anchor samples z1, z2 are all it needs:
//
//   r_J = -log 16 if r(y) < min(r(z1), r(z2)), else 0
//   S = beta (r_J - lr) - gamma lr,   lr = log pi(y) - log pi_anchor(y)
//   d loss / d log pi(y) = -(S - baseline)/P,   d loss / d log pi(best of z1, z2) = -(1 - beta)/P
//
// E[r_J] = -log 16 (1 - F)^2 equals log F at the median. gamma slows the anchor down.
// Source: arXiv 2407.14622, equations 17, 18 and algorithm 2.
#pragma once
#include <numbers>

#include "vbon/objective/anchor.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
/// r_J of one reward against two anchor rewards.
/// @throws DomainError unless there are exactly 2 anchor rewards, `nan_reward`
template <class Rewards>
double jbond_reward(double reward, const Rewards& anchor) {
  require<DomainError>(anchor.size() == 2, ErrorCode{"wrong_anchor_count"}, "jbond: 2 anchor samples expected, got ",
                       anchor.size());
  require<DomainError>(!std::isnan(reward) && !std::isnan(anchor[0]) && !std::isnan(anchor[1]), ErrorCode{"nan_reward"},
                       "jbond: a reward is NaN");
  return reward < std::min(anchor[0], anchor[1]) ? -4 * std::numbers::ln2 : 0.0;
}

/// Its mean over two independent anchor samples, given P(r <= r(y)) under the anchor.
inline double expected_jbond_reward(double cdf_le) { return -4 * std::numbers::ln2 * (1 - cdf_le) * (1 - cdf_le); }

/// @throws DomainError for beta outside [0, 1], gamma < 0, other than 2 anchor samples per prompt,
///         `group_too_small` with leave-one-out and a single policy sample in the batch
template <Baseline B = BatchLeaveOneOut>
struct Jbond {
  static constexpr std::string_view name = "jbond";
  static constexpr Needs needs{.anchor_log_prob = true, .min_group = B::min_group, .anchor_group = 2};
  static constexpr Anchor anchor_rule{.eta = 0.02};
  using laws = Laws<law::Enumerable, law::Ranks>;
  template <Baseline Other>
  using with_baseline = Jbond<Other>;

  double beta = 0.5;
  double gamma = 1;
  [[no_unique_address]] B baseline = {};
  void each_option(auto&& f) {
    f("beta", beta, "share of the backward part, in [0, 1]");
    f("gamma", gamma, "weight of KL(policy || anchor), >= 0");
    baseline_option(baseline, f);
  }

  StreamsResult operator()(const Streams& streams) const {
    const RolloutBatch &policy = streams.policy, &anchor = streams.anchor;
    require_within(name, "beta", beta, 0, 1);
    require_at_least(name, "gamma", gamma, 0);
    require_groups(name, policy);
    require_groups(name, anchor);
    require<ShapeError>(policy.prompts() == anchor.prompts(), "jbond: as many prompts in both streams expected, got ",
                        policy.prompts(), " and ", anchor.prompts());
    require_ordered(name, "reward", policy.reward, policy.responses());
    require_ordered(name, "anchor reward", anchor.reward, anchor.responses());
    require_finite(name, "log_prob", policy.log_prob, policy.tokens());
    require_finite(name, "anchor_log_prob", policy.anchor_log_prob, policy.tokens());
    require_finite(name, "log_prob of the anchor samples", anchor.log_prob, anchor.tokens());
    const Array ratio = per_response(policy, policy.log_prob - policy.anchor_log_prob);
    const Array anchor_log_prob = per_response(anchor, anchor.log_prob);
    const auto prompts = static_cast<double>(policy.prompts());

    Array score(policy.responses()), likelihood = Array::Zero(anchor.responses());
    const auto rivals = groups(anchor);
    double forward = 0;
    for (const Group& g : groups(policy)) {
      const Group& pair = rivals[static_cast<std::size_t>(g.prompt)];
      const auto rewards = anchor.reward.segment(pair.begin, pair.size);
      for (Index i = g.begin; i < g.end(); ++i)
        score[i] = beta * (jbond_reward(policy.reward[i], rewards) - ratio[i]) - gamma * ratio[i];
      const Index best = pair.begin + first_best(rewards);
      likelihood[best] = -(1 - beta) / prompts;
      forward -= anchor_log_prob[best] / prompts;
    }
    const ObjectiveResult backward = score_function(name, policy, score, baseline);
    return {.loss = backward.loss + (1 - beta) * forward,
            .policy = backward.dlog_prob,
            .anchor = per_token(anchor, likelihood),
            .metrics = {{"forward_loss", forward}}};
  }
};
}  // namespace vbon::objective
