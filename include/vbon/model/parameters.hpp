// vbon/model/parameters.hpp
//
// All trainable numbers of a network in one flat buffer, and their gradients in another of the same
// layout. Every tensor keeps the name it has in the checkpoint, so an optimiser sees one vector, a file
// sees names and shapes, and a network sees matrices, without copies. On another device than the Cpu the two buffers lie in
// its memory and so do all views; what fill() reads passes through the host.
#pragma once
#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/set_zero.hpp"

namespace vbon::model {
/// Where one named tensor lies in the flat buffer. A vector [n] is seen as one row.
struct Parameter {
  std::string name;          // as in the checkpoint
  std::vector<Index> shape;  // as in the checkpoint
  Index offset = 0;          // first value in the flat buffer
  Index rows = 0, cols = 0;  // rows * cols values

  Index size() const { return rows * cols; }
};

namespace detail {
/// Has one tensor read to its place, on the host or by way of it.
template <class Read>
void read_to(const Read& read, Index number, View<float> place) {
  read(number, place);
}
template <class Read, Device D>
void read_to(const Read& read, Index number, View<float, D> place) {
  Tensor<float> host(place.rows(), place.cols());
  read(number, host.view());
  transfer(std::as_const(host).view(), place);
}
}  // namespace detail

/// Names, values and gradients. Add every tensor first, then use the buffers.
template <Device D = Cpu>
class Parameters {
 public:
  /// Appends a tensor of zeros; returns its number.
  Index add(std::string name, std::vector<Index> shape) {
    require<ShapeError>(!shape.empty(), "Parameters: ", name, " has no shape");
    Index rows = 1;
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
    const Index cols = shape.back();
    return add(std::move(name), std::move(shape), rows, cols);
  }
  /// The same for a tensor that is used as a matrix [rows, cols] of another form than its shape.
  Index add(std::string name, std::vector<Index> shape, Index rows, Index cols) {
    require<ShapeError>(rows > 0 && cols > 0, "Parameters: ", name, " is empty");
    const Index begin = list_.empty() ? 0 : list_.back().offset + list_.back().size();
    list_.push_back({std::move(name), std::move(shape), begin, rows, cols});
    return static_cast<Index>(list_.size()) - 1;
  }

  std::span<const Parameter> list() const { return list_; }
  const Parameter& operator[](Index number) const { return list_[static_cast<std::size_t>(number)]; }
  /// The number of the tensor that lies at an offset of the flat buffer.
  Index number_at(Index offset) const {
    const auto after = std::upper_bound(list_.begin(), list_.end(), offset,
                                        [](Index wanted, const Parameter& p) { return wanted < p.offset; });
    return after - list_.begin() - 1;
  }
  /// The number of values of all tensors together.
  Index size() const { return list_.empty() ? 0 : list_.back().offset + list_.back().size(); }

  /// Writes one tensor, by its number, to its place in memory of the host.
  using Read = std::function<void(Index number, View<float> place)>;
  /// Reads every tensor but those that `later` marks. These are read when they are first asked for, so that a model
  /// whose linear maps are packed already never holds them twice. Add every tensor before.
  /// @param read   called now; for what is left for later once more, and for each copy_to() before
  /// @param later  one flag for each tensor
  void fill(Read read, const std::vector<bool>& later) {
    if (std::find(later.begin(), later.end(), true) == later.end()) {
      const View<float, D> all = values();
      for (Index i = 0; i < static_cast<Index>(list_.size()); ++i) detail::read_to(read, i, at(all, (*this)[i]));
      return;
    }
    Partial part;
    Index held = 0;
    for (std::size_t i = 0; i < list_.size(); ++i) {
      part.place.push_back(later[i] ? -1 : held);
      held += later[i] ? 0 : list_[i].size();
    }
    part.values = Tensor<float, D>(held);
    for (std::size_t i = 0; i < list_.size(); ++i)
      if (!later[i])
        detail::read_to(read, static_cast<Index>(i),
                        View<float, D>{part.values.data() + part.place[i], list_[i].rows, list_[i].cols});
    part.read = std::move(read);
    partial_ = std::move(part);
  }

  /// Writes all values end to end [size()] without keeping what was left for later.
  void copy_to(View<float, D> out) const {
    if (partial_)
      partial_->copy_to(*this, out);
    else
      transfer(std::as_const(values_).view(), out.slice(0, values_.size()));
  }

  /// Whether nothing is left for later.
  bool is_complete() const { return !partial_; }

  /// All values end to end [size()].
  View<float, D> values() {
    complete();
    if (values_.size() != size()) grow(values_, size());
    return values_.view();
  }
  /// The values to read only; values() must have been called since the last add().
  const float* data() const {
    complete();
    return values_.data();
  }
  /// What lies in the flat buffer from `offset` to the end of that tensor, to read only: does not ask for the others,
  /// and stays good until something does.
  const float* at(Index offset) const {
    if (!partial_) return values_.data() + offset;
    const Index number = number_at(offset);
    const Index place = partial_->place[static_cast<std::size_t>(number)];
    return place < 0 ? data() + offset : partial_->values.data() + place + (offset - (*this)[number].offset);
  }
  /// All gradients, laid out as trained_values(); memory is taken at the first call. Empty where all is frozen.
  View<float, D> gradients() {
    if (frozen()) return {};
    const View<float, D> all = gradient_memory();
    if (take_zeros(0, all.size())) fill_zero(0, all.size());
    return all;
  }
  /// The values that gradients are asked for.
  View<float, D> trained_values() {
    if (frozen()) return {};
    return values().slice(first_trained_, size() - first_trained_);
  }
  /// All gradients are zero. Memory follows when it is looked at, so a view from before must be asked for again; what
  /// add_to_gradient() adds need not write the zeros first and read them again.
  void zero_gradients() {
    zeros_.clear();
    if (!gradients_.empty()) zeros_.push_back({0, gradients_.size()});
  }

  /// Values that no gradient is asked for: gradients are empty views and take no memory.
  void freeze() { freeze_before(std::numeric_limits<Index>::max()); }
  /// The same for what lies before `offset`: a body that only feeds the head behind it.
  void freeze_before(Index offset) {
    first_trained_ = offset;
    gradients_ = {};
    zeros_.clear();
  }
  void thaw() { freeze_before(0); }
  bool frozen() const { return first_trained_ > 0 && first_trained_ >= size(); }
  bool frozen_at(Index offset) const { return offset < first_trained_; }

  /// One tensor as a matrix [rows, cols].
  View<float, D> value(Index number) { return at(values(), (*this)[number]); }
  View<const float, D> value(Index number) const {
    const Parameter& p = (*this)[number];
    return {data() + p.offset, p.rows, p.cols};
  }
  View<float, D> gradient(Index number) {
    const Parameter& p = (*this)[number];
    return gradient_at(p.offset, p.rows, p.cols);
  }
  /// The gradient of what lies from `offset` on; empty where frozen.
  View<float, D> gradient_at(Index offset, Index rows, Index cols) {
    if (frozen_at(offset)) return {};
    const Index begin = offset - first_trained_;
    const View<float, D> all = gradient_memory();
    if (take_zeros(begin, begin + rows * cols)) fill_zero(begin, begin + rows * cols);
    return {all.data() + begin, rows, cols};
  }
  /// Adds to the gradient of what lies from `offset` on by add(place, accumulate): without accumulating the place counts as
  /// zero and has to be written, all of it, whatever it holds. The place is empty where frozen. When `add` throws, what
  /// counted as zero still does.
  template <class Add>
  void add_to_gradient(Index offset, Index rows, Index cols, const Add& add) {
    if (frozen_at(offset)) return add(View<float, D>{}, true);
    const Index begin = offset - first_trained_, end = begin + rows * cols;
    const View<float, D> place{gradient_memory().data() + begin, rows, cols};
    const bool zero = std::any_of(zeros_.begin(), zeros_.end(),
                                  [&](const Stretch& held) { return held.begin <= begin && end <= held.end; });
    if (!zero) take_zeros(begin, end);
    add(place, !zero);
    if (zero) take_zeros(begin, end);
  }

 private:
  View<float, D> gradient_memory() {
    if (gradients_.size() != size() - first_trained_) grow(gradients_, size() - first_trained_);
    return gradients_.view();
  }
  void fill_zero(Index begin, Index end) { kernel::set_zero(D{}, gradients_.view().slice(begin, end - begin)); }
  /// Takes [begin, end) out of what counts as zero. True where one stretch held all of it: memory is then as it was.
  /// Otherwise memory holds the gradient.
  bool take_zeros(Index begin, Index end) {
    for (std::size_t i = 0; i < zeros_.size();) {
      const Stretch zero = zeros_[i];
      if (zero.end <= begin || end <= zero.begin) {
        ++i;
        continue;
      }
      zeros_.erase(zeros_.begin() + static_cast<std::ptrdiff_t>(i));
      if (zero.begin < begin) zeros_.insert(zeros_.begin() + static_cast<std::ptrdiff_t>(i++), {zero.begin, begin});
      if (end < zero.end) zeros_.insert(zeros_.begin() + static_cast<std::ptrdiff_t>(i++), {end, zero.end});
      if (zero.begin <= begin && end <= zero.end) return true;
      fill_zero(std::max(begin, zero.begin), std::min(end, zero.end));
    }
    return false;
  }
  static View<float, D> at(View<float, D> flat, const Parameter& p) { return {flat.data() + p.offset, p.rows, p.cols}; }
  /// Reads what fill() left for later.
  void complete() const {
    if (!partial_) return;
    Tensor<float, D> all(size());
    partial_->copy_to(*this, all);
    values_ = std::move(all);
    partial_.reset();
  }
  static void grow(Tensor<float, D>& buffer, Index size) {
    Tensor<float, D> larger(size);
    if (!buffer.empty()) transfer(std::as_const(buffer).view(), larger.view().slice(0, buffer.size()));
    buffer = std::move(larger);
  }

  /// Before complete(): the tensors that are there, end to end.
  struct Partial {
    std::vector<Index> place;  // of each tensor in `values`; -1: not read yet
    Tensor<float, D> values;
    Read read;

    void copy_to(const Parameters& all, View<float, D> out) const {
      for (std::size_t i = 0; i < place.size(); ++i) {
        const View<float, D> to = at(out, all.list_[i]);
        if (place[i] >= 0)
          transfer(View<const float, D>{values.data() + place[i], to.rows(), to.cols()}, to);
        else
          detail::read_to(read, static_cast<Index>(i), to);
      }
    }
  };

  std::vector<Parameter> list_;
  mutable Tensor<float, D> values_;  // reading the rest changes nothing that can be seen
  mutable std::optional<Partial> partial_;
  Tensor<float, D> gradients_;
  struct Stretch {
    Index begin, end;
  };
  std::vector<Stretch> zeros_;  // of the gradients, in order: zero, whatever memory holds
  Index first_trained_ = 0;     // what lies before it is frozen
};
}  // namespace vbon::model
