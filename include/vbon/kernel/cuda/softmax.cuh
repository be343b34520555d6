// vbon/kernel/cuda/softmax.cuh
//
// softmax.hpp on a CUDA device: a block of threads takes a row at a time, finds its largest value and then the sum of
// exponentials relative to it. Threads are joined in a tree of fixed form, in double: a row has the same bits every time,
// whatever rows are beside it. They agree with those of the Cpu to rounding.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>

#include "vbon/core/cuda/tensor.cuh"
#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon::kernel {
namespace detail {
inline constexpr int row_threads = 256;  // of a block; a power of two
inline constexpr Index most_blocks = 65535;

/// Joins one value of every thread of the block in a tree, and gives the result to all of them.
/// @param shared  [row_threads], of the block
template <class T, class Join>
__device__ T join_block(T own, T* shared, const Join& join) {
  shared[threadIdx.x] = own;
  __syncthreads();
  for (unsigned half = row_threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) shared[threadIdx.x] = join(shared[threadIdx.x], shared[threadIdx.x + half]);
    __syncthreads();
  }
  const T joined = shared[0];
  __syncthreads();
  return joined;
}

struct Largest {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ double operator()(double a, double b) const { return a + b; }
};

/// log sum exp of a row, for all threads of the block.
__device__ inline double row_log_sum_exp(const float* logit, Index cols, float scale) {
  __shared__ float largest[row_threads];
  __shared__ double sums[row_threads];
  float most = -INFINITY;
  for (Index i = threadIdx.x; i < cols; i += row_threads) most = fmaxf(most, __fmul_rn(logit[i], scale));
  most = join_block(most, largest, Largest{});
  const float shift = most == -INFINITY ? 0.0f : most;  // -inf - -inf would be NaN
  double sum = 0;
  for (Index i = threadIdx.x; i < cols; i += row_threads)
    sum += static_cast<double>(expf(__fmul_rn(logit[i], scale) - shift));
  sum = join_block(sum, sums, Sum{});
  return sum == 0 ? -INFINITY : static_cast<double>(most) + log(sum);
}

/// A template, so that every file that includes this header may hold it.
template <bool logs>
__global__ void softmax_rows(const float* logit, float* out, Index rows, Index cols, float scale) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = logit + row * cols;
    float* to = out + row * cols;
    const double norm = row_log_sum_exp(from, cols, scale);
    const auto high = static_cast<float>(norm);  // two floats, as split() on the Cpu
    const auto low = isfinite(norm) ? static_cast<float>(norm - static_cast<double>(high)) : 0.0f;
    for (Index i = threadIdx.x; i < cols; i += row_threads) {
      const float log_prob = __fmul_rn(from[i], scale) - high - low;
      to[i] = logs ? log_prob : expf(log_prob);
    }
  }
}

template <bool logs>
void launch_softmax(View<const float, Cuda> logit, View<float, Cuda> out, float scale) {
  require<ShapeError>(logit.rows() == out.rows() && logit.cols() == out.cols(),
                      logs ? "kernel::log_softmax" : "kernel::softmax", ": logits [", logit.rows(), ", ", logit.cols(),
                      "] into [", out.rows(), ", ", out.cols(), "]");
  if (logit.empty()) return;
  const auto blocks = static_cast<unsigned>(std::min(logit.rows(), most_blocks));
  softmax_rows<logs><<<blocks, row_threads>>>(logit.data(), out.data(), logit.rows(), logit.cols(), scale);
  cuda::check(cudaGetLastError(), "kernel::softmax on CUDA");
}
}  // namespace detail

/// Rows of log-probabilities, as on the Cpu.
/// @param logit  [T, V]
/// @param out    [T, V]; may be the same memory
/// @throws ShapeError; RunError cuda
inline void log_softmax(Cuda, View<const float, Cuda> logit, View<float, Cuda> out, float scale = 1) {
  detail::launch_softmax<true>(logit, out, scale);
}

/// Rows of probabilities, as on the Cpu.
/// @param logit  [T, V]
/// @param out    [T, V]; may be the same memory
/// @throws ShapeError; RunError cuda
inline void softmax(Cuda, View<const float, Cuda> logit, View<float, Cuda> out, float scale = 1) {
  detail::launch_softmax<false>(logit, out, scale);
}
}  // namespace vbon::kernel
