// vbon/reward/training_examples.hpp
//
// Examples of a reward model in training, scores and preferences alike: texts, a target for each example, and the
// loss of their rewards. Squared error is the mean of (r - score)^2, as transformers takes it; logistic is the
// cross-entropy of a label, which on two outputs is that of their softmax; preferences are Bradley and Terry's with
// TRL's margin and centring.
#pragma once
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/core/types.hpp"
#include "vbon/reward/score_loss.hpp"
#include "vbon/reward/training_data.hpp"

namespace vbon::reward {
enum class ExampleLoss { regression, logistic, preference };

inline std::string_view name_of(ExampleLoss loss) {
  return loss == ExampleLoss::regression ? "regression" : loss == ExampleLoss::logistic ? "logistic" : "preference";
}
/// What transformers calls the problem of a head: it chooses its loss, and whether a pipeline applies a sigmoid.
inline std::string_view problem_type(ExampleLoss loss, Index labels) {
  if (labels > 1) return "single_label_classification";
  return loss == ExampleLoss::logistic ? "multi_label_classification" : "regression";
}

struct TrainingExamples {
  ExampleLoss loss = ExampleLoss::regression;
  double centering = 0;                   // of preferences
  std::vector<std::string> text;          // [n * texts_each()] of a preference chosen, then rejected
  std::vector<double> target;             // [n] score, probability of the label, or margin
  std::vector<std::uint64_t> group = {};  // [n] equal where the prompt is: what is held out together

  Index size() const { return static_cast<Index>(target.size()); }
  Index texts_each() const { return loss == ExampleLoss::preference ? 2 : 1; }

  /// Numbers of the texts of some examples: of preferences all chosen ones, then all rejected ones.
  template <class = void>
  std::vector<std::size_t> texts_of(std::span<const std::size_t> which) const {
    const auto each = static_cast<std::size_t>(texts_each());
    std::vector<std::size_t> numbers;
    for (std::size_t k = 0; k < each; ++k)
      for (const std::size_t i : which) numbers.push_back(each * i + k);
    return numbers;
  }
  /// Mean loss over some examples.
  /// @param reward   of texts_of(which)
  /// @param dreward  takes d loss / d reward
  template <class = void>
  double value(std::span<const std::size_t> which, const Array& reward, Array& dreward) const {
    std::vector<double> targets;
    for (const std::size_t i : which) targets.push_back(target[i]);
    dreward.resize(reward.size());
    if (loss == ExampleLoss::preference) return PreferenceLoss{std::move(targets), centering}(reward, dreward);
    std::vector<double> weight(which.size(), 1);
    if (loss == ExampleLoss::logistic) return LogisticLoss{std::move(targets), std::move(weight)}(reward, dreward);
    const double half = SquaredLoss{std::move(targets), std::move(weight)}(reward, dreward);
    dreward *= 2;
    return 2 * half;
  }

  /// Some of the examples, in this order.
  template <class = void>
  TrainingExamples subset(std::span<const std::size_t> which) const {
    TrainingExamples part{.loss = loss, .centering = centering, .text = {}, .target = {}};
    const auto each = static_cast<std::size_t>(texts_each());
    for (const std::size_t i : which) {
      for (std::size_t k = 0; k < each; ++k) part.text.push_back(text[each * i + k]);
      part.target.push_back(target[i]);
      part.group.push_back(group[i]);
    }
    return part;
  }
};

/// Scored texts; the logistic loss takes probabilities, or scores and a threshold.
/// @param text       makes the training text of (prompt, response)
/// @param threshold  scores above are 1, below 0, equal 1/2; none: scores are probabilities already
/// @throws DomainError naming the line of a score that is no probability
template <class Text>
TrainingExamples scored_examples(std::span<const ScoredText> rows, ExampleLoss loss, std::optional<double> threshold,
                                 const Text& text) {
  TrainingExamples out{.loss = loss, .text = {}, .target = {}};
  for (const ScoredText& row : rows) {
    double target = row.score;
    if (loss == ExampleLoss::logistic) {
      if (threshold)
        target = target > *threshold ? 1 : target < *threshold ? 0 : 0.5;
      else
        require<DomainError>(target >= 0 && target <= 1, "line ", row.line, ": the score ", target,
                             " is no probability in [0, 1]; say from which score on a text is positive (--threshold)");
    }
    out.text.push_back(text(row.prompt, row.response));
    out.target.push_back(target);
    out.group.push_back(stable_hash(row.prompt.empty() ? row.response : row.prompt));
  }
  return out;
}
/// Preferences with their margins.
template <class Text>
TrainingExamples preference_examples(std::span<const PreferencePair> rows, double centering, const Text& text) {
  TrainingExamples out{.loss = ExampleLoss::preference, .centering = centering, .text = {}, .target = {}};
  for (const PreferencePair& row : rows) {
    out.text.push_back(text(row.prompt, row.chosen));
    out.text.push_back(text(row.prompt, row.rejected));
    out.target.push_back(row.margin);
    out.group.push_back(stable_hash(row.prompt.empty() ? row.chosen : row.prompt));
  }
  return out;
}

/// Holds out a share of the examples by a hash of their prompts: all of one prompt fall on one side, and another
/// order of the file changes nothing.
/// @param share  in [0, 1)
/// @return       what is left, what is held out
template <class = void>
std::pair<TrainingExamples, TrainingExamples> hold_out(const TrainingExamples& all, double share) {
  std::vector<std::size_t> kept, held;
  for (std::size_t i = 0; i < all.target.size(); ++i)
    (static_cast<double>(all.group[i] >> 11) * 0x1.0p-53 < share ? held : kept).push_back(i);
  return {all.subset(kept), all.subset(held)};
}
}  // namespace vbon::reward
