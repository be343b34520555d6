// vbon/core/tensor.hpp
//
// Tensor owns memory on a device, View looks at it. Both are row-major matrices [rows, cols]; a vector
// is one row. On the CPU a view turns into an Eigen::Map, so all of Eigen works on it in place.
#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/shared_pages.hpp"
#include "vbon/core/types.hpp"

namespace vbon {
/// A non-owning look at rows x cols contiguous values. View<const T> reads only.
template <class T, Device D = Cpu>
class View {
 public:
  using value_type = std::remove_const_t<T>;
  using device_type = D;

  constexpr View() = default;
  constexpr View(T* data, Index rows, Index cols) : data_(data), rows_(rows), cols_(cols) {}
  constexpr View(T* data, Index size) : View(data, 1, size) {}
  constexpr View(std::span<T> values)  // NOLINT(google-explicit-constructor): a span is a vector
      requires std::same_as<D, Cpu> : View(values.data(), static_cast<Index>(values.size())) {}
  constexpr operator View<const T, D>() const  // NOLINT(google-explicit-constructor)
      requires(!std::is_const_v<T>) {
    return {data_, rows_, cols_};
  }

  constexpr T* data() const { return data_; }
  constexpr Index rows() const { return rows_; }
  constexpr Index cols() const { return cols_; }
  constexpr Index size() const { return rows_ * cols_; }
  constexpr bool empty() const { return size() == 0; }

  /// Row i as a vector [1, cols].
  constexpr View row(Index i) const { return {data_ + i * cols_, 1, cols_}; }
  /// Rows [begin, begin + count) as a matrix.
  constexpr View middle_rows(Index begin, Index count) const { return {data_ + begin * cols_, count, cols_}; }
  /// The same values under another shape of equal size.
  View reshaped(Index rows, Index cols) const {
    require<ShapeError>(rows * cols == size(), "View::reshaped: ", rows, " x ", cols, " does not hold ", size(), " values");
    return {data_, rows, cols};
  }
  /// Values [begin, begin + count) of the flat storage.
  constexpr View slice(Index begin, Index count) const { return {data_ + begin, 1, count}; }

  // What reads the values or hands them out as memory of the host: on the CPU only.
  constexpr T& operator[](Index i) const requires std::same_as<D, Cpu> { return data_[i]; }
  constexpr T& operator()(Index row, Index col) const requires std::same_as<D, Cpu> { return data_[row * cols_ + col]; }
  constexpr T* begin() const requires std::same_as<D, Cpu> { return data_; }
  constexpr T* end() const requires std::same_as<D, Cpu> { return data_ + size(); }
  constexpr std::span<T> span() const requires std::same_as<D, Cpu> { return {data_, static_cast<std::size_t>(size())}; }

  /// The values as an Eigen matrix or array expression (CPU only).
  auto matrix() const requires std::same_as<D, Cpu> {
    using Matrix = Eigen::Matrix<value_type, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Matrix, Matrix>>(data_, rows_, cols_);
  }
  auto array() const requires std::same_as<D, Cpu> {
    using Values = Eigen::Array<value_type, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Values, Values>>(data_, rows_, cols_);
  }

 private:
  T* data_ = nullptr;
  Index rows_ = 0;
  Index cols_ = 0;
};

/// Where a tensor's memory comes from: of its own, or from huge pages that it shares with others. Shared ones are for what
/// lives long and is read whole; they go back to the system together (shared_pages.hpp).
enum class Pages { own, shared };

/// Owns rows x cols values, zeroed, aligned to at least 64 bytes (one AVX-512 register, one cache line).
template <class T, Device D = Cpu>
class Tensor {
  static_assert(std::same_as<D, Cpu>, "Tensor on Cuda: include vbon/core/cuda/tensor.cuh, in a file that nvcc compiles");
  static_assert(std::is_trivially_copyable_v<T>, "Tensor holds plain values, zero where all their bits are");

 public:
  using value_type = T;
  using device_type = D;

  Tensor() = default;
  Tensor(Index rows, Index cols) : rows_(rows), cols_(cols) {
    require<ShapeError>(rows >= 0 && cols >= 0, "Tensor: sizes >= 0 expected, got ", rows, " x ", cols);
    values_ = allocate(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  }
  explicit Tensor(Index size, Pages pages = Pages::own) : rows_(1), cols_(size) {
    require<ShapeError>(size >= 0, "Tensor: sizes >= 0 expected, got 1 x ", size);
    values_ = allocate(static_cast<std::size_t>(size), pages);
  }

  Tensor(const Tensor& other) : Tensor(other.rows_, other.cols_) {
    if (other.size() > 0) std::copy_n(other.data(), static_cast<std::size_t>(other.size()), data());
  }
  Tensor& operator=(const Tensor& other) {
    if (this != &other) *this = Tensor(other);
    return *this;
  }
  Tensor(Tensor&& other) noexcept
      : values_(std::move(other.values_)), rows_(std::exchange(other.rows_, 0)), cols_(std::exchange(other.cols_, 0)) {}
  Tensor& operator=(Tensor&& other) noexcept {
    values_ = std::move(other.values_);
    rows_ = std::exchange(other.rows_, 0);
    cols_ = std::exchange(other.cols_, 0);
    return *this;
  }
  ~Tensor() = default;

  T* data() { return values_.get(); }
  const T* data() const { return values_.get(); }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }
  bool empty() const { return size() == 0; }
  T& operator[](Index i) { return values_.get()[i]; }
  const T& operator[](Index i) const { return values_.get()[i]; }
  T& operator()(Index row, Index col) { return values_.get()[row * cols_ + col]; }
  const T& operator()(Index row, Index col) const { return values_.get()[row * cols_ + col]; }

  View<T, D> view() { return {data(), rows_, cols_}; }
  View<const T, D> view() const { return {data(), rows_, cols_}; }
  operator View<T, D>() { return view(); }              // NOLINT(google-explicit-constructor)
  operator View<const T, D>() const { return view(); }  // NOLINT(google-explicit-constructor)
  View<T, D> row(Index i) { return view().row(i); }
  View<const T, D> row(Index i) const { return view().row(i); }

 private:
  // Large arrays ask for huge pages: a weight read column by column would otherwise miss the page table
  // at every row.
  static constexpr std::size_t huge_page = detail::huge_page;
  struct Free {
    void* memory = nullptr;        // the values begin at its first aligned byte
    std::shared_ptr<void> shared;  // or they are a part of this
    void operator()(T*) const { std::free(memory); }
  };
  using Values = std::unique_ptr<T[], Free>;
  /// Fresh pages come zeroed from the system, and calloc leaves them untouched: whoever writes first takes them, many
  /// threads at once where many fill an array.
  static Values allocate(std::size_t count, Pages pages = Pages::own) {
    if (count == 0) return nullptr;
    const std::size_t bytes = count * sizeof(T), alignment = bytes >= 2 * huge_page ? huge_page : 64;
    using Shared = detail::SharedPages;
    if (pages == Pages::shared && bytes >= Shared::smallest && bytes < Shared::largest) {
      std::shared_ptr<void> part = Shared::take(bytes);
      T* values = static_cast<T*>(part.get());
      return Values(values, Free{nullptr, std::move(part)});
    }
    std::size_t room = bytes + alignment;
    void* memory = std::calloc(room, 1);
    if (memory == nullptr) throw std::bad_alloc();
    void* first = memory;
    std::align(alignment, bytes, first, room);
    // Below two pages the part page behind an array would cost more than it saves.
    if (alignment == huge_page) detail::wish_huge_pages(first, bytes);
    return Values(static_cast<T*>(first), Free{memory, nullptr});
  }

  Values values_;
  Index rows_ = 0;
  Index cols_ = 0;
};

/// Copies values that do not overlap from one place to another of the same size. core/cuda/tensor.cuh has the overloads in
/// which a place is on a device.
/// @throws ShapeError
template <class T>
void transfer(View<const T> from, View<T> to) {
  require<ShapeError>(from.size() == to.size(), "transfer: ", from.size(), " values to a place of ", to.size());
  std::copy_n(from.data(), from.size(), to.data());
}
}  // namespace vbon
