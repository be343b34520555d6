// vbon/objective/likelihood.hpp
//
// Weighted maximum likelihood: plain supervised fine-tuning. When the responses were drawn from the cache with
// the probabilities of best-of-N this is BoN-SFT by sampling: few responses, all of full weight, instead of the
// whole group of which most hardly count.
#pragma once
#include "vbon/objective/check.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/objective/laws.hpp"

namespace vbon::objective {
/// loss = -(1/P) sum weight_i log pi(y_i)
struct Likelihood {
  static constexpr std::string_view name = "likelihood";
  static constexpr Needs needs{.min_group = 0, .reference_group = 1};
  using laws = Laws<law::Surrogate, law::PerPrompt>;

  void each_option(auto&&) {}
  constexpr bool by_prompt() const { return true; }

  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_groups(name, batch);
    require_finite(name, "weight", batch.weight, batch.responses());
    require_finite(name, "log_prob", batch.log_prob, batch.tokens());
    const Array share = batch.weight / static_cast<double>(batch.prompts());
    return {.loss = -(share * per_response(batch, batch.log_prob)).sum(), .dlog_prob = per_token(batch, -share)};
  }
};
}  // namespace vbon::objective
