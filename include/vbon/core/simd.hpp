// vbon/core/simd.hpp
//
// xsimd, and for processors it has no instruction set for a register of one lane, so that everything compiles and computes
// there too: plain scalar code, with the names xsimd would give them.
#pragma once
#include <xsimd/xsimd.hpp>

#if defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace xsimd {
template <class T, class A = default_arch>
struct batch_bool {
  bool data;
  friend batch_bool operator&&(batch_bool a, batch_bool b) { return {a.data && b.data}; }
  friend batch_bool operator||(batch_bool a, batch_bool b) { return {a.data || b.data}; }
  friend batch_bool operator!(batch_bool a) { return {!a.data}; }
};
template <class T, class A>
bool all(batch_bool<T, A> a) {
  return a.data;
}

template <class T, class A = default_arch>
struct batch {
  using value_type = T;
  using arch_type = A;
  using Mask = batch_bool<T, A>;
  static constexpr std::size_t size = 1;

  T data;

  batch() = default;
  batch(T value) : data(value) {}  // NOLINT(google-explicit-constructor): as xsimd
  static batch load_aligned(const T* from) { return *from; }
  static batch load_unaligned(const T* from) { return *from; }
  void store_aligned(T* to) const { *to = data; }
  void store_unaligned(T* to) const { *to = data; }
  T get(std::size_t) const { return data; }

  batch operator-() const { return -data; }
  batch& operator+=(batch b) { return *this = *this + b; }
  batch& operator-=(batch b) { return *this = *this - b; }
  batch& operator*=(batch b) { return *this = *this * b; }
  batch& operator/=(batch b) { return *this = *this / b; }
  friend batch operator+(batch a, batch b) { return a.data + b.data; }
  friend batch operator-(batch a, batch b) { return a.data - b.data; }
  friend batch operator*(batch a, batch b) { return a.data * b.data; }
  friend batch operator/(batch a, batch b) { return a.data / b.data; }
  friend batch operator&(batch a, batch b) { return a.data & b.data; }
  friend batch operator|(batch a, batch b) { return a.data | b.data; }
  friend batch operator<<(batch a, int bits) { return a.data << bits; }
  friend batch operator>>(batch a, int bits) { return a.data >> bits; }
  friend Mask operator<(batch a, batch b) { return {a.data < b.data}; }
  friend Mask operator<=(batch a, batch b) { return {a.data <= b.data}; }
  friend Mask operator>(batch a, batch b) { return {a.data > b.data}; }
  friend Mask operator>=(batch a, batch b) { return {a.data >= b.data}; }
  friend Mask operator==(batch a, batch b) { return {a.data == b.data}; }
};

// The second argument where one is NaN, as the vector instructions have it.
template <class T, class A>
batch<T, A> max(batch<T, A> a, batch<T, A> b) {
  return a.data > b.data ? a : b;
}
template <class T, class A>
batch<T, A> min(batch<T, A> a, batch<T, A> b) {
  return a.data < b.data ? a : b;
}
/// a b + c, rounded once only where the processor does it in one step: std::fma would otherwise count it out by integers.
template <class T, class A>
batch<T, A> fma(batch<T, A> a, batch<T, A> b, batch<T, A> c) {
#if defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
  return std::fma(a.data, b.data, c.data);
#else
  return a * b + c;
#endif
}
template <class T, class A>
batch<T, A> fnma(batch<T, A> a, batch<T, A> b, batch<T, A> c) {
  return fma(-a, b, c);
}
template <class T, class A>
batch<T, A> select(batch_bool<T, A> which, batch<T, A> a, batch<T, A> b) {
  return which.data ? a : b;
}
template <class T, class A>
batch<T, A> abs(batch<T, A> a) {
  return std::abs(a.data);
}
template <class T, class A>
batch<T, A> sqrt(batch<T, A> a) {
  return std::sqrt(a.data);
}
template <class T, class A>
batch<T, A> tanh(batch<T, A> a) {
  return std::tanh(a.data);
}
template <class T, class A>
batch<T, A> erf(batch<T, A> a) {
  return std::erf(a.data);
}
template <class T, class A>
batch<T, A> nearbyint(batch<T, A> a) {
  return std::nearbyint(a.data);
}
template <class A>
batch<std::int32_t, A> to_int(batch<float, A> a) {
  return static_cast<std::int32_t>(a.data);
}
template <class A>
batch<float, A> to_float(batch<std::int32_t, A> a) {
  return static_cast<float>(a.data);
}
template <class To, class T, class A>
To bitwise_cast(batch<T, A> a) {
  return std::bit_cast<typename To::value_type>(a.data);
}
/// Lane i is the sum of row[i].
template <class T, class A>
batch<T, A> haddp(const batch<T, A>* row) {
  return *row;
}
}  // namespace xsimd
#endif
