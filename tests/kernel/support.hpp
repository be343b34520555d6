// Random inputs, double-precision oracles' numeric gradients and comparisons for the kernel tests.
#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::test {
/// Every instruction set this build can run; the default one comes last.
using Archs = std::tuple<
#if XSIMD_WITH_SSE2
    xsimd::sse2,
#endif
#if XSIMD_WITH_FMA3_AVX2
    xsimd::fma3<xsimd::avx2>,
#endif
    xsimd::default_arch>;

inline Tensor<float> random_tensor(Index rows, Index cols, std::uint64_t seed, float scale = 1) {
  Tensor<float> values(rows, cols);
  const RngKey key{seed, 77};
  for (Index i = 0; i < values.size(); ++i)
    values[i] = scale * static_cast<float>(key.normal(static_cast<std::uint64_t>(i)));
  return values;
}

/// Memory that nobody has written yet.
inline Tensor<float> full_of_nan(Index rows, Index cols) {
  Tensor<float> values(rows, cols);
  values.view().array().setConstant(std::numeric_limits<float>::quiet_NaN());
  return values;
}

using Doubles = std::vector<double>;
inline Doubles doubles(View<const float> values) { return {values.begin(), values.end()}; }

/// d f / d x by central differences.
inline Doubles numeric_gradient(const std::function<double(const Doubles&)>& f, Doubles x, double step = 1e-5) {
  Doubles gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    x[i] = value + step;
    const double above = f(x);
    x[i] = value - step;
    gradient[i] = (above - f(x)) / (2 * step);
    x[i] = value;
  }
  return gradient;
}

inline double dot(const Doubles& a, View<const float> b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * static_cast<double>(b[static_cast<Index>(i)]);
  return total;
}

/// Largest |a - b| relative to 1 + |b|.
template <class B>
double distance(View<const float> a, const B& b) {
  double most = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double want = static_cast<double>(b[static_cast<std::size_t>(i)]);
    const double off = std::abs(static_cast<double>(a[i]) - want) / (1 + std::abs(want));
    if (!(off <= most)) most = off;  // a NaN is the largest distance
  }
  return most;
}

inline bool same_bits(View<const float> a, View<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

/// Calls run() with 1, 2, 3 and 8 threads and returns whether all results have the same bits.
inline bool same_on_any_threads(const std::function<Tensor<float>()>& run) {
  set_threads(1);
  const auto first = run();
  bool same = true;
  for (const int threads : {2, 3, 8}) {
    set_threads(threads);
    same = same && same_bits(run(), first);
  }
  set_threads(2);
  return same;
}
}  // namespace vbon::test
