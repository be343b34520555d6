// vbon/eval/rmb.hpp
//
// How good a reward is at telling responses apart: pairwise accuracy and best-of-N accuracy in the manner
// of RMB (Zhou et al., arXiv 2410.09893). A tie is wrong; the variant that counts it half stands beside.
#pragma once
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/index.hpp"

namespace vbon::eval {
namespace detail {
inline void require_rmb_score(double score, std::string_view what) {
  require<DomainError>(!std::isnan(score), ErrorCode{"nan_reward"}, "rmb: a ", what, " score is NaN");
}
}  // namespace detail

struct PairwiseAccuracy {
  double accuracy = 0;            // share of chosen > rejected
  double accuracy_half_ties = 0;  // ties count half
  double mean_margin = 0;         // mean of chosen - rejected, equal scores 0; NaN where +inf and -inf meet
};
/// @throws DomainError for no pairs or NaN scores; ShapeError when sizes differ
template <class = void>
PairwiseAccuracy pairwise_accuracy(std::span<const double> chosen, std::span<const double> rejected) {
  require<ShapeError>(chosen.size() == rejected.size(), "rmb: as many rejected as chosen scores expected, got ",
                      rejected.size(), " and ", chosen.size());
  require<DomainError>(!chosen.empty(), "rmb: at least one pair expected, got none");
  PairwiseAccuracy result;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    detail::require_rmb_score(chosen[i], "chosen");
    detail::require_rmb_score(rejected[i], "rejected");
    result.accuracy += chosen[i] > rejected[i] ? 1 : 0;
    result.accuracy_half_ties += chosen[i] > rejected[i] ? 1 : chosen[i] == rejected[i] ? 0.5 : 0;
    if (chosen[i] != rejected[i]) result.mean_margin += chosen[i] - rejected[i];  // two infinities may be equal
  }
  const auto pairs = static_cast<double>(chosen.size());
  return {result.accuracy / pairs, result.accuracy_half_ties / pairs, result.mean_margin / pairs};
}

struct BestOfNAccuracy {
  std::vector<bool> correct;  // the best beats every loser
  double accuracy = 0;        // over tuples
  std::map<std::int64_t, double> by_category;
  double macro_accuracy = 0;     // mean over categories
  double pairwise_accuracy = 0;  // over all (best, loser) pairs
};
/// @param losers    scores of the losers of each tuple, at least one each
/// @param category  of each tuple
/// @throws DomainError for no tuples, a tuple without losers, NaN scores; ShapeError when sizes differ
template <class = void>
BestOfNAccuracy best_of_n_accuracy(std::span<const double> best, const std::vector<std::vector<double>>& losers,
                                   std::span<const std::int64_t> category) {
  require<ShapeError>(best.size() == losers.size() && best.size() == category.size(),
                      "rmb: one list of losers and one category for each of ", best.size(), " tuples expected, got ",
                      losers.size(), " and ", category.size());
  require<DomainError>(!best.empty(), "rmb: at least one tuple expected, got none");
  BestOfNAccuracy result;
  std::map<std::int64_t, double> size;
  double beaten = 0, pairs = 0, right = 0;
  for (std::size_t i = 0; i < best.size(); ++i) {
    require<DomainError>(!losers[i].empty(), "rmb: tuple ", i, " has no loser");
    detail::require_rmb_score(best[i], "best");
    double won = 0;
    for (const double loser : losers[i]) {
      detail::require_rmb_score(loser, "loser");
      won += best[i] > loser ? 1 : 0;
    }
    const bool all = won == static_cast<double>(losers[i].size());
    result.correct.push_back(all);
    result.by_category[category[i]] += all ? 1 : 0;
    ++size[category[i]];
    right += all ? 1 : 0;
    beaten += won;
    pairs += static_cast<double>(losers[i].size());
  }
  result.accuracy = right / static_cast<double>(best.size());
  result.pairwise_accuracy = beaten / pairs;
  for (auto& [id, value] : result.by_category) {
    value /= size[id];
    result.macro_accuracy += value / static_cast<double>(size.size());
  }
  return result;
}
}  // namespace vbon::eval
