// vbon/parallel/parallel_for.hpp
//
// Loops over the process-wide pool. Chunk bounds are fixed by (count, grain), never by the number of
// threads: results are bit-identical on 1, 2 or 64 threads.
#pragma once
#include <algorithm>
#include <memory>

#include "vbon/parallel/thread_pool.hpp"

namespace vbon {
namespace detail {
inline std::unique_ptr<ThreadPool>& shared_pool() {
  static std::unique_ptr<ThreadPool> pool = std::make_unique<ThreadPool>();
  return pool;
}
}  // namespace detail

/// The pool all kernels use; as many threads as the affinity mask allows unless set_threads() was called.
inline ThreadPool& thread_pool() { return *detail::shared_pool(); }

/// Replaces the pool. Call it before work starts, not from inside a region.
/// @throws ConfigError when threads < 1
inline void set_threads(int threads) { detail::shared_pool() = std::make_unique<ThreadPool>(threads); }

/// Calls body(begin, end) for consecutive ranges of at most `grain` indices that cover [0, count).
template <class Body>
void parallel_for(Index count, Index grain, const Body& body) {
  grain = std::max<Index>(grain, 1);
  thread_pool().run((count + grain - 1) / grain, [&](Index chunk) {
    const Index begin = chunk * grain;
    body(begin, std::min(begin + grain, count));
  });
}
}  // namespace vbon
