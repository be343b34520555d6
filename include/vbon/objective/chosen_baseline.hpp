// vbon/objective/chosen_baseline.hpp
//
// A baseline chosen while the program runs, for command lines: objectives otherwise fix theirs by a type.
#pragma once
#include <array>
#include <string_view>
#include <type_traits>

#include "vbon/objective/baseline.hpp"

namespace vbon::objective {
enum class BaselineKind { none, batch_mean, group_mean, leave_one_out, batch_leave_one_out, moving_average };
constexpr std::array<std::string_view, 6> option_names(BaselineKind) {
  return {"none", "batch_mean", "group_mean", "leave_one_out", "batch_leave_one_out", "moving_average"};
}

/// @tparam Default  the baseline an objective has when nothing is chosen
template <Baseline Default>
struct ChosenBaseline {
  static constexpr Index min_group = 1;  // of every kind; that of the chosen one is least_group()

  BaselineKind kind = std::is_same_v<Default, BatchMean>          ? BaselineKind::batch_mean
                      : std::is_same_v<Default, GroupMean>        ? BaselineKind::group_mean
                      : std::is_same_v<Default, LeaveOneOut>      ? BaselineKind::leave_one_out
                      : std::is_same_v<Default, BatchLeaveOneOut> ? BaselineKind::batch_leave_one_out
                                                                  : BaselineKind::none;
  double average = 0;  // of the scores before this batch, of moving_average
  double decay = 0.9;
  void each_option(auto&& f) {
    f("baseline", kind,
      "subtracted from the score: none, batch_mean, group_mean, leave_one_out, batch_leave_one_out or moving_average");
    f("decay", decay, "of the moving average, in [0, 1]");
  }
  double* carried() { return kind == BaselineKind::moving_average ? &average : nullptr; }
  double carried_after(const Array& score) const { return moving_average(average, decay, score); }
  Index least_group() const { return kind == BaselineKind::leave_one_out ? LeaveOneOut::min_group : min_group; }

  /// @throws DomainError as the chosen baseline
  Array operator()(const RolloutBatch& batch, const Array& score) const {
    switch (kind) {
      case BaselineKind::batch_mean:
        return BatchMean{}(batch, score);
      case BaselineKind::group_mean:
        return GroupMean{}(batch, score);
      case BaselineKind::leave_one_out:
        return LeaveOneOut{}(batch, score);
      case BaselineKind::batch_leave_one_out:
        return BatchLeaveOneOut{}(batch, score);
      case BaselineKind::moving_average:
        require_within("moving_average", "decay", decay, 0, 1);
        return FixedBaseline{average}(batch, score);
      case BaselineKind::none:
        break;
    }
    return NoBaseline{}(batch, score);
  }
};
}  // namespace vbon::objective
