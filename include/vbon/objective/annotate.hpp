// vbon/objective/annotate.hpp
//
// Fills in where each response stands in the reference's reward distribution: log_cdf = log P(r < r(y)),
// log_tie = log P(r = r(y)), log_cdf_le = log P(r <= r(y)), from the cached rewards with an estimator, or
// exactly from an enumerated reference.
#pragma once
#include <algorithm>
#include <limits>
#include <vector>

#include "vbon/bon/estimator.hpp"
#include "vbon/objective/check.hpp"
#include "vbon/objective/group.hpp"

namespace vbon::objective {
/// Whether the responses are fresh draws or themselves among the cached rewards (then each is left out
/// of its own estimate).
enum class Drawn { fresh, from_cache };

/// @param batch      reward [R] and ref_reward [P], each ascending
/// @param estimator  of the CDF from M rewards; harmonic unless said
/// @throws DomainError  `empty_cache`, `nan_reward`; `unknown_reward` when a response said to be cached is not
template <CdfEstimator E = bon::Harmonic>
void annotate(RolloutBatch& batch, const E& estimator = {}, Drawn drawn = Drawn::fresh) {
  require_ordered("annotate", "reward", batch.reward, batch.responses());
  require<ShapeError>(static_cast<Index>(batch.ref_reward.size()) == batch.prompts(), "annotate: cached rewards of ",
                      batch.prompts(), " prompts expected, got ", batch.ref_reward.size());
  batch.log_cdf.resize(batch.responses());
  batch.log_tie.resize(batch.responses());
  batch.log_cdf_le.resize(batch.responses());
  std::vector<double> others;
  for (const Group& g : groups(batch)) {
    const std::vector<double>& cached = batch.ref_reward[static_cast<std::size_t>(g.prompt)];
    for (Index i = g.begin; i < g.end(); ++i) {
      std::span<const double> sorted = cached;
      if (drawn == Drawn::from_cache) {
        others = cached;
        const auto own = std::lower_bound(others.begin(), others.end(), batch.reward[i]);
        require<DomainError>(own != others.end() && *own == batch.reward[i], ErrorCode{"unknown_reward"},
                             "annotate: reward ", batch.reward[i], " of prompt ", g.prompt, " is not in its cache");
        others.erase(own);
        sorted = others;
      }
      const bon::CdfEstimate estimate = bon::estimate_cdf(sorted, batch.reward[i], estimator);
      batch.log_cdf[i] = estimate.log_cdf;
      batch.log_tie[i] = estimate.log_tie;
      batch.log_cdf_le[i] = estimate.log_cdf_le;
    }
  }
}

/// The same from the reference's whole law.
/// @param reference_law  an enumerated reference: weight = pi_ref(y) and reward of every response
template <class = void>
void annotate_exactly(RolloutBatch& batch, const RolloutBatch& reference_law) {
  require_ordered("annotate_exactly", "reward", batch.reward, batch.responses());
  require_ordered("annotate_exactly", "reward of the law", reference_law.reward, reference_law.responses());
  require<ShapeError>(reference_law.prompts() == batch.prompts(), "annotate_exactly: the law of ", batch.prompts(),
                      " prompts expected, got ", reference_law.prompts());
  batch.log_cdf.resize(batch.responses());
  batch.log_tie.resize(batch.responses());
  batch.log_cdf_le.resize(batch.responses());
  const auto law = groups(reference_law);
  for (const Group& g : groups(batch)) {
    const Group& all = law[static_cast<std::size_t>(g.prompt)];
    for (Index i = g.begin; i < g.end(); ++i) {
      double below = 0, equal = 0, above = 0;
      for (Index j = all.begin; j < all.end(); ++j) {
        const double mass = reference_law.weight[j], reward = reference_law.reward[j];
        (reward < batch.reward[i] ? below : reward == batch.reward[i] ? equal : above) += mass;
      }
      const double total = below + equal + above;
      batch.log_cdf[i] = std::log(below / total);
      batch.log_tie[i] = std::log(equal / total);
      batch.log_cdf_le[i] = above == 0 ? 0 : std::log((below + equal) / total);
    }
  }
}
}  // namespace vbon::objective
