// vbon/decode/prune.hpp
//
// Speculative rejection's rule: generate in pieces, score the partial responses, drop the worst share.
// Source: Sun et al., "Fast best-of-N decoding via speculative rejection", arXiv 2410.20290.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "vbon/decode/pick.hpp"

namespace vbon::decode {
/// @throws DomainError for alpha outside [0, 1)
inline void require_alpha(double alpha) {
  require<DomainError>(alpha >= 0 && alpha < 1, "speculative_rejection: alpha in [0, 1) expected, got ", alpha);
}
/// The max(1, m - floor(alpha m)) highest of m scores, in index order.
template <class = void>
std::vector<Index> prune(std::span<const double> score, double alpha) {
  require_alpha(alpha);
  require_finite_scores(score, "speculative_rejection");
  const auto m = static_cast<Index>(score.size());
  const auto dropped = static_cast<Index>(std::floor(alpha * static_cast<double>(m)));
  std::vector<Index> kept = best_indices(score, std::max<Index>(1, m - dropped));
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// A recorded run: what survives, what it costs, what is returned.
struct PruneRun {
  std::vector<std::vector<Index>> survivors;  // after each pruning
  Index last_checkpoint = 0;                  // 1-based
  Index selected = 0;
  Index tokens = 0;
  Index tokens_best_of_n = 0;
};
/// @param score   score[i][t] of sequence i at checkpoint t
/// @param length  tokens of each whole sequence
/// @throws DomainError for no sequence, alpha outside [0, 1), scores that are not finite; ShapeError
template <class = void>
PruneRun prune_run(const std::vector<std::vector<double>>& score, std::span<const Index> length, double alpha,
                   Index checkpoint_tokens, Index max_tokens) {
  require_alpha(alpha);
  require<DomainError>(!length.empty(), ErrorCode{"empty_group"},
                       "speculative_rejection: at least one sequence expected, got none");
  require<ShapeError>(score.size() == length.size(), "speculative_rejection: scores of ", length.size(),
                      " sequences expected, got ", score.size());
  require<DomainError>(checkpoint_tokens >= 1 && max_tokens >= 1,
                       "speculative_rejection: checkpoint_tokens and max_tokens >= 1 expected");
  const Index checkpoints = (max_tokens + checkpoint_tokens - 1) / checkpoint_tokens;
  PruneRun run;
  std::vector<Index> alive(length.size()), produced(length.size(), 0);
  std::iota(alive.begin(), alive.end(), Index{0});
  const auto at = [](auto& values, Index i) -> auto& { return values[static_cast<std::size_t>(i)]; };
  const auto finished = [&](Index i) { return at(produced, i) == at(length, i); };
  for (Index t = 1;; ++t) {
    std::vector<double> now;
    for (const Index i : alive) {
      const Index target = std::min(at(length, i), t * checkpoint_tokens);
      run.tokens += target - at(produced, i);
      at(produced, i) = target;
      require<ShapeError>(static_cast<Index>(at(score, i).size()) >= t, "speculative_rejection: a score of sequence ", i,
                          " at checkpoint ", t, " expected");
      now.push_back(at(at(score, i), t - 1));
    }
    require_finite_scores(now, "speculative_rejection");
    run.last_checkpoint = t;
    run.selected = at(alive, best_index(now));
    if (t == checkpoints || std::ranges::all_of(alive, finished)) break;
    std::vector<Index> kept;
    for (const Index k : prune(now, alpha)) kept.push_back(at(alive, k));
    alive = std::move(kept);
    run.survivors.push_back(alive);
    // The best of those that are left stands; no more tokens can change it.
    if (std::ranges::all_of(alive, finished)) break;
  }
  for (const Index tokens : length) run.tokens_best_of_n += tokens;
  return run;
}
}  // namespace vbon::decode
