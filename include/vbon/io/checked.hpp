// vbon/io/checked.hpp
//
// Sizes read from a file are hostile until proven: their sums and products may wrap around and then pass
// a bound check. CheckedSize is the one arithmetic for them. An overflow or a negative value makes it
// invalid, which sticks through further arithmetic and fits no bound.
#pragma once
#include <concepts>
#include <cstdint>

namespace vbon::io {
class CheckedSize {
 public:
  constexpr CheckedSize() = default;
  template <std::integral T>
  constexpr CheckedSize(T value)  // NOLINT(google-explicit-constructor): any integer is a size to be checked
      : value_(static_cast<std::uint64_t>(value)), valid_(!(value < T{})) {}

  constexpr bool valid() const { return valid_; }
  /// True when the value is known and at most `bound`.
  constexpr bool fits(std::uint64_t bound) const { return valid_ && value_ <= bound; }
  /// The value; meaningful only where valid() or fits() was asked before.
  constexpr std::uint64_t value() const { return value_; }

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    CheckedSize sum;
    sum.valid_ = !__builtin_add_overflow(a.value_, b.value_, &sum.value_) && a.valid_ && b.valid_;
    return sum;
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    CheckedSize product;
    product.valid_ = !__builtin_mul_overflow(a.value_, b.value_, &product.value_) && a.valid_ && b.valid_;
    return product;
  }
  /// The next multiple of a power of two.
  constexpr CheckedSize aligned_to(std::uint64_t alignment) const {
    CheckedSize up = *this + (alignment - 1);
    up.value_ &= ~(alignment - 1);
    return up;
  }

 private:
  std::uint64_t value_ = 0;
  bool valid_ = true;
};
}  // namespace vbon::io
