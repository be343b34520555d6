// vbon/objective/score_function.hpp
//
// The score-function gradient (Williams 1992): for a score S(y) and a baseline b,
//
//   loss = -mean over prompts of sum_i w_i S_i,    d loss / d log pi(y_i) = -w_i (S_i - b_i) / P.
//
// With w = 1/M it is the sampled estimate, with w = pi(y) over all responses the exact gradient.
#pragma once
#include "vbon/objective/baseline.hpp"
#include "vbon/objective/concept.hpp"

namespace vbon::objective {
/// The gradient for advantages [R] that already went through a baseline; `loss` is the caller's.
template <class Array = vbon::Array>
ObjectiveResult weighted_log_probs(const RolloutBatch& batch, const vbon::Array& advantage_of_response, double loss) {
  const Array &weight = batch.weight, &advantage = advantage_of_response;
  return {.loss = loss, .dlog_prob = per_token(batch, -(weight * advantage) / static_cast<double>(batch.prompts()))};
}

/// @throws DomainError `unsupported_sample` when a score is not finite
template <Baseline B>
ObjectiveResult score_function(std::string_view who, const RolloutBatch& batch, const Array& score, const B& baseline) {
  require_groups(who, batch, B::min_group);
  require_finite(who, "weight", batch.weight, batch.responses());
  for (Index i = 0; i < score.size(); ++i)
    require<DomainError>(std::isfinite(score[i]), ErrorCode{"unsupported_sample"}, who, ": response ", i, " has score ",
                         score[i], "; the reference gives it no probability");
  const auto loss = [&]<class Array>(const Array& weight) {
    return -(weight * score).sum() / static_cast<double>(batch.prompts());
  };
  return weighted_log_probs(batch, score - baseline(batch, score), loss(batch.weight));
}
}  // namespace vbon::objective
