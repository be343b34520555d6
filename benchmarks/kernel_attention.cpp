// Attention with 9 heads on 3 kv heads of 64: whole sequences, responses that share their prompt, both ways round, decoding.
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
/// Prompts of `prompt` rows, each with `group` responses of `length` rows that continue it.
std::vector<kernel::Segment> forest(Index prompts, Index prompt, Index group, Index length) {
  std::vector<kernel::Segment> segments;
  Index row = 0;
  for (Index p = 0; p < prompts; ++p) {
    const auto parent = static_cast<Index>(segments.size());
    segments.push_back({row, prompt, -1, 0});
    row += prompt;
    for (Index r = 0; r < group; ++r, row += length) segments.push_back({row, length, parent, prompt});
  }
  return segments;
}
double pairs(std::span<const kernel::Segment> segments, kernel::Mask mask) {
  double total = 0;
  for (const auto& s : segments)
    total += static_cast<double>(s.length) *
             (static_cast<double>(s.position) +
              (mask == kernel::Mask::full ? static_cast<double>(s.length) : static_cast<double>(s.length + 1) / 2));
  return total;
}
struct Inputs {
  Index rows;
  std::vector<kernel::Segment> segments;
  Tensor<float> q, k, v, out, lse, dq, dk, dv;
  Inputs(Index sequences, Index length) : Inputs(plain(sequences, length)) {}
  explicit Inputs(std::vector<kernel::Segment> some)
      : rows(some.back().begin + some.back().length),
        segments(std::move(some)),
        q(random_tensor(rows, 576, 1)),
        k(random_tensor(rows, 192, 2)),
        v(random_tensor(rows, 192, 3)),
        out(rows, 576),
        lse(rows, 9),
        dq(rows, 576),
        dk(rows, 192),
        dv(rows, 192) {}
  double flops(kernel::Mask mask) const { return pairs(segments, mask) * 9 * 64 * 4; }
};

void time_forward(benchmark::State& state, Inputs in, kernel::Mask mask) {
  for (auto _ : state) kernel::attention(Cpu{}, in.q, in.k, in.v, in.segments, shape, mask, in.out, in.lse);
  set_flops(state, in.flops(mask));
}
void time_backward(benchmark::State& state, Inputs in, kernel::Mask mask) {
  kernel::attention(Cpu{}, in.q, in.k, in.v, in.segments, shape, mask, in.out, in.lse);
  for (auto _ : state)
    kernel::attention_backward(Cpu{}, in.q, in.k, in.v, in.out, in.lse, in.q, in.segments, shape, mask, in.dq, in.dk, in.dv);
  set_flops(state, 2.5 * in.flops(mask));
}
template <kernel::Mask mask>
void forward(benchmark::State& state) {
  time_forward(state, Inputs(state.range(0), state.range(1)), mask);
}
template <kernel::Mask mask>
void backward(benchmark::State& state) {
  time_backward(state, Inputs(state.range(0), state.range(1)), mask);
}
void forward_shared(benchmark::State& state) {
  time_forward(state, Inputs(forest(state.range(0), state.range(1), state.range(2), state.range(3))), kernel::Mask::causal);
}
void backward_shared(benchmark::State& state) {
  time_backward(state, Inputs(forest(state.range(0), state.range(1), state.range(2), state.range(3))), kernel::Mask::causal);
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
/// Responses that share the page of their prompt and have one of their own.
void decode_shared(benchmark::State& state) {
  const Index sequences = state.range(0), prompt = state.range(1), length = state.range(2);
  Inputs in(sequences, length), shared(1, prompt);
  const auto q = random_tensor(sequences, 576, 4);
  Tensor<float> out(sequences, 576);
  std::vector<kernel::KvSpan> spans;
  std::vector<Index> offset = {0};
  for (Index b = 0; b < sequences; ++b) {
    spans.push_back({shared.k.data(), shared.v.data(), prompt});
    spans.push_back({in.k.data() + b * length * 192, in.v.data() + b * length * 192, length});
    offset.push_back(2 * b + 2);
  }
  for (auto _ : state) kernel::attention_decode(Cpu{}, q, spans, offset, shape, out);
  set_bytes(state, static_cast<double>(sequences * (prompt + length) * 192 * 8));
}
void whole(benchmark::internal::Benchmark* b) {
  b->ArgNames({"sequences", "length"})->UseRealTime()->Args({64, 32})->Args({4, 512})->Args({1, 2048});
}
void shared(benchmark::internal::Benchmark* b) {
  b->ArgNames({"prompts", "prompt", "group", "length"})->UseRealTime()->Args({16, 6, 4, 24})->Args({4, 256, 8, 128});
}
}  // namespace

BENCHMARK(forward<kernel::Mask::causal>)->Name("forward")->Apply(whole);
BENCHMARK(forward<kernel::Mask::full>)->Name("forward_full")->Apply(whole);
BENCHMARK(forward_shared)->Apply(shared);
BENCHMARK(backward<kernel::Mask::causal>)->Name("backward")->Apply(whole);
BENCHMARK(backward<kernel::Mask::full>)->Name("backward_full")->Apply(whole);
BENCHMARK(backward_shared)->Apply(shared);
BENCHMARK(decode)->ArgNames({"sequences", "length"})->UseRealTime()->Args({128, 32})->Args({1, 2048})->Args({64, 1024});
BENCHMARK(decode_shared)
    ->ArgNames({"sequences", "prompt", "length"})
    ->UseRealTime()
    ->Args({128, 6, 24})
    ->Args({32, 512, 64});
