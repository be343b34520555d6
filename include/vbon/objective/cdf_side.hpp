// vbon/objective/cdf_side.hpp
//
// Three readings of "the CDF at r(y)" where rewards tie: strict F = P(r < r(y)), weak P(r <= r(y)), and
// their mean. Without ties they are one. Strict is 0 at the worst level, whose log no gradient survives:
// there mid stands in.
#pragma once
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <string_view>

#include "vbon/core/log_space.hpp"
#include "vbon/objective/check.hpp"

namespace vbon::objective {
enum class Side { strict, mid, weak };
constexpr std::array<std::string_view, 3> option_names(Side) { return {"strict", "mid", "weak"}; }

/// log of the CDF at each response on one side [R], nats.
template <class = void>
Array side_log_cdf(std::string_view who, const RolloutBatch& batch, Side side) {
  if (side == Side::weak) {
    require_ordered(who, "log_cdf_le", batch.log_cdf_le, batch.responses());
    return batch.log_cdf_le;
  }
  require_ordered(who, "log_cdf", batch.log_cdf, batch.responses());
  Array log_cdf = batch.log_cdf;
  for (Index i = 0; i < log_cdf.size(); ++i) {
    if (side == Side::strict && log_cdf[i] > -std::numeric_limits<double>::infinity()) continue;
    require_size(who, "log_cdf_le", batch.log_cdf_le, batch.responses());
    log_cdf[i] = log_add(log_cdf[i], batch.log_cdf_le[i]) - std::numbers::ln2;
  }
  return log_cdf;
}
}  // namespace vbon::objective
