// vbon/kernel/set_zero.hpp
//
// Zeros into large arrays, such as all gradients of a network.
#pragma once
#include <algorithm>

#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
/// out = 0, by all threads.
template <class T>
void set_zero(Cpu, View<T> out) {
  parallel_for(out.size(), Index{1} << 18,
               [&](Index begin, Index end) { std::fill(out.data() + begin, out.data() + end, T{}); });
}
}  // namespace vbon::kernel

#if VBON_WITH_CUDA
#include "vbon/kernel/cuda/set_zero.cuh"
#endif
