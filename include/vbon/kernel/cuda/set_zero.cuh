// vbon/kernel/cuda/set_zero.cuh
//
// set_zero.hpp on a CUDA device.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>

#include "vbon/core/cuda/tensor.cuh"
#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon::kernel {
/// out = 0, in the order of what was asked of the device before.
/// @throws RunError cuda
template <class T>
void set_zero(Cuda, View<T, Cuda> out) {
  if (out.empty()) return;
  cuda::check(cudaMemsetAsync(out.data(), 0, static_cast<std::size_t>(out.size()) * sizeof(T)), "kernel::set_zero on CUDA");
}
}  // namespace vbon::kernel
