// vbon/kernel/gelu.hpp
//
// Pointwise activations and their gradients. Gelu (Hendrycks & Gimpel 2016) in both forms in use: by the
// error function, x Phi(x), and the tanh approximation of GPT-2 ("gelu_new"); silu, tanh, relu, sigmoid.
// Each is a type with value(x) and slope(x), so a model names its activation as a template argument.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/kernel/elementwise.hpp"

namespace vbon::kernel {
struct GeluTanh {
  static constexpr std::string_view name = "gelu_new";
  /// 0.5 x (1 + tanh u) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return x * detail::sigmoid<Arch>(twice_u<Arch>(x));
  }
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    const B s = detail::sigmoid<Arch>(twice_u<Arch>(x));
    const B rate = B(2 * 0.7978845608f) * detail::fma<Arch>(x * x, B(3 * 0.044715f), B(1.0f));
    return s * detail::fma<Arch>(x * rate, B(1.0f) - s, B(1.0f));
  }

 private:
  template <class Arch>
  static auto twice_u(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    return B(2 * 0.7978845608f) * x * detail::fma<Arch>(x * x, B(0.044715f), B(1.0f));
  }
};

struct GeluExact {
  static constexpr std::string_view name = "gelu";
  /// x Phi(x), Phi the normal distribution function.
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return x * phi<Arch>(x);
  }
  /// Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    return detail::fma<Arch>(x * B(0.3989422804f), detail::exp<Arch>(x * x * B(-0.5f)), phi<Arch>(x));
  }

 private:
  template <class Arch>
  static auto phi(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    return detail::fma<Arch>(erf<Arch>(x * B(0.7071067812f)), B(0.5f), B(0.5f));
  }
  /// A quotient of two polynomials of x^2, fitted by least squares that were weighted until its largest error was least: off
  /// by 1.6e-8 below 3.92, and 1 or -1 beyond; 3e-7 with what float arithmetic adds. xsimd::erf takes twice as
  /// long.
  template <class Arch>
  static auto erf(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    constexpr float above[] = {2.034725185e-6f, 2.874788479e-4f, 3.868331900e-3f,
                               5.306049436e-2f, 1.927642524e-1f, 1.128378987f};
    constexpr float below[] = {3.807050962e-5f, 1.188114984e-3f, 1.517230552e-2f, 1.150846928e-1f, 5.041645169e-1f, 1.0f};
    const B square = x * x;
    B numerator(above[0]), denominator(below[0]);
    VBON_UNROLL
    for (int i = 1; i < 6; ++i) {
      numerator = detail::fma<Arch>(numerator, square, B(above[i]));
      denominator = detail::fma<Arch>(denominator, square, B(below[i]));
    }
    const B sign = xsimd::select(x < B(0.0f), B(-1.0f), B(1.0f));
    return xsimd::select(xsimd::abs(x) > B(3.92f), sign, x * numerator / denominator);
  }
};

struct Silu {
  static constexpr std::string_view name = "silu";
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return x * detail::sigmoid<Arch>(x);
  }
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    const B s = detail::sigmoid<Arch>(x);
    return s * detail::fma<Arch>(x, B(1.0f) - s, B(1.0f));
  }
};

struct Sigmoid {
  static constexpr std::string_view name = "sigmoid";
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return detail::sigmoid<Arch>(x);
  }
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    const auto s = detail::sigmoid<Arch>(x);
    return s * (detail::Batch<Arch>(1.0f) - s);
  }
};

struct Tanh {
  static constexpr std::string_view name = "tanh";
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return xsimd::tanh(x);
  }
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    const auto y = xsimd::tanh(x);
    return (detail::Batch<Arch>(1.0f) - y) * (detail::Batch<Arch>(1.0f) + y);
  }
};

struct Relu {
  static constexpr std::string_view name = "relu";
  template <class Arch>
  static auto value(detail::Batch<Arch> x) {
    return xsimd::max(x, detail::Batch<Arch>(0.0f));
  }
  template <class Arch>
  static auto slope(detail::Batch<Arch> x) {
    using B = detail::Batch<Arch>;
    return xsimd::select(x > B(0.0f), B(1.0f), B(0.0f));
  }
};

/// y = f(x).
/// @param x, y  arrays of one size; y may be x itself
/// @throws ShapeError
template <class Activation, class Arch = xsimd::default_arch>
void activate(Cpu, View<const float> x, View<float> y) {
  detail::map<Arch>(
      "kernel::activate", [](auto v) { return Activation::template value<Arch>(v); }, y, x);
}

/// dx = dy f'(x), from the input of the forward pass.
/// @param x, dy, dx  arrays of one size; dx may be x or dy
/// @throws ShapeError
template <class Activation, class Arch = xsimd::default_arch>
void activate_backward(Cpu, View<const float> x, View<const float> dy, View<float> dx) {
  detail::map<Arch>(
      "kernel::activate_backward", [](auto v, auto d) { return d * Activation::template slope<Arch>(v); }, dx, x, dy);
}
}  // namespace vbon::kernel
