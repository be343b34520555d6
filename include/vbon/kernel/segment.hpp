// vbon/kernel/segment.hpp
//
// Which rows of a batch a row may attend to. Rows (tokens) lie end to end; a segment is a run of them
// that continues its parent: the prompt of a group is one segment, each of its M responses a child. So a
// prompt is computed once however many responses it has, and nothing is ever padded.
#pragma once
#include <span>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::kernel {
struct Segment {
  Index begin = 0;      // first row
  Index length = 0;     // rows
  Index parent = -1;    // index of the segment it continues (all of its rows are seen); -1: none
  Index position = 0;   // position of the first row in its sequence = total length of the ancestors
};

/// Checks a forest of segments: parents come before children, rows stay inside [0, rows).
/// @throws ShapeError
inline void check_segments(std::span<const Segment> segments, Index rows) {
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    require<ShapeError>(s.begin >= 0 && s.length >= 0 && s.begin + s.length <= rows && s.parent < static_cast<Index>(i) &&
                            s.parent >= -1,
                        "segment ", i, ": rows [", s.begin, ", ", s.begin + s.length, ") of ", rows, ", parent ", s.parent);
  }
}
}  // namespace vbon::kernel
