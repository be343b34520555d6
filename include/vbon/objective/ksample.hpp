// vbon/objective/ksample.hpp
//
// k-sample objectives: maximise E f(y_1, ..., y_k) for a symmetric f of the whole group (k = its size).
// Leave-one-out weights w_i = f(Y) - f(Y without i) are unbiased; f = mean gives RLOO/k, f = max the gap
// between best and second best. Source: Tang et al., "Optimizing language models for inference time
// objectives using reinforcement learning", arXiv 2503.19595.
#pragma once
#include <array>
#include <map>
#include <span>
#include <vector>

#include "vbon/objective/laws.hpp"
#include "vbon/objective/score_function.hpp"

namespace vbon::objective {
enum class SampleValue { mean, max, min, majority };
constexpr std::array<std::string_view, 4> option_names(SampleValue) { return {"mean", "max", "min", "majority"}; }
enum class SampleBaseline { leave_one_out, centred, across_groups };
constexpr std::array<std::string_view, 3> option_names(SampleBaseline) {
  return {"leave_one_out", "centred", "across_groups"};
}

namespace detail {
/// Value of the modal answer, several of them averaged; the value of an answer is its mean reward.
template <class = void>
double majority_value(const Array& reward, std::span<const std::int32_t> answer, Index without) {
  struct Tally {
    double count = 0, sum = 0;
  };
  std::map<std::int32_t, Tally> tally;
  for (Index i = 0; i < reward.size(); ++i)
    if (i != without) {
      Tally& entry = tally[answer[static_cast<std::size_t>(i)]];
      ++entry.count;
      entry.sum += reward[i];
    }
  double most = 0, modes = 0, total = 0;
  for (const auto& [key, entry] : tally) most = std::max(most, entry.count);
  for (const auto& [key, entry] : tally)
    if (entry.count == most) {
      ++modes;
      total += entry.sum / entry.count;
    }
  return total / modes;
}
}  // namespace detail

/// f of a group; `without` leaves one response out (-1: none). Majority needs the answer classes [k].
template <class Array = vbon::Array>
double sample_value(SampleValue f, const vbon::Array& reward, std::span<const std::int32_t> answer, Index without = -1) {
  if (f == SampleValue::majority) return detail::majority_value(reward, answer, without);
  Array rest(without < 0 ? reward.size() : reward.size() - 1);
  for (Index i = 0, j = 0; i < reward.size(); ++i)
    if (i != without) rest[j++] = reward[i];
  if (f == SampleValue::mean) return mean_of(rest);
  return f == SampleValue::max ? rest.maxCoeff() : rest.minCoeff();
}

/// Weights in the sum convention: leave_one_out f(Y) - f(Y without i); centred the same minus its group
/// mean (biased, less variance); across_groups f minus the mean f of the other prompts, over P, for every
/// member.
/// @throws DomainError `group_too_small` (k < 2), `missing_answers`, across_groups with one prompt
struct Ksample {
  static constexpr std::string_view name = "ksample";
  static constexpr Needs needs{.min_group = 2};
  using laws = Laws<law::GroupTuple, law::PerPrompt>;

  SampleValue value = SampleValue::max;
  SampleBaseline baseline = SampleBaseline::leave_one_out;
  void each_option(auto&& f) {
    f("value", value, "what the group is worth: mean, max, min or majority");
    f("baseline", baseline, "leave_one_out, centred or across_groups");
  }

  constexpr Needs needs_now() const { return {.answer = value == SampleValue::majority, .min_group = needs.min_group}; }

  /// Weights before the division by P [R]; the value of each prompt goes to `values` [P].
  template <class Array = vbon::Array>
  Array weights(const RolloutBatch& batch, vbon::Array& values) const {
    require_groups(name, batch, 2);
    require_finite(name, "reward", batch.reward, batch.responses());
    const bool voted = value == SampleValue::majority;
    require<DomainError>(!voted || static_cast<Index>(batch.answer.size()) == batch.responses(),
                         ErrorCode{"missing_answers"}, "ksample: ", batch.responses(),
                         " answers expected for a majority vote, got ", batch.answer.size());
    const bool across = baseline == SampleBaseline::across_groups;
    require<DomainError>(!across || batch.prompts() >= 2, ErrorCode{"group_too_small"},
                         "ksample: 2 prompts or more expected for a baseline across groups, got ", batch.prompts());
    values.resize(batch.prompts());
    Array weight = Array::Zero(batch.responses());
    for (const Group& g : groups(batch)) {
      const Array reward = batch.reward.segment(g.begin, g.size);
      const auto answer =
          voted ? std::span(batch.answer).subspan(static_cast<std::size_t>(g.begin), static_cast<std::size_t>(g.size))
                : std::span<const std::int32_t>();
      values[g.prompt] = sample_value(value, reward, answer);
      if (across) continue;
      auto w = weight.segment(g.begin, g.size);
      for (Index i = 0; i < g.size; ++i) w[i] = values[g.prompt] - sample_value(value, reward, answer, i);
      if (baseline == SampleBaseline::centred) w -= w.mean();
    }
    if (across) {
      const Array advantage = values - Array(detail::mean_of_others(values));
      for (const Group& g : groups(batch)) weight.segment(g.begin, g.size).setConstant(advantage[g.prompt]);
    }
    return weight;
  }

  template <class Array = vbon::Array>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    Array values;
    const Array weight = weights(batch, values);
    return {.loss = -values.mean(), .dlog_prob = per_token(batch, -weight / static_cast<double>(batch.prompts()))};
  }
};
}  // namespace vbon::objective
