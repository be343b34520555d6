// The matrix products at the shapes of SmolLM2-135M: C = 576, FFN 1536, kv 192. M rows, N outputs, K inputs.
#include "kernel_support.hpp"
#include "vbon/kernel/matmul.hpp"

using namespace vbon;
using namespace vbon::benchmarks;

namespace {
double flops(const benchmark::State& state) {
  return 2.0 * static_cast<double>(state.range(0)) * static_cast<double>(state.range(1)) *
         static_cast<double>(state.range(2));
}

/// Times products with a weight that pack(copy) lays out: many copies of it, taken in turn, so that it comes from memory
/// as in a real model.
template <class Pack>
void multiply(benchmark::State& state, const Pack& pack) {
  const Index m = state.range(0), n = state.range(1), k = state.range(2);
  std::vector<kernel::PackedMatrix<float>> panels(
      static_cast<std::size_t>(std::max<Index>(1, 64 * 1024 * 1024 / (n * k * 4))));
  for (auto& copy : panels) pack(copy);
  const auto x = random_tensor(m, k, 1);
  Tensor<float> y(m, n);
  std::size_t next = 0;
  for (auto _ : state) {
    kernel::matmul(Cpu{}, x, panels[next], y);
    next = (next + 1) % panels.size();
  }
  set_flops(state, flops(state));
  set_bytes(state, 4 * static_cast<double>(panels[0].panels() * panels[0].panel_size()));
}
void forward(benchmark::State& state) {
  const auto w = random_tensor(state.range(1), state.range(2), 2);
  multiply(state, [&](auto& copy) { kernel::pack(Cpu{}, w, kernel::Transpose::no, copy); });
}
/// The same from a weight in the bits of a checkpoint: rival storages behind one product, equal bits (test.kernel).
void forward_compact(benchmark::State& state, BlockType type) {
  const Index n = state.range(1), k = state.range(2);
  const BlockFormat& stored = block_format(type);
  const Index row = k / static_cast<Index>(stored.elements) * static_cast<Index>(stored.bytes);
  std::vector<std::byte> bytes(static_cast<std::size_t>(n * row));
  const RngKey key{2, 2};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(key.below(i, 60));  // small scales
  const kernel::PackedFormat& format = *kernel::find_packed_format(type, k);
  multiply(state, [&](auto& copy) {
    kernel::pack_stored(
        Cpu{}, n, k, format, [&](Index i) { return bytes.data() + i * row; }, copy);
  });
}
/// Both factors rounded to bfloat16.
void forward_bfloat16(benchmark::State& state) {
  const auto w = random_tensor(state.range(1), state.range(2), 2);
  multiply(state, [&](auto& copy) {
    copy.set_precision(kernel::Precision::bfloat16);
    kernel::pack(Cpu{}, w, kernel::Transpose::no, copy);
  });
}
template <kernel::Precision precision = kernel::Precision::float32, bool accumulate = false>
void grad_input(benchmark::State& state) {
  const Index m = state.range(0), n = state.range(1), k = state.range(2);
  const auto dy = random_tensor(m, n, 1), w = random_tensor(n, k, 2);
  Tensor<float> dx(m, k);
  for (auto _ : state) kernel::matmul_grad_input(Cpu{}, dy, w, dx, accumulate, precision);
  set_flops(state, flops(state));
}
/// Added to what is there, or written: the first gradient of a step.
template <kernel::Precision precision = kernel::Precision::float32, bool accumulate = true>
void grad_weight(benchmark::State& state) {
  const Index m = state.range(0), n = state.range(1), k = state.range(2);
  const auto dy = random_tensor(m, n, 1), x = random_tensor(m, k, 2);
  Tensor<float> dw(n, k);
  for (auto _ : state) kernel::matmul_grad_weight(Cpu{}, dy, x, dw, precision, accumulate);
  set_flops(state, flops(state));
}
/// With bias, added to what is there.
void forward_added(benchmark::State& state) {
  const auto x = random_tensor(state.range(0), state.range(2), 1), w = random_tensor(state.range(1), state.range(2), 2);
  const auto bias = random_tensor(1, state.range(1), 3);
  kernel::PackedMatrix<float> panels;
  kernel::pack(Cpu{}, w, kernel::Transpose::no, panels);
  Tensor<float> y(state.range(0), state.range(1));
  for (auto _ : state) kernel::matmul(Cpu{}, x, panels, y, bias, true);
  set_flops(state, flops(state));
}
template <kernel::Precision precision = kernel::Precision::float32, kernel::Transpose transpose = kernel::Transpose::no>
void pack_weight(benchmark::State& state) {
  const Index n = state.range(0), k = state.range(1);
  const auto w = random_tensor(transpose == kernel::Transpose::no ? n : k, transpose == kernel::Transpose::no ? k : n, 1);
  kernel::PackedMatrix<float> panels;
  panels.set_precision(precision);
  for (auto _ : state) kernel::pack(Cpu{}, w, transpose, panels);
  set_bytes(state, (precision == kernel::Precision::float32 ? 8 : 6) * static_cast<double>(n * k));
}
/// From rows that are read for it.
void pack_weight_read(benchmark::State& state) {
  const Index n = state.range(0), k = state.range(1);
  const auto w = random_tensor(n, k, 1);
  kernel::PackedMatrix<float> panels;
  for (auto _ : state)
    kernel::pack_from(
        Cpu{}, n, k, [&](Index first, Index count, float* out) { std::copy_n(w.data() + first * k, count * k, out); },
        panels);
  set_bytes(state, 8 * static_cast<double>(n * k));
}
/// In the bits of a checkpoint.
void pack_weight_stored(benchmark::State& state, BlockType type) {
  const Index n = state.range(0), k = state.range(1);
  const BlockFormat& stored = block_format(type);
  const Index row = k / static_cast<Index>(stored.elements) * static_cast<Index>(stored.bytes);
  const std::vector<std::byte> bytes(static_cast<std::size_t>(n * row));
  const kernel::PackedFormat& format = *kernel::find_packed_format(type, k);
  kernel::PackedMatrix<float> panels;
  for (auto _ : state)
    kernel::pack_stored(
        Cpu{}, n, k, format, [&](Index i) { return bytes.data() + i * row; }, panels);
  set_bytes(state, 2 * static_cast<double>(bytes.size()));
}

void forward_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "N", "K"})->UseRealTime();
  for (const std::int64_t m : {1, 4, 16, 64, 128, 512, 1632, 2048})
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}})
      if (m <= 128 || n < 49152) b->Args({m, n, k});
}
void compact_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "N", "K"})->UseRealTime();
  for (const std::int64_t m : {1, 2, 4, 16, 128}) b->Args({m, 1536, 576});
}
void backward_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"M", "N", "K"})->UseRealTime();
  for (const std::int64_t m : {64, 128, 512, 1632, 2048})
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{576, 576}, {192, 576}, {1536, 576}, {576, 1536}})
      b->Args({m, n, k});
  b->Args({1632, 1536, 16})->Args({1632, 16, 576});  // an adapter's
}
void pack_sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "K"})->UseRealTime()->Args({1536, 576})->Args({49152, 576});
}
}  // namespace

BENCHMARK(forward)->Apply(forward_sizes);
BENCHMARK(forward_added)->ArgNames({"M", "N", "K"})->UseRealTime()->Args({512, 1536, 576});
BENCHMARK_CAPTURE(forward_compact, bf16, BlockType::bf16)->Apply(compact_sizes);
BENCHMARK_CAPTURE(forward_compact, f16, BlockType::f16)->Apply(compact_sizes);
BENCHMARK_CAPTURE(forward_compact, q8_0, BlockType::q8_0)->Apply(compact_sizes);
BENCHMARK_CAPTURE(forward_compact, q4_0, BlockType::q4_0)->Apply(compact_sizes);
BENCHMARK_CAPTURE(forward_compact, q4_1, BlockType::q4_1)->Apply(compact_sizes);
BENCHMARK(forward_bfloat16)->Apply(forward_sizes);
BENCHMARK(grad_input<>)->Name("grad_input")->Apply(backward_sizes);
BENCHMARK(grad_input<kernel::Precision::bfloat16>)->Name("grad_input_bfloat16")->Apply(backward_sizes);
BENCHMARK(grad_weight<>)->Name("grad_weight")->Apply(backward_sizes);
BENCHMARK(grad_weight<kernel::Precision::bfloat16>)->Name("grad_weight_bfloat16")->Apply(backward_sizes);
BENCHMARK(grad_input<kernel::Precision::float32, true>)
    ->Name("grad_input_added")
    ->ArgNames({"M", "N", "K"})
    ->UseRealTime()
    ->Args({512, 1536, 576});
BENCHMARK(grad_weight<kernel::Precision::float32, false>)
    ->Name("grad_weight_written")
    ->ArgNames({"M", "N", "K"})
    ->UseRealTime()
    ->Args({512, 1536, 576});
BENCHMARK(pack_weight<>)->Name("pack_weight")->Apply(pack_sizes);
BENCHMARK(pack_weight<kernel::Precision::bfloat16>)->Name("pack_weight_bfloat16")->Apply(pack_sizes);
BENCHMARK_TEMPLATE(pack_weight, kernel::Precision::float32, kernel::Transpose::yes)
    ->Name("pack_weight_transposed")
    ->Apply(pack_sizes);
BENCHMARK(pack_weight_read)->Apply(pack_sizes);
BENCHMARK_CAPTURE(pack_weight_stored, q8_0, BlockType::q8_0)->Apply(pack_sizes);
BENCHMARK_CAPTURE(pack_weight_stored, q4_1, BlockType::q4_1)->Apply(pack_sizes);
BENCHMARK_CAPTURE(pack_weight_stored, bf16, BlockType::bf16)->Apply(pack_sizes);
