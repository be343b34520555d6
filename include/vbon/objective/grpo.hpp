// vbon/objective/grpo.hpp
//
// GRPO and its variants: rewards centred (and scaled) inside their group, one advantage for all tokens of
// a response, a clipped ratio to the policy that drew it, a k3 penalty in the loss. Variants differ in the
// scale of the advantage and in what a sum over tokens is divided by. Sources: GRPO, arXiv 2402.03300;
// Dr. GRPO, arXiv 2503.20783; DAPO, arXiv 2503.14476; GSPO, arXiv 2507.18071.
#pragma once
#include <array>
#include <type_traits>

#include "vbon/objective/kl_shaping.hpp"
#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
enum class GroupScale { group, batch, none };
constexpr std::array<std::string_view, 3> option_names(GroupScale) { return {"group", "batch", "none"}; }

/// (r - group mean)/(deviation + epsilon), or only centred. Equal rewards give exactly 0.
/// @throws DomainError `group_too_small`, epsilon < 0, rewards that are not finite
template <class Values>
Array group_advantage(const RolloutBatch& batch, const Values& reward, GroupScale scale, double epsilon, Index ddof = 1) {
  require_groups("grpo", batch, 2);
  require_at_least("grpo", "epsilon", epsilon, 0);
  require_finite("grpo", "reward", reward, batch.responses());
  require<DomainError>(ddof == 0 || ddof == 1, "grpo: ddof 0 or 1 expected, got ", ddof);
  const double batch_deviation = scale == GroupScale::batch ? deviation_of(reward, ddof) : 0;
  Array advantage(reward.size());
  for (const Group& g : groups(batch)) {
    const auto r = reward.segment(g.begin, g.size);
    auto a = advantage.segment(g.begin, g.size);
    a = r - mean_of(r);
    if (scale == GroupScale::none) continue;
    const double spread = (scale == GroupScale::group ? deviation_of(r, ddof) : batch_deviation) + epsilon;
    if (spread > 0) a /= spread;
  }
  return advantage;
}

enum class TokenAverage { sequence, tokens, fixed_length };
constexpr std::array<std::string_view, 3> option_names(TokenAverage) { return {"sequence", "tokens", "fixed_length"}; }
enum class RatioLevel { token, sequence };
constexpr std::array<std::string_view, 2> option_names(RatioLevel) { return {"token", "sequence"}; }

/// l_t = -min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) + beta k3_t with rho = pi/pi_old per token
/// (or the length-normalised ratio of the sequence). The average over tokens: within each sequence and then
/// over sequences; over all tokens; or the sum over sequences of sum_t l_t / max_length.
/// On policy the k3 term pulls along the gradient of KL(pi_ref || pi); for KL(pi || pi_ref) shape the reward.
struct ClippedSurrogate {
  TokenAverage average = TokenAverage::sequence;
  RatioLevel ratio = RatioLevel::token;
  double clip_low = 0.2;
  double clip_high = 0.2;
  double beta = 0;       // 0 does not read the reference
  Index max_length = 0;  // of fixed_length [tokens > 0]
  void each_option(auto&& f) {
    f("average", average, "what token losses are averaged over: sequence, tokens or fixed_length");
    f("ratio", ratio, "importance ratio per token or per sequence");
    f("clip_low", clip_low, "lower clip range of the ratio");
    f("clip_high", clip_high, "upper clip range of the ratio");
    f("beta", beta, "weight of the k3 penalty in the loss, >= 0");
    f("max_length", max_length, "divisor of fixed_length, in tokens");
  }

  /// @throws DomainError `empty_response`, settings; ShapeError when an array has another size
  template <class = void>
  ObjectiveResult operator()(std::string_view who, const RolloutBatch& batch, const Array& advantage) const {
    check(who, batch, advantage);
    const Array weight = token_weight(batch);
    ObjectiveResult result{.loss = 0, .dlog_prob = Array::Zero(batch.tokens())};
    double clipped = 0, kl = 0;
    for (Index i = 0; i < batch.responses(); ++i) {
      const Index begin = batch.offset[static_cast<std::size_t>(i)], length = batch.length(i);
      const double a = advantage[i];
      const double mean_log_ratio =
          (batch.log_prob.segment(begin, length) - batch.old_log_prob.segment(begin, length)).mean();
      for (Index t = begin; t < begin + length; ++t) {
        const double rho =
            bounded_exp(ratio == RatioLevel::token ? batch.log_prob[t] - batch.old_log_prob[t] : mean_log_ratio);
        const double plain = rho * a, bounded = std::clamp(rho, 1 - clip_low, 1 + clip_high) * a;
        const bool active = plain <= bounded;
        result.loss -= weight[t] * std::min(plain, bounded);
        if (active) result.dlog_prob[t] -= weight[t] * plain;
        clipped += active ? 0 : 1;
        if (batch.ref_log_prob.size() == 0) continue;
        const double d = batch.log_prob[t] - batch.ref_log_prob[t];
        const double k3 = kl_estimate(KlEstimator::k3, d);
        kl += k3;
        if (beta == 0) continue;
        result.loss += weight[t] * beta * k3;
        result.dlog_prob[t] += weight[t] * beta * (1 - bounded_exp(-d));
      }
    }
    const auto tokens = static_cast<double>(batch.tokens());
    result.metrics = {{"clip_fraction", clipped / tokens}};
    if (batch.ref_log_prob.size() > 0) result.metrics.push_back({"token_kl_k3", kl / tokens});
    return result;
  }

 private:
  template <class = void>
  void check(std::string_view who, const RolloutBatch& batch, const Array& advantage) const {
    require_groups(who, batch);
    require_within(who, "clip_low", clip_low, 0, 1);
    require_at_least(who, "clip_high", clip_high, 0);
    require_at_least(who, "beta", beta, 0);
    require<DomainError>(average != TokenAverage::fixed_length || max_length > 0, who, ": max_length > 0 expected, got ",
                         max_length);
    require_finite(who, "weight", batch.weight, batch.responses());
    require_finite(who, "advantage", advantage, batch.responses());
    require_finite(who, "log_prob", batch.log_prob, batch.tokens());
    require_finite(who, "old_log_prob", batch.old_log_prob, batch.tokens());
    if (beta > 0 || batch.ref_log_prob.size() > 0) require_finite(who, "ref_log_prob", batch.ref_log_prob, batch.tokens());
  }
  template <class = void>
  Array token_weight(const RolloutBatch& batch) const {
    Array weight = batch.weight / static_cast<double>(batch.prompts());  // [R], sums to 1
    if (average == TokenAverage::fixed_length) weight /= static_cast<double>(max_length);
    if (average == TokenAverage::sequence)
      for (Index i = 0; i < weight.size(); ++i) weight[i] /= static_cast<double>(batch.length(i));
    Array tokens = per_token(batch, weight);
    if (average == TokenAverage::tokens) tokens /= tokens.sum();
    return tokens;
  }
};

namespace detail {
struct GrpoDefaults {
  std::string_view name;
  GroupScale scale;
  TokenAverage average;
  double clip_high, clip_low = 0.2;
  RatioLevel ratio = RatioLevel::token;
};
inline constexpr GrpoDefaults grpo{"grpo", GroupScale::group, TokenAverage::sequence, 0.2};
inline constexpr GrpoDefaults dr_grpo{"dr_grpo", GroupScale::none, TokenAverage::fixed_length, 0.2};
inline constexpr GrpoDefaults dapo{"dapo", GroupScale::group, TokenAverage::tokens, 0.28};
inline constexpr GrpoDefaults gspo{"gspo", GroupScale::group, TokenAverage::sequence, 4e-4, 3e-4, RatioLevel::sequence};
}  // namespace detail

/// @tparam Defaults  name and settings of a variant; every setting stays an option
template <const detail::GrpoDefaults& Defaults>
struct GroupRelative {
  static constexpr std::string_view name = Defaults.name;
  static constexpr Needs needs{.ref_log_prob = true, .old_log_prob = true, .min_group = 2};
  using laws = std::conditional_t<Defaults.average == TokenAverage::tokens, Laws<law::Surrogate>,
                                  Laws<law::Surrogate, law::PerPrompt>>;

  GroupScale scale = Defaults.scale;
  double epsilon = 1e-4;
  ClippedSurrogate surrogate = {.average = Defaults.average,
                                .ratio = Defaults.ratio,
                                .clip_low = Defaults.clip_low,
                                .clip_high = Defaults.clip_high,
                                .max_length = 24};
  void each_option(auto&& f) {
    f("scale", scale, "divide centred rewards by the deviation of their group, of the batch, or by nothing");
    f("epsilon", epsilon, "added to that deviation");
    surrogate.each_option(f);
  }

  constexpr Needs needs_now() const { return without_reference(needs, surrogate.beta == 0); }
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    return surrogate(name, batch, group_advantage(batch, batch.reward, scale, epsilon));
  }
};
using Grpo = GroupRelative<detail::grpo>;
using DrGrpo = GroupRelative<detail::dr_grpo>;
using Dapo = GroupRelative<detail::dapo>;
using Gspo = GroupRelative<detail::gspo>;
}  // namespace vbon::objective
