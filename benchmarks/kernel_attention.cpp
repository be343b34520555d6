// Attention with 9 heads on 3 kv heads of 64: training forests, long sequences, decoding.
#include <cmath>

#include "kernel_support.hpp"
#include "vbon/kernel/attention.hpp"
#include "vbon/kernel/attention_backward.hpp"

using namespace vbon;
using namespace vbon::benchmarks;

namespace {
const kernel::HeadShape shape{9, 3, 64, 0.125f};

/// Sequences of one length, end to end.
std::vector<kernel::Segment> plain(Index sequences, Index length) {
  std::vector<kernel::Segment> segments;
  for (Index s = 0; s < sequences; ++s) segments.push_back({s * length, length, -1, 0});
  return segments;
}
double pairs(std::span<const kernel::Segment> segments) {
  double total = 0;
  for (const auto& s : segments) total += static_cast<double>(s.length) * static_cast<double>(s.length + 1) / 2;
  return total;
}
struct Inputs {
  Index rows;
  std::vector<kernel::Segment> segments;
  Tensor<float> q, k, v, out, lse, dq, dk, dv;
  Inputs(Index sequences, Index length)
      : rows(sequences * length),
        segments(plain(sequences, length)),
        q(random_tensor(rows, 576, 1)),
        k(random_tensor(rows, 192, 2)),
        v(random_tensor(rows, 192, 3)),
        out(rows, 576),
        lse(rows, 9),
        dq(rows, 576),
        dk(rows, 192),
        dv(rows, 192) {}
  double flops() const { return pairs(segments) * 9 * 64 * 4; }
};

void forward(benchmark::State& state) {
  Inputs in(state.range(0), state.range(1));
  for (auto _ : state) kernel::attention(Cpu{}, in.q, in.k, in.v, in.segments, shape, kernel::Mask::causal, in.out, in.lse);
  set_flops(state, in.flops());
}
void backward(benchmark::State& state) {
  Inputs in(state.range(0), state.range(1));
  kernel::attention(Cpu{}, in.q, in.k, in.v, in.segments, shape, kernel::Mask::causal, in.out, in.lse);
  for (auto _ : state)
    kernel::attention_backward(Cpu{}, in.q, in.k, in.v, in.out, in.lse, in.q, in.segments, shape, kernel::Mask::causal,
                               in.dq, in.dk, in.dv);
  set_flops(state, 2.5 * in.flops());
}
void decode(benchmark::State& state) {
  const Index sequences = state.range(0), length = state.range(1);
  Inputs in(sequences, length);
  const auto q = random_tensor(sequences, 576, 4);
  Tensor<float> out(sequences, 576);
  std::vector<kernel::KvSpan> spans;
  std::vector<Index> offset = {0};
  for (Index b = 0; b < sequences; ++b) {
    spans.push_back({in.k.data() + b * length * 192, in.v.data() + b * length * 192, length});
    offset.push_back(b + 1);
  }
  for (auto _ : state) kernel::attention_decode(Cpu{}, q, spans, offset, shape, out);
  set_bytes(state, static_cast<double>(sequences * length * 192 * 8));
}
}  // namespace

BENCHMARK(forward)->ArgNames({"sequences", "length"})->UseRealTime()->Args({64, 32})->Args({4, 512})->Args({1, 2048});
BENCHMARK(backward)->ArgNames({"sequences", "length"})->UseRealTime()->Args({64, 32})->Args({4, 512})->Args({1, 2048});
BENCHMARK(decode)->ArgNames({"sequences", "length"})->UseRealTime()->Args({128, 32})->Args({1, 2048})->Args({64, 1024});
