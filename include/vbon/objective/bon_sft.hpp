// vbon/objective/bon_sft.hpp
//
// BoN-SFT: maximum likelihood on best-of-N responses of the reference; the population optimum is pi_bon
// (forward KL). Each group is used once (n = 0: its best response, the first one at a tie), or all of its
// M responses with the probability that each is the best of a random n-subset: the same mean with much
// less variance, and the offline warm start of variational best-of-N.
#pragma once
#include <span>

#include "vbon/bon/subset_weights.hpp"
#include "vbon/objective/check.hpp"
#include "vbon/objective/concept.hpp"
#include "vbon/objective/group.hpp"
#include "vbon/objective/laws.hpp"

namespace vbon::objective {
/// Weight of each response as a draw of best-of-n, summing to 1 over a prompt [R].
template <class = void>
Array best_of_n_weights(const RolloutBatch& batch, Index n) {
  Array weight = Array::Zero(batch.responses());
  for (const Group& g : groups(batch)) {
    const auto reward = batch.reward.segment(g.begin, g.size);
    if (n == 0) {
      weight[g.begin + first_best(reward)] = 1;
    } else {
      const auto share = bon::subset_max_weights(std::span(reward.data(), static_cast<std::size_t>(g.size)), n);
      weight.segment(g.begin, g.size) = Eigen::Map<const Array>(share.data(), g.size);
    }
  }
  return weight;
}

/// loss = -(1/P) sum w_i log pi(y_i); `token_mean` divides by the weighted number of tokens instead of P.
/// @throws DomainError `nan_reward`, `empty_group`, `cache_too_small` (n above the group), n < 0
struct BonSft {
  static constexpr std::string_view name = "bon_sft";
  static constexpr Needs needs{.min_group = 0, .reference_group = 1};
  using laws = Laws<law::Surrogate, law::Ranks, law::PerPrompt>;

  Index n = 0;
  bool token_mean = false;
  void each_option(auto&& f) {
    f("n", n, "draws of best-of-N by subset weights; 0: the best of each group");
    f("token_mean", token_mean, "divide by tokens instead of prompts");
  }
  constexpr bool by_prompt() const { return !token_mean; }

  template <class Array = vbon::Array>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_groups(name, batch);
    require_at_least(name, "n", static_cast<double>(n), 0);
    require_ordered(name, "reward", batch.reward, batch.responses());
    require_finite(name, "log_prob", batch.log_prob, batch.tokens());
    const Array weight = best_of_n_weights(batch, n);
    double total = static_cast<double>(batch.prompts());
    if (token_mean) total = per_token(batch, weight).sum();
    const Array log_prob = per_response(batch, batch.log_prob);
    return {.loss = -(weight * log_prob).sum() / total, .dlog_prob = per_token(batch, -weight / total)};
  }
};
}  // namespace vbon::objective
