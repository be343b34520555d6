// vbon/kernel/elementwise.hpp
//
// The loop under the activations: one vector function over equal arrays, in chunks for the threads.
#pragma once
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel::detail {
/// out[i] = f(in[i]...). Every array has the size of out and may be out itself.
template <class Arch, class F, class... In>
void map(const char* name, const F& f, View<float> out, const In&... in) {
  require<ShapeError>(((in.size() == out.size()) && ...), name, ": arrays of ", out.size(), " values expected");
  parallel_for(out.size(), 8192, [&](Index begin, Index end) {
    for_lanes<Arch>(begin, end, [&](Index i, auto count) {
      store_some<Arch>(out.data() + i, f(load_some<Arch>(in.data() + i, count)...), count);
    });
  });
}
}  // namespace vbon::kernel::detail
