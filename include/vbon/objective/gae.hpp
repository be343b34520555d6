// vbon/objective/gae.hpp
//
// Generalised advantage estimation: delta_t = R_t + gamma V_(t+1) - V_t with V = 0 after the last token,
// A_t = delta_t + gamma lambda A_(t+1). lambda = 1 is reward-to-go minus V, lambda = 0 is delta.
// Source: Schulman et al., arXiv 1506.02438.
#pragma once
#include "vbon/objective/check.hpp"
#include "vbon/objective/group.hpp"

namespace vbon::objective {
struct GaeSettings {
  double gamma = 1;
  double lambda = 0.95;
  void check(std::string_view who = "gae") const {
    require_within(who, "gamma", gamma, 0, 1);
    require_within(who, "lambda", lambda, 0, 1);
  }
};

/// Advantages of one row of tokens, written over `advantage`.
template <class Values, class Out>
void gae_row(const Values& reward, const Values& value, const GaeSettings& settings, Out&& advantage) {
  double next_value = 0, next_advantage = 0;
  for (Index t = reward.size() - 1; t >= 0; --t) {
    const double delta = reward[t] + settings.gamma * next_value - value[t];
    next_advantage = delta + settings.gamma * settings.lambda * next_advantage;
    next_value = value[t];
    advantage[t] = next_advantage;
  }
}

/// Advantages of every response of a batch [T]; returns are advantages + value.
/// @throws DomainError when gamma or lambda leaves [0, 1]
template <class = void>
Array gae(const RolloutBatch& batch, const Array& reward, const Array& value, const GaeSettings& settings) {
  settings.check();
  require_finite("gae", "token reward", reward, batch.tokens());
  require_finite("gae", "value", value, batch.tokens());
  Array advantage(batch.tokens());
  for (Index i = 0; i < batch.responses(); ++i) {
    const Index begin = batch.offset[static_cast<std::size_t>(i)], length = batch.length(i);
    gae_row(reward.segment(begin, length), value.segment(begin, length), settings, advantage.segment(begin, length));
  }
  return advantage;
}

/// (A - mean)/sqrt(variance + epsilon) with the unbiased variance.
/// @throws DomainError for fewer than 2 values
template <class Array = vbon::Array>
Array whitened(const vbon::Array& advantage, double epsilon = 1e-8) {
  require<DomainError>(advantage.size() >= 2, ErrorCode{"empty_mask"}, "whitening: 2 tokens or more expected, got ",
                       advantage.size());
  const double deviation = deviation_of(advantage, 1);
  const double root = std::sqrt(deviation * deviation + epsilon);
  Array centred = advantage;
  centred -= mean_of(advantage);
  return root > 0 ? Array(centred / root) : centred;
}
}  // namespace vbon::objective
