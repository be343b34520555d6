// The fused head (C = 576, V = 49,152), in fp32 and bf16: log-probs, their gradient, and draws of tokens; and softmax of
// logits that are there.
#include <limits>

#include "kernel_support.hpp"
#include "vbon/kernel/sample_token.hpp"
#include "vbon/kernel/softmax.hpp"
#include "vbon/kernel/token_log_prob.hpp"

using namespace vbon;
using namespace vbon::benchmarks;

namespace {
constexpr Index vocabulary = 49152, cols = 576;

struct Head {
  Tensor<float> weight = random_tensor(vocabulary, cols, 1, 0.2f);
  kernel::PackedMatrix<float> packed;
  explicit Head(kernel::Precision precision) {
    packed.set_precision(precision);
    kernel::pack(Cpu{}, weight, kernel::Transpose::no, packed);
  }
};
template <kernel::Precision precision>
const Head& head() {
  static const Head one(precision);
  return one;
}
double product(Index rows) { return 2.0 * static_cast<double>(rows) * static_cast<double>(vocabulary * cols); }

struct Rows {
  Tensor<float> x;
  std::vector<TokenId> target;
  std::vector<double> log_prob, gradient, entropy, uniform;
  std::vector<double> log_sum_exp;
  explicit Rows(Index rows)
      : x(random_tensor(rows, cols, 3)),
        target(static_cast<std::size_t>(rows)),
        log_prob(target.size()),
        gradient(target.size(), 0.1),
        entropy(target.size()),
        uniform(target.size()),
        log_sum_exp(target.size()) {
    for (std::size_t t = 0; t < target.size(); ++t) {
      target[t] = static_cast<TokenId>(RngKey{4, 4}.below(t, vocabulary));
      uniform[t] = RngKey{5, 5}.uniform(t);
    }
  }
};

template <kernel::Precision precision>
void log_prob(benchmark::State& state) {
  const Head& h = head<precision>();  // packed before the clock runs
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_log_prob(Cpu{}, r.x, h.packed, r.target, {}, r.log_prob, r.log_sum_exp);
  set_flops(state, product(state.range(0)));
}
template <kernel::Precision precision>
void log_prob_entropy(benchmark::State& state) {
  const Head& h = head<precision>();  // packed before the clock runs
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_log_prob(Cpu{}, r.x, h.packed, r.target, {}, r.log_prob, r.log_sum_exp, r.entropy);
  set_flops(state, product(state.range(0)));
}
template <kernel::Precision precision>
void log_prob_backward(benchmark::State& state) {
  const Head& h = head<precision>();  // packed before the clock runs
  Rows r(state.range(0));
  Tensor<float> dx(state.range(0), cols), dweight(vocabulary, cols);
  kernel::token_log_prob(Cpu{}, r.x, h.packed, r.target, {}, r.log_prob, r.log_sum_exp);
  for (auto _ : state)
    kernel::token_log_prob_backward(Cpu{}, r.x, h.packed, h.weight, r.target, {}, r.log_sum_exp, r.gradient, dx, dweight);
  set_flops(state, 3 * product(state.range(0)));
}
/// Both passes where the first keeps its logits for the second, and where it does not.
template <kernel::Precision precision, bool keep>
void log_prob_both(benchmark::State& state) {
  const Head& h = head<precision>();
  Rows r(state.range(0));
  Tensor<float> dx(state.range(0), cols), dweight(vocabulary, cols);
  const Index values = keep ? kernel::kept_logits(state.range(0), vocabulary, std::numeric_limits<Index>::max()) : 0;
  std::vector<float> kept(static_cast<std::size_t>(values));
  for (auto _ : state) {
    kernel::token_log_prob(Cpu{}, r.x, h.packed, r.target, {}, r.log_prob, r.log_sum_exp, {}, kept);
    kernel::token_log_prob_backward(Cpu{}, r.x, h.packed, h.weight, r.target, {}, r.log_sum_exp, r.gradient, dx, dweight,
                                    kept);
  }
  set_flops(state, (keep ? 3 : 4) * product(state.range(0)));
}
template <kernel::Precision precision>
void kl(benchmark::State& state) {
  const Head& h = head<precision>();  // packed before the clock runs
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_kl(Cpu{}, r.x, h.packed, r.x, h.packed, {}, r.log_prob);
  set_flops(state, 2 * product(state.range(0)));
}
/// Whole rows of log-probs, probabilities, or their norm alone.
void log_softmax(benchmark::State& state) {
  const auto logit = random_tensor(state.range(0), vocabulary, 7, 8);
  Tensor<float> out(state.range(0), vocabulary);
  for (auto _ : state) kernel::log_softmax(Cpu{}, logit, out);
  set_bytes(state, 8.0 * static_cast<double>(logit.size()));
}
void softmax(benchmark::State& state) {
  const auto logit = random_tensor(state.range(0), vocabulary, 7, 8);
  Tensor<float> out(state.range(0), vocabulary);
  for (auto _ : state) kernel::softmax(Cpu{}, logit, out);
  set_bytes(state, 8.0 * static_cast<double>(logit.size()));
}
void log_sum_exp(benchmark::State& state) {
  const auto logit = random_tensor(1, vocabulary, 7, 8);
  for (auto _ : state) benchmark::DoNotOptimize(kernel::log_sum_exp(Cpu{}, logit));
  set_bytes(state, 4.0 * vocabulary);
}
void draw_from_logits(benchmark::State& state) {
  Rows r(state.range(0));
  const auto logit = random_tensor(state.range(0), vocabulary, 7, 8);
  std::vector<kernel::TokenDraw> draw(r.target.size());
  for (auto _ : state) kernel::sample_tokens(Cpu{}, logit, r.uniform, draw);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
void draw_one(benchmark::State& state) {
  const auto logit = random_tensor(1, vocabulary, 7, 8);
  for (auto _ : state) benchmark::DoNotOptimize(kernel::sample_token(Cpu{}, logit, 0.5));
  set_bytes(state, 4.0 * vocabulary);
}
template <kernel::Precision precision>
void draw_from_head(benchmark::State& state) {
  const Head& h = head<precision>();  // packed before the clock runs
  Rows r(state.range(0));
  std::vector<kernel::TokenDraw> draw(r.target.size());
  for (auto _ : state) kernel::sample_from_head(Cpu{}, r.x, h.packed, {}, r.uniform, draw);
  set_flops(state, product(state.range(0)));
}

constexpr auto fp32 = kernel::Precision::float32, bf16 = kernel::Precision::bfloat16;
void rows(benchmark::internal::Benchmark* b) { b->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond); }
}  // namespace

BENCHMARK(log_prob<fp32>)->Name("log_prob")->Apply(rows)->Arg(16)->Arg(128)->Arg(1536);
BENCHMARK(log_prob<bf16>)->Name("log_prob_bfloat16")->Apply(rows)->Arg(16)->Arg(128)->Arg(1536);
BENCHMARK(log_prob_entropy<fp32>)->Name("log_prob_entropy")->Apply(rows)->Arg(128);
BENCHMARK(log_prob_entropy<bf16>)->Name("log_prob_entropy_bfloat16")->Apply(rows)->Arg(128);
BENCHMARK(log_prob_backward<fp32>)->Name("log_prob_backward")->Apply(rows)->Arg(128)->Arg(1536);
BENCHMARK(log_prob_backward<bf16>)->Name("log_prob_backward_bfloat16")->Apply(rows)->Arg(128)->Arg(1536);
BENCHMARK_TEMPLATE(log_prob_both, fp32, false)->Name("log_prob_both/made_twice")->Apply(rows)->Arg(1536);
BENCHMARK_TEMPLATE(log_prob_both, fp32, true)->Name("log_prob_both/kept")->Apply(rows)->Arg(1536);
BENCHMARK_TEMPLATE(log_prob_both, bf16, true)->Name("log_prob_both_bfloat16/kept")->Apply(rows)->Arg(1536);
BENCHMARK(kl<fp32>)->Name("kl")->Apply(rows)->Arg(128);
BENCHMARK(kl<bf16>)->Name("kl_bfloat16")->Apply(rows)->Arg(128);
BENCHMARK(softmax)->Apply(rows)->Arg(1)->Arg(128);
BENCHMARK(log_softmax)->Apply(rows)->Arg(1)->Arg(128);
BENCHMARK(log_sum_exp)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(draw_one)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(draw_from_logits)->Apply(rows)->Arg(1)->Arg(128);
BENCHMARK(draw_from_head<fp32>)->Name("draw_from_head")->Apply(rows)->Arg(1)->Arg(16)->Arg(128);
BENCHMARK(draw_from_head<bf16>)->Name("draw_from_head_bfloat16")->Apply(rows)->Arg(1)->Arg(16)->Arg(128);
