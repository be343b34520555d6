// vbon/rollout/collect.hpp
//
// From prompts to an annotated batch: the policy samples, the reward scores, and the reference cache tells
// for every response where its reward stands among the reference's: log P(r < r(y)), log P(r = r(y)) and
// log P(r <= r(y)).
#pragma once
#include <cmath>
#include <concepts>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "vbon/bon/estimator.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/policy/concept.hpp"
#include "vbon/reward/concept.hpp"

namespace vbon::rollout {
/// A CDF estimator of any type behind one signature.
struct AnyCdf {
  std::string name;
  std::function<bon::CdfEstimate(std::span<const double> sorted, double reward)> call;

  AnyCdf() : AnyCdf(bon::Harmonic{}) {}
  template <CdfEstimator E>
  explicit AnyCdf(E estimator)
      : name(E::name), call([estimator](std::span<const double> sorted, double reward) {
          return bon::estimate_cdf(sorted, reward, estimator);
        }) {}

  bon::CdfEstimate operator()(std::span<const double> sorted, double reward) const { return call(sorted, reward); }
};

/// What a reward is called in messages; one that holds another answers for it.
template <Reward R>
std::string_view name_of(const R& reward) {
  if constexpr (requires {
                  { reward.kind() } -> std::convertible_to<std::string_view>;
                })
    return reward.kind();
  else
    return R::name;
}

/// Fills batch.reward.
/// @throws DomainError nan_reward, naming prompt and sample; ShapeError when the reward returns another count
template <Reward R>
void score(const R& reward, RolloutBatch& batch) {
  batch.reward = reward(batch);
  require<ShapeError>(batch.reward.size() == batch.responses(), "reward '", name_of(reward), "' returned ",
                      batch.reward.size(), " numbers for ", batch.responses(), " responses");
  for (Index p = 0; p < batch.prompts(); ++p)
    for (Index m = 0; m < batch.samples(p); ++m) {
      const auto i = batch.group_offset[static_cast<std::size_t>(p)] + m;
      require<DomainError>(!std::isnan(batch.reward[i]), ErrorCode{"nan_reward"}, "reward '", name_of(reward),
                           "' is NaN for sample ", m, " of the prompt '",
                           io::excerpt(batch.prompt[static_cast<std::size_t>(p)].text), "' (id ",
                           batch.prompt[static_cast<std::size_t>(p)].id, "); fix the reward or drop the prompt");
    }
}

/// Draws `samples` responses of each prompt and scores them.
template <Policy P, Reward R>
RolloutBatch collect(P& policy, const R& reward, std::span<const Prompt> prompts, Index samples, RngKey key) {
  RolloutBatch batch = policy.sample(prompts, samples, key);
  score(reward, batch);
  return batch;
}

/// Prompts [first, first + count) of a batch with all their arrays: the micro-batches of gradient accumulation.
template <class = void>
RolloutBatch slice(const RolloutBatch& batch, Index first, Index count) {
  require<ShapeError>(first >= 0 && count >= 0 && first + count <= batch.prompts(), "rollout::slice: prompts [", first, ", ",
                      first + count, ") of ", batch.prompts());
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  const Index begin = batch.group_offset[at(first)], end = batch.group_offset[at(first + count)];
  const Index token_begin = batch.offset[at(begin)], token_end = batch.offset[at(end)];
  const auto part = [](const auto& values, Index from, Index to) {
    using Values = std::remove_cvref_t<decltype(values)>;
    return values.empty() ? Values{} : Values(values.begin() + from, values.begin() + to);
  };
  const auto array = [](const Array& values, Index from, Index to) {
    return values.size() == 0 ? Array{} : Array(values.segment(from, to - from));
  };
  RolloutBatch out;
  out.prompt = part(batch.prompt, first, first + count);
  out.group_offset = part(batch.group_offset, first, first + count + 1);
  for (Index& offset : out.group_offset) offset -= begin;
  out.offset = part(batch.offset, begin, end + 1);
  for (Index& offset : out.offset) offset -= token_begin;
  out.token = part(batch.token, token_begin, token_end);
  out.text = part(batch.text, begin, end);
  out.finished = part(batch.finished, begin, end);
  out.answer = part(batch.answer, begin, end);
  out.ref_reward = part(batch.ref_reward, first, first + count);
  for (Array RolloutBatch::*field : {&RolloutBatch::weight, &RolloutBatch::reward, &RolloutBatch::log_cdf,
                                     &RolloutBatch::log_tie, &RolloutBatch::log_cdf_le})
    out.*field = array(batch.*field, begin, end);
  for (Array RolloutBatch::*field : {&RolloutBatch::log_prob, &RolloutBatch::ref_log_prob, &RolloutBatch::old_log_prob,
                                     &RolloutBatch::anchor_log_prob, &RolloutBatch::value, &RolloutBatch::old_value})
    out.*field = array(batch.*field, token_begin, token_end);
  return out;
}
}  // namespace vbon::rollout
