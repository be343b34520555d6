// vbon/objective/group.hpp
//
// One prompt's responses inside a batch, and the small statistics of a group that several methods share.
#pragma once
#include <cmath>
#include <vector>

#include "vbon/data/rollout_batch.hpp"

namespace vbon::objective {
struct Group {
  Index prompt = 0;
  Index begin = 0;  // first response
  Index size = 0;
  Index end() const { return begin + size; }
};

template <class = void>
std::vector<Group> groups(const RolloutBatch& batch) {
  std::vector<Group> all;
  for (Index p = 0; p < batch.prompts(); ++p)
    all.push_back({p, batch.group_offset[static_cast<std::size_t>(p)], batch.samples(p)});
  return all;
}

/// Mean of values by their offsets from the first: exactly the value when all are equal.
template <class Values>
double mean_of(const Values& values) {
  const double first = values[0];
  return first + (values - first).sum() / static_cast<double>(values.size());
}

/// Standard deviation with divisor size - ddof; scaled, so that rewards of 1e300 do not overflow.
template <class Values>
double deviation_of(const Values& values, Index ddof) {
  const double mean = mean_of(values);
  const double scale = (values - mean).abs().maxCoeff();
  if (scale == 0) return 0;
  return scale * std::sqrt(((values - mean) / scale).square().sum() / static_cast<double>(values.size() - ddof));
}

/// Index (within the group) of the largest or smallest value; the first one wins ties.
template <class Values>
Index first_best(const Values& values) {
  Index best = 0;
  for (Index i = 1; i < values.size(); ++i)
    if (values[i] > values[best]) best = i;
  return best;
}
template <class Values>
Index first_worst(const Values& values) {
  Index worst = 0;
  for (Index i = 1; i < values.size(); ++i)
    if (values[i] < values[worst]) worst = i;
  return worst;
}
}  // namespace vbon::objective
