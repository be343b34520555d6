// vbon/objective/ppo.hpp
//
// PPO for language models: token rewards with the KL to the reference inside, GAE with a critic, clipped
// policy and value losses. Everything but log_prob and value was fixed when the samples were drawn, so the
// objective stays a pure function and serves every epoch over them. Sources: Schulman et al., arXiv
// 1707.06347; Ziegler et al., arXiv 1909.08593; for vBoN arXiv 2407.06057.
#pragma once
#include <array>

#include "vbon/objective/cdf_side.hpp"
#include "vbon/objective/gae.hpp"
#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
constexpr std::array<std::string_view, 3> option_names(KlEstimator) { return {"k1", "k2", "k3"}; }

struct PpoClip {
  double clip = 0.2;
  double clip_value = 0.2;
  double value_weight = 0.1;
};

/// The clipped losses over a flat list of tokens whose weights sum to 1 (mask / number of valid tokens):
///   pg = sum w max(-A rho, -A clip(rho, 1 -+ clip)),   vf = 1/2 sum w max((V - ret)^2, (clip(V, V_old -+ clip_value) -
///   ret)^2)
/// Where both branches are equal the unclipped one has the gradient. Without a critic pass empty values.
struct PpoTokens {
  const Array &log_prob, &old_log_prob, &advantage, &value, &old_value, &returns, &weight;
};
template <class = void>
ObjectiveResult ppo_loss(const PpoTokens& in, const PpoClip& settings) {
  require_within("ppo", "clip", settings.clip, 0, 1);
  require_at_least("ppo", "clip_value", settings.clip_value, 0);
  require_at_least("ppo", "value_weight", settings.value_weight, 0);
  const Index tokens = in.log_prob.size();
  const bool critic = in.value.size() > 0;
  ObjectiveResult result{
      .loss = 0, .dlog_prob = Array::Zero(tokens), .dvalue = critic ? Array(Array::Zero(tokens)) : Array()};
  double policy_loss = 0, value_loss = 0, clipped = 0, valid = 0, kl = 0;
  for (Index t = 0; t < tokens; ++t) {
    if (in.weight[t] == 0) continue;  // a padded place influences nothing
    ++valid;
    const double log_rho = in.log_prob[t] - in.old_log_prob[t], rho = bounded_exp(log_rho), a = in.advantage[t];
    const double plain = -a * rho, bounded = -a * std::clamp(rho, 1 - settings.clip, 1 + settings.clip);
    policy_loss += in.weight[t] * std::max(plain, bounded);
    if (plain >= bounded) result.dlog_prob[t] = in.weight[t] * plain;
    clipped += bounded > plain ? 1 : 0;
    kl += in.weight[t] * kl_estimate(KlEstimator::k3, -log_rho);
    if (!critic) continue;
    const double near =
        std::clamp(in.value[t], in.old_value[t] - settings.clip_value, in.old_value[t] + settings.clip_value);
    const double off = in.value[t] - in.returns[t], off_near = near - in.returns[t];
    value_loss += 0.5 * in.weight[t] * std::max(off * off, off_near * off_near);
    if (off * off >= off_near * off_near) result.dvalue[t] = settings.value_weight * in.weight[t] * off;
  }
  require<DomainError>(valid > 0, ErrorCode{"empty_mask"}, "ppo: at least one valid token expected, got none");
  result.loss = policy_loss + settings.value_weight * value_loss;
  result.metrics = {
      {"policy_loss", policy_loss}, {"value_loss", value_loss}, {"clip_fraction", clipped / valid}, {"approx_kl", kl}};
  return result;
}

/// The coefficient after a batch: beta (1 + clip(KL/target - 1, -+0.2) steps/horizon).
/// @throws DomainError when target or horizon is not positive
inline double adapted_kl_weight(double beta, double kl, double target, double horizon, double steps) {
  require_positive("kl controller", "target", target);
  require_positive("kl controller", "horizon", horizon);
  return beta * (1 + std::clamp(kl / target - 1, -0.2, 0.2) * steps / horizon);
}

/// What PPO, vBoN by PPO and PF-PPO share.
struct PpoSettings {
  KlEstimator estimator = KlEstimator::k1;
  GaeSettings gae = {};
  bool whiten = true;
  PpoClip clip = {};
  void each_option(auto&& f) {
    f("estimator", estimator, "KL estimator of the token rewards: k1, k2 or k3");
    f("gamma", gae.gamma, "discount, in [0, 1]");
    f("lambda", gae.lambda, "of GAE, in [0, 1]");
    f("whiten", whiten, "bring advantages to mean 0 and variance 1 over the tokens of the batch");
    f("clip", clip.clip, "clip range of the ratio");
    f("clip_value", clip.clip_value, "clip range of the value");
    f("value_weight", clip.value_weight, "weight of the value loss");
  }

  /// @param terminal  reward at the end of each response [R]
  /// @param share     weight of each response [R]; a response of weight 0 is left out, whitening included
  template <class Array = vbon::Array>
  ObjectiveResult operator()(std::string_view who, const RolloutBatch& batch, const vbon::Array& terminal, double beta,
                             const vbon::Array& share) const {
    gae.check(who);
    require_groups(who, batch);
    require_finite(who, "weight", share, batch.responses());
    require_finite(who, "log_prob", batch.log_prob, batch.tokens());
    require_finite(who, "old_log_prob", batch.old_log_prob, batch.tokens());
    const bool critic = batch.old_value.size() > 0;
    if (critic) require_finite(who, "value", batch.value, batch.tokens());
    const Array old_value = critic ? batch.old_value : Array(Array::Zero(batch.tokens()));
    const Array token_reward = shaped_token_reward(who, batch, terminal, beta, estimator);
    const Array raw = objective::gae(batch, token_reward, old_value, gae);
    const Array share_of_token = per_token(batch, share);
    const Array weight = share_of_token / share_of_token.sum();
    const Array returns = raw + old_value;
    const Array advantage = whiten ? whitened_where(raw, weight) : raw;
    return ppo_loss(
        {batch.log_prob, batch.old_log_prob, advantage, critic ? batch.value : Array(), old_value, returns, weight}, clip);
  }

 private:
  template <class Array>
  static Array whitened_where(const Array& advantage, const Array& weight) {
    std::vector<Index> kept;
    for (Index t = 0; t < weight.size(); ++t)
      if (weight[t] > 0) kept.push_back(t);
    Array result = Array::Zero(advantage.size());
    result(kept) = whitened(advantage(kept));
    return result;
  }
};

/// KL-constrained RL: maximises E[r] - beta KL(pi || pi_ref). With a kl_target beta follows the KL of the samples, from
/// batch to batch, and begins as given (Ziegler et al., section 2.2).
/// @throws DomainError settings, rewards or log-probs that are not finite, kl_target without beta
struct Ppo {
  static constexpr std::string_view name = "ppo";
  static constexpr Needs needs{.ref_log_prob = true, .old_log_prob = true, .value = true};
  using laws = Laws<law::Surrogate>;

  double beta = 0.05;
  double kl_target = 0;  // nats per response; 0: beta stays
  double horizon = 10000;
  PpoSettings settings = {};
  void each_option(auto&& f) {
    f("beta", beta, "weight of KL(policy || reference) in the token rewards, >= 0");
    f("kl_target", kl_target, "nats per response that beta is adapted to, >= 0; 0: beta stays");
    f("horizon", horizon, "responses in which beta changes by a fifth at most, of kl_target");
    settings.each_option(f);
  }
  constexpr Needs needs_now() const { return without_reference(needs, beta == 0 && kl_target == 0); }
  double* carried() { return kl_target > 0 ? &beta : nullptr; }
  template <class = void>
  double carried_after(const RolloutBatch& batch) const {
    const double kl = (batch.weight * per_response(batch, batch.old_log_prob - batch.ref_log_prob)).sum() /
                      static_cast<double>(batch.prompts());
    return adapted_kl_weight(beta, kl, kl_target, horizon, static_cast<double>(batch.responses()));
  }
  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_at_least(name, "kl_target", kl_target, 0);
    if (kl_target > 0) {
      require_positive(name, "beta with a kl_target", beta);
      require_positive(name, "horizon", horizon);
    }
    ObjectiveResult result = settings(name, batch, batch.reward, beta, batch.weight);
    if (kl_target > 0) result.metrics.push_back({"kl_weight", beta});
    return result;
  }
};

/// Variational best-of-N as the paper optimises it: PPO with reward log F and beta = 1/(N - 1).
/// @throws DomainError `invalid_n` (N <= 1), and as Ppo
struct VbonPpo {
  static constexpr std::string_view name = "vbon_ppo";
  static constexpr Needs needs{.ref_log_prob = true, .old_log_prob = true, .value = true, .ref_reward = true};
  using laws = Laws<law::Surrogate, law::Ranks>;

  double n = 4;
  Side side = Side::strict;
  PpoSettings settings = {};
  void each_option(auto&& f) {
    f("n", n, "draws of best-of-N, real, > 1");
    f("side", side, "the CDF at ties: strict, mid or weak");
    settings.each_option(f);
  }
  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require<DomainError>(n > 1, ErrorCode{"invalid_n"}, "vbon_ppo: N > 1 expected, got ", n);
    return settings(name, batch, side_log_cdf(name, batch, side), 1 / (n - 1), batch.weight);
  }
};
}  // namespace vbon::objective
