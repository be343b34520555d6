// vbon/core/cuda/tensor.cuh
//
// Tensors in the memory of a CUDA device, and copies between it and the host. What their views point to cannot be read by the
// host, so these have no operators.
#pragma once
#include <cuda_runtime.h>

#include <type_traits>
#include <utility>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/core/types.hpp"

namespace vbon {
namespace cuda {
/// @throws RunError cuda, with what was tried and the device's own words
inline void check(cudaError_t status, const char* what) {
  require<RunError>(status == cudaSuccess, ErrorCode{"cuda"}, what, ": ", cudaGetErrorString(status),
                    "; a working device of CUDA with free memory is expected");
}
/// How many devices this process can use; 0 where there is no driver.
inline int devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}
}  // namespace cuda

/// Owns rows x cols values on the current device, zeroed.
template <class T>
class Tensor<T, Cuda> {
  static_assert(std::is_trivially_copyable_v<T>, "Tensor holds plain values, zero where all their bits are");

 public:
  using value_type = T;
  using device_type = Cuda;

  Tensor() = default;
  /// @throws ShapeError; RunError cuda
  Tensor(Index rows, Index cols) : Tensor() {  // from here on the destructor frees
    require<ShapeError>(rows >= 0 && cols >= 0, "Tensor: sizes >= 0 expected, got ", rows, " x ", cols);
    rows_ = rows;
    cols_ = cols;
    if (size() == 0) return;
    cuda::check(cudaMalloc(reinterpret_cast<void**>(&values_), bytes()), "Tensor on CUDA: cudaMalloc");
    cuda::check(cudaMemset(values_, 0, bytes()), "Tensor on CUDA: cudaMemset");
  }
  explicit Tensor(Index size, Pages = Pages::own) : Tensor(1, size) {}
  Tensor(const Tensor& other) : Tensor(other.rows_, other.cols_) {
    if (size() > 0)
      cuda::check(cudaMemcpy(values_, other.values_, bytes(), cudaMemcpyDeviceToDevice), "Tensor on CUDA: cudaMemcpy");
  }
  Tensor(Tensor&& other) noexcept { swap(other); }
  Tensor& operator=(Tensor other) noexcept {
    swap(other);
    return *this;
  }
  ~Tensor() {
    if (values_ != nullptr) cudaFree(values_);
  }

  T* data() { return values_; }
  const T* data() const { return values_; }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }
  bool empty() const { return size() == 0; }
  View<T, Cuda> view() { return {values_, rows_, cols_}; }
  View<const T, Cuda> view() const { return {values_, rows_, cols_}; }
  operator View<T, Cuda>() { return view(); }              // NOLINT(google-explicit-constructor)
  operator View<const T, Cuda>() const { return view(); }  // NOLINT(google-explicit-constructor)

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(size()) * sizeof(T); }
  void swap(Tensor& other) noexcept {
    std::swap(values_, other.values_);
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
  }
  T* values_ = nullptr;
  Index rows_ = 0;
  Index cols_ = 0;
};

namespace cuda {
template <class T, Device From, Device To>
void copy(View<const T, From> from, View<T, To> to, cudaMemcpyKind kind) {
  require<ShapeError>(from.size() == to.size(), "transfer: ", from.size(), " values to a place of ", to.size());
  if (to.empty()) return;
  check(cudaMemcpy(to.data(), from.data(), static_cast<std::size_t>(to.size()) * sizeof(T), kind), "transfer");
}
}  // namespace cuda

/// transfer() to, from and within the current device. From it: waits for the kernels before.
/// @throws ShapeError; RunError cuda, also for what one of those kernels did wrong
template <class T>
void transfer(View<const T> from, View<T, Cuda> to) {
  cuda::copy(from, to, cudaMemcpyHostToDevice);
}
template <class T>
void transfer(View<const T, Cuda> from, View<T> to) {
  cuda::copy(from, to, cudaMemcpyDeviceToHost);
}
template <class T>
void transfer(View<const T, Cuda> from, View<T, Cuda> to) {
  cuda::copy(from, to, cudaMemcpyDeviceToDevice);
}

/// The values on the current device, in the same shape.
/// @throws RunError cuda
template <class T>
Tensor<T, Cuda> to_device(const Tensor<T>& host) {
  Tensor<T, Cuda> device(host.rows(), host.cols());
  transfer(host.view(), device.view());
  return device;
}
/// The same back, after the kernels before it.
/// @throws RunError cuda, also for what one of them did wrong
template <class T>
Tensor<T> to_host(const Tensor<T, Cuda>& device) {
  Tensor<T> host(device.rows(), device.cols());
  transfer(device.view(), host.view());
  return host;
}
}  // namespace vbon
