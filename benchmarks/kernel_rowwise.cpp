// Row-wise and pointwise kernels at T = 2048 rows of SmolLM2-135M, in bytes read and written; and what reading memory
// gives at most.
#include <cmath>

#include "kernel_support.hpp"
#include "vbon/kernel/dequantize.hpp"
#include "vbon/kernel/embedding.hpp"
#include "vbon/kernel/gelu.hpp"
#include "vbon/kernel/layer_norm.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/rms_norm.hpp"
#include "vbon/kernel/rotary.hpp"
#include "vbon/kernel/set_zero.hpp"
#include "vbon/kernel/swiglu.hpp"

using namespace vbon;
using namespace vbon::benchmarks;

namespace {
constexpr Index rows = 2048, cols = 576, wide = 1536;
const double narrow_bytes = 4.0 * rows * cols, wide_bytes = 4.0 * rows * wide;

/// Half a gigabyte, by all threads: the limit of whatever reads all weights for a token.
void read_memory(benchmark::State& state) {
  Tensor<float> values(Index{1} << 27);
  for (Index i = 0; i < values.size(); ++i) values[i] = 1;
  const Index part = Index{1} << 20;
  std::vector<float> sum(static_cast<std::size_t>(values.size() / part));
  for (auto _ : state) {
    parallel_for(values.size(), part, [&](Index begin, Index end) {
      sum[static_cast<std::size_t>(begin / part)] =
          Eigen::Map<const Eigen::ArrayXf, Eigen::Aligned64>(values.data() + begin, end - begin).sum();
    });
    benchmark::DoNotOptimize(sum.data());
  }
  set_bytes(state, 4.0 * static_cast<double>(values.size()));
}
/// A region that all threads enter, each of them for a moment.
void region(benchmark::State& state) {
  const Index threads = thread_pool().threads();
  for (auto _ : state) parallel_for(threads, 1, [](Index begin, Index) { benchmark::DoNotOptimize(begin); });
}
/// What an optimiser's pass does to memory, with hardly any arithmetic: four arrays read, three of them written.
void update_memory(benchmark::State& state) {
  const Index size = state.range(0), part = Index{1} << 16;
  Tensor<float> w(size), m(size), v(size), g(size);
  for (Index i = 0; i < size; ++i) w[i] = m[i] = v[i] = g[i] = 1;
  const auto update = [&] {
    parallel_for(size, part, [&](Index begin, Index end) {
      using namespace kernel::detail;
      using Arch = xsimd::default_arch;
      for_lanes<Arch>(begin, end, [&](Index i, auto some) {
        const auto slope = load_some<Arch>(g.data() + i, some);
        const auto first = load_some<Arch>(m.data() + i, some) + slope, second = load_some<Arch>(v.data() + i, some) - slope;
        store_some<Arch>(m.data() + i, first, some);
        store_some<Arch>(v.data() + i, second, some);
        store_some<Arch>(w.data() + i, load_some<Arch>(w.data() + i, some) + first + second, some);
      });
    });
  };
  update();
  for (auto _ : state) {
    update();
    benchmark::DoNotOptimize(w.data());
  }
  set_bytes(state, 7 * 4.0 * static_cast<double>(size));
}
void rms_norm(benchmark::State& state) {
  const auto x = random_tensor(rows, cols, 1), w = random_tensor(1, cols, 2);
  Tensor<float> y(rows, cols), inv(1, rows);
  for (auto _ : state) kernel::rms_norm(Cpu{}, x, w, 1e-5f, y, inv);
  set_bytes(state, 2 * narrow_bytes);
}
void rms_norm_backward(benchmark::State& state) {
  const auto x = random_tensor(rows, cols, 1), w = random_tensor(1, cols, 2), dy = random_tensor(rows, cols, 3);
  Tensor<float> y(rows, cols), inv(1, rows), dw(1, cols);
  kernel::rms_norm(Cpu{}, x, w, 1e-5f, y, inv);
  for (auto _ : state) kernel::rms_norm_backward(Cpu{}, x, w, inv, dy, y, dw);
  set_bytes(state, 3 * narrow_bytes);
}
void layer_norm(benchmark::State& state) {
  const auto x = random_tensor(rows, cols, 1), w = random_tensor(1, cols, 2);
  Tensor<float> y(rows, cols);
  for (auto _ : state) kernel::layer_norm(Cpu{}, x, w, w, 1e-5f, y);
  set_bytes(state, 2 * narrow_bytes);
}
void layer_norm_backward(benchmark::State& state) {
  const auto x = random_tensor(rows, cols, 1), w = random_tensor(1, cols, 2), dy = random_tensor(rows, cols, 3);
  Tensor<float> y(rows, cols), mean(1, rows), inv(1, rows), dw(1, cols), db(1, cols);
  kernel::layer_norm(Cpu{}, x, w, w, 1e-5f, y, mean, inv);
  for (auto _ : state) kernel::layer_norm_backward(Cpu{}, x, w, mean, inv, dy, y, dw, db);
  set_bytes(state, 3 * narrow_bytes);
}
void swiglu(benchmark::State& state) {
  const auto gate = random_tensor(rows, wide, 1), up = random_tensor(rows, wide, 2);
  Tensor<float> out(rows, wide);
  for (auto _ : state) kernel::swiglu(Cpu{}, gate, up, out);
  set_bytes(state, 3 * wide_bytes);
}
void swiglu_backward(benchmark::State& state) {
  const auto gate = random_tensor(rows, wide, 1), up = random_tensor(rows, wide, 2), dout = random_tensor(rows, wide, 3);
  Tensor<float> dgate(rows, wide), dup(rows, wide);
  for (auto _ : state) kernel::swiglu_backward(Cpu{}, gate, up, dout, dgate, dup);
  set_bytes(state, 5 * wide_bytes);
}
template <class Activation>
void activation(benchmark::State& state) {
  const auto x = random_tensor(rows, wide, 1);
  Tensor<float> y(rows, wide);
  for (auto _ : state) kernel::activate<Activation>(Cpu{}, x, y);
  set_bytes(state, 2 * wide_bytes);
}
template <class Activation>
void activation_backward(benchmark::State& state) {
  const auto x = random_tensor(rows, wide, 1), dy = random_tensor(rows, wide, 2);
  Tensor<float> dx(rows, wide);
  for (auto _ : state) kernel::activate_backward<Activation>(Cpu{}, x, dy, dx);
  set_bytes(state, 3 * wide_bytes);
}
void bias_grad(benchmark::State& state) {
  const auto dy = random_tensor(rows, wide, 1);
  Tensor<float> db(1, wide);
  for (auto _ : state) kernel::bias_grad(Cpu{}, dy, db);
  set_bytes(state, wide_bytes);
}
void set_zero(benchmark::State& state) {
  Tensor<float> values(49152, cols);
  for (auto _ : state) kernel::set_zero(Cpu{}, values.view());
  set_bytes(state, 4.0 * 49152 * cols);
}
/// Blocks of a GGUF file to floats.
void dequantize(benchmark::State& state, BlockType type) {
  const BlockFormat& format = block_format(type);
  Tensor<float> out(rows, wide);
  std::vector<std::byte> from(static_cast<std::size_t>(out.size()) / format.elements * format.bytes);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(RngKey{2, 2}.below(i, 60));  // small scales
  for (auto _ : state) kernel::dequantize(Cpu{}, type, from, out);
  set_bytes(state, wide_bytes + static_cast<double>(from.size()));
}
void rotary(benchmark::State& state, bool inverse) {
  kernel::Rotary rotary{.head_dim = 64, .rotary_dim = 64, .inv_freq = {}};
  for (int i = 0; i < 32; ++i) rotary.inv_freq.push_back(std::pow(1e4f, -static_cast<float>(i) / 32));
  rotary.reserve(2048);
  auto x = random_tensor(rows, cols, 1);
  std::vector<Index> position(rows);
  for (std::size_t t = 0; t < position.size(); ++t) position[t] = static_cast<Index>(t % 64);
  for (auto _ : state) kernel::rotate(Cpu{}, rotary, x, position, inverse);
  set_bytes(state, 2 * narrow_bytes);
}
std::vector<TokenId> random_tokens() {
  std::vector<TokenId> token(rows);
  for (std::size_t t = 0; t < token.size(); ++t) token[t] = static_cast<TokenId>(RngKey{1, 1}.below(t, 49152));
  return token;
}
void embedding(benchmark::State& state, bool accumulate) {
  const auto table = random_tensor(49152, cols, 1);
  Tensor<float> out(rows, cols);
  const auto token = random_tokens();
  for (auto _ : state) kernel::embedding(Cpu{}, table, token, out, accumulate);
  set_bytes(state, (accumulate ? 3 : 2) * narrow_bytes);
}
void embedding_backward(benchmark::State& state) {
  const auto dout = random_tensor(rows, cols, 1);
  Tensor<float> dtable(49152, cols);
  const auto token = random_tokens();
  for (auto _ : state) kernel::embedding_backward(Cpu{}, token, dout, dtable);
  set_bytes(state, 3 * narrow_bytes);
}
}  // namespace

BENCHMARK(read_memory)->UseRealTime();
BENCHMARK(update_memory)->ArgName("parameters")->Arg(134'515'008)->UseRealTime();
BENCHMARK(rms_norm)->UseRealTime();
BENCHMARK(rms_norm_backward)->UseRealTime();
BENCHMARK(layer_norm)->UseRealTime();
BENCHMARK(layer_norm_backward)->UseRealTime();
BENCHMARK(swiglu)->UseRealTime();
BENCHMARK(swiglu_backward)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::GeluTanh)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::GeluExact)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::Silu)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::Tanh)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::Sigmoid)->UseRealTime();
BENCHMARK_TEMPLATE(activation, kernel::Relu)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::GeluTanh)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::GeluExact)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::Silu)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::Tanh)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::Sigmoid)->UseRealTime();
BENCHMARK_TEMPLATE(activation_backward, kernel::Relu)->UseRealTime();
BENCHMARK(bias_grad)->UseRealTime();
BENCHMARK(region)->UseRealTime();
BENCHMARK(set_zero)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, f32, BlockType::f32)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, bf16, BlockType::bf16)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, f16, BlockType::f16)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q8_0, BlockType::q8_0)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q4_0, BlockType::q4_0)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q4_1, BlockType::q4_1)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q5_0, BlockType::q5_0)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q5_1, BlockType::q5_1)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q2_k, BlockType::q2_k)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q3_k, BlockType::q3_k)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q4_k, BlockType::q4_k)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q5_k, BlockType::q5_k)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, q6_k, BlockType::q6_k)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, iq4_nl, BlockType::iq4_nl)->UseRealTime();
BENCHMARK_CAPTURE(dequantize, iq4_xs, BlockType::iq4_xs)->UseRealTime();
BENCHMARK_CAPTURE(rotary, forward, false)->UseRealTime();
BENCHMARK_CAPTURE(rotary, inverse, true)->UseRealTime();
BENCHMARK_CAPTURE(embedding, written, false)->UseRealTime();
BENCHMARK_CAPTURE(embedding, added, true)->UseRealTime();
BENCHMARK(embedding_backward)->UseRealTime();
