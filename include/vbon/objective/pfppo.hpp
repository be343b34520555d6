// vbon/objective/pfppo.hpp
//
// PF-PPO: rank the n responses of a prompt, train only on the ones whose rewards can be trusted: the best
// (bon), best and worst (bw), or the best and one of the rest (br, here with its expected weights, so that
// the objective stays a pure function). Source: Shen et al., "Policy filtration", arXiv 2409.06957.
#pragma once
#include <array>
#include <vector>

#include "vbon/objective/pair_builder.hpp"
#include "vbon/objective/ppo.hpp"

namespace vbon::objective {
enum class Filter { bon, bw, br };
constexpr std::array<std::string_view, 3> option_names(Filter) { return {"bon", "bw", "br"}; }

/// Best and worst of a group: the first of the largest, and the first of the smallest among the others.
struct Extremes {
  Index best = 0, worst = 0;
};
/// @throws DomainError `group_too_small` for fewer than 2 rewards, `nan_reward`
template <class Rewards>
Extremes extremes(const Rewards& reward) {
  require<DomainError>(reward.size() >= 2, ErrorCode{"group_too_small"}, "pfppo: 2 responses or more expected, got ",
                       reward.size());
  for (Index i = 0; i < reward.size(); ++i)
    require<DomainError>(!std::isnan(reward[i]), ErrorCode{"nan_reward"}, "pfppo: reward ", i, " is NaN");
  const Index best = first_best(reward);
  Index worst = best == 0 ? 1 : 0;
  for (Index i = 0; i < reward.size(); ++i)
    if (i != best && reward[i] < reward[worst]) worst = i;
  return {best, worst};
}

/// Share of the training weight that each response of a group has on average, summing to 1.
template <class Rewards>
Array filter_weights(Filter filter, const Rewards& reward) {
  const auto [best, worst] = extremes(reward);
  Array weight = Array::Zero(reward.size());
  if (filter == Filter::br) weight.setConstant(0.5 / static_cast<double>(reward.size() - 1));
  if (filter == Filter::bw) weight[worst] = 0.5;
  weight[best] = filter == Filter::bon ? 1 : 0.5;
  return weight;
}

/// The kept responses of one group; br draws its second one with a uniform in [0, 1).
template <class Rewards>
std::vector<Index> kept(Filter filter, const Rewards& reward, double uniform = 0) {
  const auto [best, worst] = extremes(reward);
  if (filter == Filter::bon) return {best};
  if (filter == Filter::bw) return {best, worst};
  const IndexPair pair = best_against_random(reward, uniform);
  return {pair.winner, pair.loser};
}

/// PPO with those weights.
struct PfPpo {
  static constexpr std::string_view name = "pfppo";
  static constexpr Needs needs{.ref_log_prob = true, .old_log_prob = true, .value = true, .min_group = 2};
  using laws = Laws<law::Surrogate>;

  Filter filter = Filter::bw;
  double beta = 0.05;
  PpoSettings settings = {};
  void each_option(auto&& f) {
    f("filter", filter, "responses to train on: bon, bw or br");
    f("beta", beta, "weight of KL(policy || reference) in the token rewards, >= 0");
    settings.each_option(f);
  }
  constexpr Needs needs_now() const { return without_reference(needs, beta == 0); }
  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_groups(name, batch, 2);
    require_size(name, "reward", batch.reward, batch.responses());
    Array share(batch.responses());
    for (const Group& g : groups(batch))
      share.segment(g.begin, g.size) = filter_weights(filter, batch.reward.segment(g.begin, g.size));
    return settings(name, batch, batch.reward, beta, share);
  }
};
}  // namespace vbon::objective
