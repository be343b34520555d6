// vbon/optim/parameter_range.hpp
//
// Runs of parameters that an optimiser treats otherwise: frozen, without weight decay, at another rate.
#pragma once
#include <span>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::optim {
/// Parameters [begin, begin + count). A rate of 0 leaves them and their moments untouched: no decay either.
struct ParameterRange {
  Index begin = 0;
  Index count = 0;
  double rate = 1;          // factor of the learning rate
  double weight_decay = 1;  // factor of the weight decay
};

/// Calls body(begin, end, range) for pieces of [0, size) of at most `grain` parameters, each inside one
/// listed range or outside of all (then with the factors 1). Pieces depend on the problem alone.
/// @throws ShapeError when ranges overlap, are out of order or leave [0, size)
template <class Body>
void for_each_piece(Index size, Index grain, std::span<const ParameterRange> ranges, const Body& body) {
  Index end_of_last = 0;
  for (const auto& range : ranges) {
    require<ShapeError>(range.begin >= end_of_last && range.count >= 0 && range.begin + range.count <= size,
                        "optim: ranges in order and inside [0, ", size, ") expected, got [", range.begin, ", ",
                        range.begin + range.count, ")");
    end_of_last = range.begin + range.count;
  }
  const ParameterRange plain;
  parallel_for(size, grain, [&](Index begin, Index end) {
    auto range = ranges.begin();
    while (begin < end) {
      while (range != ranges.end() && range->begin + range->count <= begin) ++range;
      const bool inside = range != ranges.end() && range->begin <= begin;
      const Index stop = range == ranges.end() ? end : std::min(end, inside ? range->begin + range->count : range->begin);
      body(begin, stop, inside ? *range : plain);
      begin = stop;
    }
  });
}
}  // namespace vbon::optim
