// The fused head (C = 576, V = 49,152): log-probs, their gradient, and draws of tokens.
#include <limits>

#include "kernel_support.hpp"
#include "vbon/kernel/sample_token.hpp"
#include "vbon/kernel/token_log_prob.hpp"

using namespace vbon;
using namespace vbon::benchmarks;

namespace {
constexpr Index vocabulary = 49152, cols = 576;

struct Head {
  Tensor<float> weight = random_tensor(vocabulary, cols, 1, 0.2f);
  kernel::PackedMatrix<float> packed;
  Head() { kernel::pack(Cpu{}, weight, kernel::Transpose::no, packed); }
};
const Head& head() {
  static const Head one;
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

void log_prob(benchmark::State& state) {
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_log_prob(Cpu{}, r.x, head().packed, r.target, {}, r.log_prob, r.log_sum_exp);
  set_flops(state, product(state.range(0)));
}
void log_prob_entropy(benchmark::State& state) {
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_log_prob(Cpu{}, r.x, head().packed, r.target, {}, r.log_prob, r.log_sum_exp, r.entropy);
  set_flops(state, product(state.range(0)));
}
void log_prob_backward(benchmark::State& state) {
  Rows r(state.range(0));
  Tensor<float> dx(state.range(0), cols), dweight(vocabulary, cols);
  kernel::token_log_prob(Cpu{}, r.x, head().packed, r.target, {}, r.log_prob, r.log_sum_exp);
  for (auto _ : state)
    kernel::token_log_prob_backward(Cpu{}, r.x, head().packed, head().weight, r.target, {}, r.log_sum_exp, r.gradient, dx,
                                    dweight);
  set_flops(state, 3 * product(state.range(0)));
}
/// Both passes where the first keeps its logits for the second, and where it does not.
void log_prob_both(benchmark::State& state, bool keep) {
  Rows r(state.range(0));
  Tensor<float> dx(state.range(0), cols), dweight(vocabulary, cols);
  const Index values = keep ? kernel::kept_logits(state.range(0), vocabulary, std::numeric_limits<Index>::max()) : 0;
  std::vector<float> kept(static_cast<std::size_t>(values));
  for (auto _ : state) {
    kernel::token_log_prob(Cpu{}, r.x, head().packed, r.target, {}, r.log_prob, r.log_sum_exp, {}, kept);
    kernel::token_log_prob_backward(Cpu{}, r.x, head().packed, head().weight, r.target, {}, r.log_sum_exp, r.gradient, dx,
                                    dweight, kept);
  }
  set_flops(state, (keep ? 3 : 4) * product(state.range(0)));
}
void kl(benchmark::State& state) {
  Rows r(state.range(0));
  for (auto _ : state) kernel::token_kl(Cpu{}, r.x, head().packed, r.x, head().packed, {}, r.log_prob);
  set_flops(state, 2 * product(state.range(0)));
}
void draw_from_logits(benchmark::State& state) {
  Rows r(state.range(0));
  const auto logit = random_tensor(state.range(0), vocabulary, 7, 8);
  std::vector<kernel::TokenDraw> draw(r.target.size());
  for (auto _ : state) kernel::sample_tokens(Cpu{}, logit, r.uniform, draw);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
void draw_from_head(benchmark::State& state) {
  Rows r(state.range(0));
  std::vector<kernel::TokenDraw> draw(r.target.size());
  for (auto _ : state) kernel::sample_from_head(Cpu{}, r.x, head().packed, {}, r.uniform, draw);
  set_flops(state, product(state.range(0)));
}
}  // namespace

BENCHMARK(log_prob)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(16)->Arg(128)->Arg(1536);
BENCHMARK(log_prob_entropy)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(128);
BENCHMARK(log_prob_backward)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(128)->Arg(1536);
BENCHMARK_CAPTURE(log_prob_both, made_twice, false)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(1536);
BENCHMARK_CAPTURE(log_prob_both, kept, true)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(1536);
BENCHMARK(kl)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(128);
BENCHMARK(draw_from_logits)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(1)->Arg(128);
BENCHMARK(draw_from_head)->ArgName("rows")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(1)->Arg(16)->Arg(128);
