// vbon/objective/chosen_baseline.hpp
//
// A baseline chosen while the program runs, for command lines: objectives otherwise fix theirs by a type.
#pragma once
#include <array>
#include <string_view>
#include <type_traits>

#include "vbon/objective/baseline.hpp"

namespace vbon::objective {
enum class BaselineKind { none, batch_mean, group_mean, leave_one_out, batch_leave_one_out };
constexpr std::array<std::string_view, 5> option_names(BaselineKind) {
  return {"none", "batch_mean", "group_mean", "leave_one_out", "batch_leave_one_out"};
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
  void each_option(auto&& f) {
    f("baseline", kind, "subtracted from the score: none, batch_mean, group_mean, leave_one_out or batch_leave_one_out");
  }
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
      case BaselineKind::none:
        break;
    }
    return NoBaseline{}(batch, score);
  }
};
}  // namespace vbon::objective
