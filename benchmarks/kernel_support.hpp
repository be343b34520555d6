// Shared by the kernel benchmarks: random inputs and the rate counters.
#pragma once
#include <benchmark/benchmark.h>

#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon::benchmarks {
inline Tensor<float> random_tensor(Index rows, Index cols, std::uint64_t seed, float scale = 1) {
  Tensor<float> values(rows, cols);
  const RngKey key{seed, 1};
  for (Index i = 0; i < values.size(); ++i)
    values[i] = scale * (2 * static_cast<float>(key.uniform(static_cast<std::uint64_t>(i))) - 1);
  return values;
}
/// Shown as `FLOP/s` of wall time.
inline void set_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate,
                                                benchmark::Counter::kIs1000);
}
inline void set_bytes(benchmark::State& state, double bytes) {
  state.counters["B/s"] = benchmark::Counter(bytes * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate,
                                             benchmark::Counter::kIs1000);
}
}  // namespace vbon::benchmarks
