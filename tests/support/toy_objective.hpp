// An objective that the library does not have, appended to its registry: the law tests run over this list, so they also
// show that an entry is taken up by being there.
#pragma once
#include "vbon/objective/registry.hpp"

namespace vbon::test {
/// Likelihood of everything.
struct Imitation {
  static constexpr std::string_view name = "imitation";
  static constexpr Needs needs{.min_group = 0, .reference_group = 1};
  using laws = objective::Laws<objective::law::Surrogate, objective::law::Ranks, objective::law::PerPrompt>;
  double scale = 1;
  void each_option(auto&& f) { f("scale", scale, "factor of the loss"); }
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    objective::require_groups(name, batch);
    const Array share = scale * batch.weight / static_cast<double>(batch.prompts());
    return {.loss = -(share * per_response(batch, batch.log_prob)).sum(), .dlog_prob = per_token(batch, -share)};
  }
};
using Objectives = decltype(std::tuple_cat(objective::Registry{}, std::tuple<Imitation>{}));
}  // namespace vbon::test
