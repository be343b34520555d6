// vbon/objective/baseline.hpp
//
// What is subtracted from a score before it weighs a gradient. E[grad log pi] = 0, so a baseline that
// does not look at its own sample changes the variance and never the mean. Leave-one-out (Kool et al.
// 2019; RLOO) is the default: it keeps the whole sampled score, so its variance vanishes with the
// gradient at the optimum.
#pragma once
#include <concepts>

#include "vbon/objective/check.hpp"
#include "vbon/objective/group.hpp"

namespace vbon {
template <class B>
concept Baseline = requires(const B& baseline, const RolloutBatch& batch, const Array& score) {
  { baseline(batch, score) } -> std::same_as<Array>;  // [R]
  { B::min_group } -> std::convertible_to<Index>;
};

namespace objective {
/// Right for enumerated batches, where the weights are the probabilities.
struct NoBaseline {
  static constexpr Index min_group = 1;
  template <class = void>
  Array operator()(const RolloutBatch&, const Array& score) const {
    return Array::Zero(score.size());
  }
};

/// A number known before the batch, such as a moving average of earlier scores.
struct FixedBaseline {
  static constexpr Index min_group = 1;
  double value = 0;
  Array operator()(const RolloutBatch&, const Array& score) const { return Array::Constant(score.size(), value); }
};
/// The moving average after a batch: decay value + (1 - decay) mean(score).
template <class = void>
double moving_average(double value, double decay, const Array& score) {
  require_within("moving_average", "decay", decay, 0, 1);
  return decay * value + (1 - decay) * mean_of(score);
}

/// Mean over all responses of the batch; biased by the factor 1 - 1/R.
struct BatchMean {
  static constexpr Index min_group = 1;
  template <class = void>
  Array operator()(const RolloutBatch&, const Array& score) const {
    return score.size() == 0 ? score : Array::Constant(score.size(), mean_of(score));
  }
};

/// Mean over the prompt's responses; biased by the factor 1 - 1/M.
struct GroupMean {
  static constexpr Index min_group = 1;
  template <class = void>
  Array operator()(const RolloutBatch& batch, const Array& score) const {
    Array baseline(score.size());
    for (const Group& g : groups(batch))
      baseline.segment(g.begin, g.size).setConstant(mean_of(score.segment(g.begin, g.size)));
    return baseline;
  }
};

namespace detail {
/// Mean of the others for each value: value - size/(size - 1) (value - mean).
template <class Values>
Array mean_of_others(const Values& values) {
  const auto size = static_cast<double>(values.size());
  return values - size / (size - 1) * (values - mean_of(values));
}
}  // namespace detail

/// Mean of the other responses to the same prompt: unbiased.
/// @throws DomainError `group_too_small` for a group of one; `not_sampled` for an enumerated batch
struct LeaveOneOut {
  static constexpr Index min_group = 2;
  template <class = void>
  Array operator()(const RolloutBatch& batch, const Array& score) const {
    require_groups("leave_one_out", batch, min_group);
    Array baseline(score.size());
    for (const Group& g : groups(batch)) {
      const auto weight = batch.weight.segment(g.begin, g.size);
      require<DomainError>(weight.maxCoeff() - weight.minCoeff() <= 1e-9 * weight.maxCoeff(), ErrorCode{"not_sampled"},
                           "leave_one_out: sampled responses of equal weight expected in group ", g.prompt,
                           "; an enumerated batch takes NoBaseline");
      baseline.segment(g.begin, g.size) = detail::mean_of_others(score.segment(g.begin, g.size));
    }
    return baseline;
  }
};

/// Mean of all other responses of the batch: unbiased, and there with one response per prompt.
/// @throws DomainError `group_too_small` for a batch of one response
struct BatchLeaveOneOut {
  static constexpr Index min_group = 1;
  template <class = void>
  Array operator()(const RolloutBatch&, const Array& score) const {
    require<DomainError>(score.size() >= 2, ErrorCode{"group_too_small"},
                         "batch_leave_one_out: 2 responses or more expected, got ", score.size());
    return detail::mean_of_others(score);
  }
};

/// The options of a baseline that has some (chosen_baseline.hpp), among those of its objective.
template <class B>
void baseline_option(B& baseline, auto&& f) {
  if constexpr (requires { baseline.each_option(f); }) baseline.each_option(f);
}
}  // namespace objective
}  // namespace vbon
