// vbon/objective/ppo_published.hpp
//
// The arithmetic of the published vBoN code, kept for comparison with its numbers. It works on padded rows
// [B, T]: the score lands on the last entry of a row that reaches up to two places past the response, and
// whitening runs over all entries, pads included. The objectives of ppo.hpp do neither. Source: spec core.md, section 4.
#pragma once
#include <algorithm>
#include <vector>

#include "vbon/objective/ppo.hpp"

namespace vbon::objective::published {
using Rows = Eigen::Array<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Token rewards of one row: min(R + 2, padded) entries. Entry R, the prediction of the first pad, keeps its
/// log-ratio, entry R + 1 is 0, and the last entry gets the score clipped to +-score_clip.
/// @param log_ratio  log pi - log pi_ref of the entries 0 .. R, as far as they exist [>= R]
template <class Array = vbon::Array>
Array token_rewards(const vbon::Array& log_ratio, Index length, Index padded, double score, double beta, double score_clip) {
  require<DomainError>(length > 0 && padded >= length, "published::token_rewards: 0 < length <= padded expected, got ",
                       length, " and ", padded);
  require<ShapeError>(log_ratio.size() >= length, "published::token_rewards: ", length, " log-ratios expected, got ",
                      log_ratio.size());
  const Index entries = std::min(length + 2, padded);
  Array reward = Array::Zero(entries);
  const Index known = std::min({length + 1, entries, static_cast<Index>(log_ratio.size())});
  reward.head(known) = -beta * log_ratio.head(known);
  reward[entries - 1] += std::clamp(score, -score_clip, score_clip);
  return reward;
}

struct Step {
  Rows advantage, returns, whitened;
  double loss = 0, policy_loss = 0, value_loss = 0, approx_kl = 0, mean_ratio = 0, policy_clip_fraction = 0,
         value_clip_fraction = 0;
  Rows dlog_prob, dvalue;
};

/// One PPO step over padded rows. `mask` is 1 on response tokens; rewards and values are 0 on pads.
/// @throws ShapeError when shapes differ; DomainError `empty_mask`, settings
template <class Rows, class Array = vbon::Array>
Step step(const Rows& reward, const Rows& old_value, const Rows& value, const Rows& old_log_prob, const Rows& log_prob,
          const Rows& mask, const GaeSettings& gae, const PpoClip& clip) {
  for (const Rows* rows : {&old_value, &value, &old_log_prob, &log_prob, &mask})
    require<ShapeError>(rows->rows() == reward.rows() && rows->cols() == reward.cols(), "published::step: [", reward.rows(),
                        ", ", reward.cols(), "] expected, got [", rows->rows(), ", ", rows->cols(), "]");
  gae.check();
  const auto flat = [](const Rows& rows) -> Array { return Eigen::Map<const Array>(rows.data(), rows.size()); };
  const auto shaped = [&](const Array& values) -> Rows {
    return Eigen::Map<const Rows>(values.data(), reward.rows(), reward.cols());
  };
  Step out;
  out.advantage.resize(reward.rows(), reward.cols());
  for (Index b = 0; b < reward.rows(); ++b) {
    const Array r = reward.row(b), v = old_value.row(b);
    Array a(r.size());
    gae_row(r, v, gae, a);
    out.advantage.row(b) = a;
  }
  out.returns = out.advantage + old_value;
  out.whitened = shaped(objective::whitened(flat(out.advantage)));
  const double valid = mask.sum();
  require<DomainError>(valid > 0, ErrorCode{"empty_mask"}, "published::step: at least one valid token expected, got none");

  const Array weight = flat(mask) / valid;
  const ObjectiveResult result = ppo_loss(
      {flat(log_prob), flat(old_log_prob), flat(out.whitened), flat(value), flat(old_value), flat(out.returns), weight},
      clip);
  out.loss = result.loss;
  out.policy_loss = result.metrics[0].value;
  out.value_loss = result.metrics[1].value;
  out.policy_clip_fraction = result.metrics[2].value;
  out.dlog_prob = shaped(result.dlog_prob);
  out.dvalue = shaped(result.dvalue);
  const Array log_rho = (flat(log_prob) - flat(old_log_prob)) * flat(mask);
  out.mean_ratio = (log_rho.exp() * flat(mask)).sum() / valid;
  out.approx_kl = (log_rho.exp() - 1 - log_rho).mean();
  const Rows near = value.max(old_value - clip.clip_value).min(old_value + clip.clip_value);
  out.value_clip_fraction =
      (((near - out.returns).square() > (value - out.returns).square()).template cast<double>() * mask).sum() / valid;
  return out;
}
}  // namespace vbon::objective::published

namespace vbon::objective {
/// PPO in that arithmetic, on a batch padded to its longest response. The two places past a response hold no numbers here:
/// no network is run on pads, so their log-ratio and their values are 0, where the published code takes what an untrained
/// place gives. Responses weigh by their tokens alone; all of a batch are of one weight a prompt.
/// @throws DomainError settings, rewards or log-probs that are not finite
struct PublishedPpo {
  static constexpr std::string_view name = "ppo_published";
  static constexpr Needs needs{.ref_log_prob = true, .old_log_prob = true, .value = true, .ref_reward = true};
  using laws = Laws<law::Surrogate>;

  double beta = 0.01;
  double score_clip = 10;
  bool log_cdf = false;
  GaeSettings gae = {};
  PpoClip clip = {.value_weight = 1};
  void each_option(auto&& f) {
    f("beta", beta, "weight of KL(policy || reference) in the token rewards, >= 0");
    f("score_clip", score_clip, "rewards are cut to this in size, > 0");
    f("log_cdf", log_cdf, "the reward is log F, strict, as of best-of-N with beta = 1/(N - 1)");
    f("gamma", gae.gamma, "discount, in [0, 1]");
    f("lambda", gae.lambda, "of GAE, in [0, 1]");
    f("clip", clip.clip, "clip range of the ratio");
    f("clip_value", clip.clip_value, "clip range of the value");
    f("value_weight", clip.value_weight, "weight of the value loss");
  }
  constexpr Needs needs_now() const {
    Needs now = needs;
    now.ref_reward = log_cdf;
    return now;
  }

  template <class Rows = published::Rows, class Array = vbon::Array>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_at_least(name, "beta", beta, 0);
    require_positive(name, "score_clip", score_clip);
    gae.check(name);
    require_groups(name, batch);
    for (const auto& [what, values] : {std::pair{"log_prob", &batch.log_prob},
                                       {"old_log_prob", &batch.old_log_prob},
                                       {"ref_log_prob", &batch.ref_log_prob}})
      require_finite(name, what, *values, batch.tokens());
    const bool critic = batch.old_value.size() > 0;
    if (critic) require_finite(name, "value", batch.value, batch.tokens());
    const Array score = log_cdf ? side_log_cdf(name, batch, Side::strict) : batch.reward;
    require_finite(name, "reward", score, batch.responses());

    Index longest = 0;
    for (Index i = 0; i < batch.responses(); ++i) longest = std::max(longest, batch.length(i));
    const auto padded = [&](const Array& values) -> Rows {
      Rows rows = Rows::Zero(batch.responses(), longest);
      for (Index i = 0; values.size() > 0 && i < batch.responses(); ++i)
        rows.row(i).head(batch.length(i)) = values.segment(begin_of(batch, i), batch.length(i)).transpose();
      return rows;
    };
    Rows reward = Rows::Zero(batch.responses(), longest);
    const Array &old_log_prob = batch.old_log_prob, &ref_log_prob = batch.ref_log_prob;
    for (Index i = 0; i < batch.responses(); ++i) {
      const Array ratio = (old_log_prob - ref_log_prob).segment(begin_of(batch, i), batch.length(i));
      const Array row = published::token_rewards(ratio, batch.length(i), longest, score[i], beta, score_clip);
      reward.row(i).head(row.size()) = row.transpose();
    }
    const published::Step step =
        published::step(reward, padded(critic ? batch.old_value : Array()), padded(critic ? batch.value : Array()),
                        padded(batch.old_log_prob), padded(batch.log_prob), padded(Array::Ones(batch.tokens())), gae, clip);
    const auto flat = [&](const Rows& rows) {
      Array values(batch.tokens());
      for (Index i = 0; i < batch.responses(); ++i)
        values.segment(begin_of(batch, i), batch.length(i)) = rows.row(i).head(batch.length(i)).transpose();
      return values;
    };
    return {.loss = critic ? step.loss : step.policy_loss,
            .dlog_prob = flat(step.dlog_prob),
            .dvalue = critic ? flat(step.dvalue) : Array(),
            .metrics = {{"policy_loss", step.policy_loss},
                        {"value_loss", critic ? step.value_loss : 0},
                        {"clip_fraction", step.policy_clip_fraction},
                        {"approx_kl", step.approx_kl}}};
  }

 private:
  static Index begin_of(const RolloutBatch& batch, Index response) {
    return batch.offset[static_cast<std::size_t>(response)];
  }
};
}  // namespace vbon::objective
