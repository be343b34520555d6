// vbon/train/phase.hpp
//
// Training is a list of phases. A phase takes its responses from the policy itself or from the reference cache
// (an offline warm start costs no sampling), and has its own objective, sizes and learning rate. Which prompts
// a step takes depends on the step alone, so a resumed run needs no memory of the past.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "vbon/bon/subset_weights.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/data/preference.hpp"
#include "vbon/optim/schedule.hpp"
#include "vbon/train/any_objective.hpp"
#include "vbon/train/epoch_order.hpp"

namespace vbon::train {
/// Where the responses of an objective with one stream come from.
enum class Source {
  policy,
  cache,
  pairs,  // Phase::pairs, a data set of preferences; no reward is called
};

/// Which cached responses an offline step takes.
enum class Draw {
  all,       // every one, weight 1/M
  weighted,  // every one, weighted with its probability of being the best of a random n-subset
  uniform,   // `samples` of them at random, weight 1/samples
  outer,     // `samples` at random from the worst and the best quarter, half of each, weight 1/samples
  best,      // `samples` drawn with the probabilities of `weighted`, each weight 1/samples
};

struct Phase {
  std::string name = "train";
  Source source = Source::policy;
  Draw draw = Draw::all;                   // how cached responses are taken
  std::span<const Preference> pairs = {};  // of Source::pairs; a step takes `prompts` of them, epoch after epoch
  AnyObjective objective = {};
  Index steps = 0;
  Index prompts = 16;             // per step
  Index samples = 4;              // responses per prompt, drawn from the policy or taken from the cache
  Index updates = 1;              // optimiser steps per rollout
  double rate = 1e-5;             // peak learning rate
  optim::Schedule schedule = {};  // factor of the peak, by step counted from 1
  double critic_rate = 1e-2;      // learning rate of the critic, where the objective needs one
  double n = 4;                   // N of the subset weights

  bool from_policy() const { return streams() ? objective.needs.min_group > 0 : source == Source::policy; }
  bool from_cache() const { return streams() ? objective.needs.reference_group > 0 : source == Source::cache; }
  bool from_pairs() const { return !streams() && source == Source::pairs; }
  bool from_anchor() const { return objective.needs.anchor_group > 0; }
  bool has_anchor() const { return from_anchor() || objective.needs.anchor_log_prob; }
  /// Responses per prompt drawn from the anchor: what the objective fixes, or a group of the usual size.
  Index anchor_samples() const { return objective.streams ? objective.needs.anchor_group : samples; }

 private:
  /// The objective says where its responses come from: several places, or the anchor.
  bool streams() const { return objective.streams || from_anchor(); }
};

/// @throws ConfigError for a phase that cannot run, naming it; group_too_small
template <class = void>
void check(const Phase& phase) {
  const std::string where = "phase '" + phase.name + "'";
  require<ConfigError>(static_cast<bool>(phase.objective), where, " has no objective");
  require<ConfigError>(phase.steps >= 0 && phase.prompts >= 1 && phase.samples >= 1 && phase.updates >= 1, where,
                       ": steps >= 0 and prompts, samples, updates >= 1 expected");
  if (phase.source == Source::pairs) {
    const Needs& needs = phase.objective.needs;
    require<ConfigError>(phase.from_pairs() && needs.reference_group >= 2 && !needs.ref_reward, where, ": objective '",
                         phase.objective.name,
                         "' cannot learn from a data set of preference pairs; dpo, ipo and others that compare two "
                         "responses can");
    require<ConfigError>(!phase.pairs.empty(), where, ": objective '", phase.objective.name,
                         "' with 0 preference pairs; at least one expected");
  }
  require<ConfigError>(!phase.from_policy() || phase.samples >= phase.objective.needs.min_group,
                       ErrorCode{"group_too_small"}, where, ": objective '", phase.objective.name, "' needs at least ",
                       phase.objective.needs.min_group, " samples of a prompt, got ", phase.samples);
  require<ConfigError>(!phase.from_cache() || phase.draw == Draw::all || phase.draw == Draw::weighted ||
                           phase.samples >= phase.objective.needs.reference_group,
                       ErrorCode{"group_too_small"}, where, ": objective '", phase.objective.name, "' needs at least ",
                       phase.objective.needs.reference_group, " cached responses of a prompt, got ", phase.samples);
  require<ConfigError>(!phase.from_anchor() || phase.anchor_samples() >= phase.objective.needs.anchor_group,
                       ErrorCode{"group_too_small"}, where, ": objective '", phase.objective.name, "' needs at least ",
                       phase.objective.needs.anchor_group, " samples of a prompt, got ", phase.samples);
  require<ConfigError>(
      phase.objective.anchor.eta >= 0 && phase.objective.anchor.eta <= 1 && phase.objective.anchor.swap_every >= 0, where,
      ": anchor with eta in [0, 1] and swap_every >= 0 expected, got ", phase.objective.anchor.eta, " and ",
      phase.objective.anchor.swap_every);
}

/// P(best of n) for every cached reward: of a random n-subset where n is whole and the cache is large enough,
/// of n draws with replacement otherwise. Sums to 1.
template <class = void>
std::vector<double> best_of_n_weights(std::span<const double> rewards, double n) {
  if (n == std::floor(n) && n <= static_cast<double>(rewards.size()))
    return bon::subset_max_weights(rewards, static_cast<Index>(n));
  return bon::resampled_max_weights(rewards, n);
}

/// `count` indices drawn with given probabilities by one uniform and equal strides: an index of weight w comes
/// up floor(count w) or ceil(count w) times. Ascending.
/// @param weight  sums to 1
template <class = void>
std::vector<Index> systematic_draw(std::span<const double> weight, Index count, double uniform) {
  std::vector<Index> chosen;
  double cumulative = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    cumulative += weight[i] * static_cast<double>(count);
    while (static_cast<Index>(chosen.size()) < count && uniform + static_cast<double>(chosen.size()) < cumulative)
      chosen.push_back(static_cast<Index>(i));
  }
  while (static_cast<Index>(chosen.size()) < count) chosen.push_back(static_cast<Index>(weight.size()) - 1);  // rounding
  return chosen;
}

/// `count` of `total` indices without repetition, ascending.
template <class = void>
std::vector<Index> uniform_draw(Index total, Index count, RngKey key) {
  std::vector<Index> order(static_cast<std::size_t>(total));
  std::iota(order.begin(), order.end(), Index{0});
  count = std::min(count, total);
  for (Index k = 0; k < count; ++k)
    std::swap(order[static_cast<std::size_t>(k)],
              order[static_cast<std::size_t>(k + key.below(static_cast<std::uint64_t>(k), total - k))]);
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

/// `count` indices at random from the lowest and the highest quarter of the rewards, half of each: the
/// responses that tell most about which way the reward points. Ascending; ties by index.
template <class = void>
std::vector<Index> outer_draw(std::span<const double> rewards, Index count, RngKey key) {
  const Index total = static_cast<Index>(rewards.size());
  std::vector<Index> order(rewards.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return rewards[static_cast<std::size_t>(a)] < rewards[static_cast<std::size_t>(b)];
  });
  const Index low = count / 2, high = count - low;
  const Index quarter = std::min(total / 2, std::max({total / 4, low, high}));
  std::vector<Index> chosen;
  for (const Index i : uniform_draw(quarter, low, key.fold(0))) chosen.push_back(order[static_cast<std::size_t>(i)]);
  for (const Index i : uniform_draw(quarter, high, key.fold(1)))
    chosen.push_back(order[static_cast<std::size_t>(total - 1 - i)]);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}
}  // namespace vbon::train
