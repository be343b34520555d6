// vbon/objective/pair_builder.hpp
//
// Preference pairs from the rewards of one prompt's responses. Offline pairs are groups of two with
// rewards 1 and 0, which every rule here turns back into the pair.
#pragma once
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "vbon/objective/group.hpp"
#include "vbon/objective/pair_loss.hpp"

namespace vbon::objective {
struct IndexPair {
  Index winner = 0, loser = 0;
  double weight = 1;  // share of the label: 1, or the probability that the winner wins
  friend bool operator==(const IndexPair&, const IndexPair&) = default;
};
enum class PairRule { best_worst, best_random, all_strict, bradley_terry };
constexpr std::array<std::string_view, 4> option_names(PairRule) {
  return {"best_worst", "best_random", "all_strict", "bradley_terry"};
}

/// P(i preferred to j) under Bradley-Terry: sigmoid of the reward difference.
inline double bradley_terry(double reward_i, double reward_j) { return sigmoid(reward_i - reward_j); }

/// Pairs of one group: the best against the worst (none if all rewards are equal, the first index wins
/// ties); the best against each one of lower reward, weighted 1/(M - 1), which is the mean over one drawn at random (as good
/// a one makes no pair); every two responses with different rewards; or every two responses in both orders, each weighted
/// with the probability of its label under Bradley-Terry, which is the mean over drawn labels without their noise.
/// @throws DomainError `group_too_small` for fewer than 2 rewards, `nan_reward`; `not_finite` under bradley_terry
template <class Rewards>
std::vector<IndexPair> build_pairs(PairRule rule, const Rewards& reward) {
  require<DomainError>(reward.size() >= 2, ErrorCode{"group_too_small"}, "pairs: 2 responses or more expected, got ",
                       reward.size());
  for (Index i = 0; i < reward.size(); ++i)
    require<DomainError>(!std::isnan(reward[i]), ErrorCode{"nan_reward"}, "pairs: reward ", i, " is NaN");
  std::vector<IndexPair> pairs;
  if (rule == PairRule::best_worst) {
    const IndexPair pair{first_best(reward), first_worst(reward)};
    if (reward[pair.winner] > reward[pair.loser]) pairs.push_back(pair);
    return pairs;
  }
  if (rule == PairRule::best_random) {
    const Index best = first_best(reward);
    for (Index j = 0; j < reward.size(); ++j)
      if (reward[best] > reward[j]) pairs.push_back({best, j, 1 / static_cast<double>(reward.size() - 1)});
    return pairs;
  }
  for (Index i = 0; i < reward.size(); ++i)
    require<DomainError>(rule == PairRule::all_strict || std::isfinite(reward[i]), ErrorCode{"not_finite"},
                         "pairs: finite rewards expected under bradley_terry, got ", reward[i], " at ", i);
  for (Index i = 0; i < reward.size(); ++i)
    for (Index j = 0; j < reward.size(); ++j) {
      if (rule == PairRule::all_strict && reward[i] > reward[j]) pairs.push_back({i, j});
      if (rule == PairRule::bradley_terry && i != j) pairs.push_back({i, j, bradley_terry(reward[i], reward[j])});
    }
  return pairs;
}

/// A pair labelled by Bradley-Terry with one uniform draw in [0, 1).
inline IndexPair label_pair(Index i, Index j, double reward_i, double reward_j, double uniform) {
  return uniform < bradley_terry(reward_i, reward_j) ? IndexPair{i, j} : IndexPair{j, i};
}
/// The best response against one other, drawn evenly with one uniform in [0, 1).
template <class Rewards>
IndexPair best_against_random(const Rewards& reward, double uniform) {
  require<DomainError>(reward.size() >= 2, ErrorCode{"group_too_small"}, "pairs: 2 responses or more expected, got ",
                       reward.size());
  const Index best = first_best(reward);
  const auto draw = static_cast<Index>(uniform * static_cast<double>(reward.size() - 1));
  const Index other = std::min<Index>(draw, reward.size() - 2);
  return {best, other < best ? other : other + 1};
}
}  // namespace vbon::objective
