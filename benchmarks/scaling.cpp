// How time grows with what a user chooses: responses drawn together, tokens of a response, width of the network, N, and M.
// Random networks, so that no file is needed; benchmarks/scaling.sh draws the picture.
#include <cmath>
#include <memory>

#include "kernel_support.hpp"
#include "vbon/bon/estimator.hpp"
#include "vbon/bon/log_prob_array.hpp"
#include "vbon/policy/causal_lm_policy.hpp"

using namespace vbon;

namespace {
/// A Llama of 4 layers with heads of 64 and a vocabulary of 8192, weights of about unit gain.
policy::CausalLmPolicy<> random_policy(Index width, Index tokens) {
  model::Shape shape;
  shape.vocab = 8192;
  shape.width = width;
  shape.layers = 4;
  shape.heads = shape.kv_heads = width / 64;
  shape.head_dim = shape.rope.dim = 64;
  shape.inner = 3 * width;
  shape.context = 2048;
  shape.tied = true;
  model::apply_family(model::find_family("llama"), shape);
  model::CausalLm model(shape);
  std::uint64_t place = 0;
  for (float& value : model.parameters().values())
    value = static_cast<float>((2 * RngKey{1, 0}.uniform(place++) - 1) * std::sqrt(3.0 / static_cast<double>(width)));
  model.parameters_changed();
  policy::CausalLmPolicy<> policy(std::move(model), nullptr);
  policy.sampler.max_new_tokens = tokens;
  return policy;
}
std::vector<Prompt> one_prompt() { return {Prompt{.id = 1, .text = {}, .tokens = {5, 6, 7, 8, 9, 10}}}; }

void sampling(benchmark::State& state, Index width, Index sequences, Index tokens) {
  auto policy = random_policy(width, tokens);
  std::uint64_t seed = 0;
  const auto draw = [&] { return policy.sample(one_prompt(), sequences, RngKey{++seed, 0}); };
  draw();  // memory is taken at the first call
  for (auto _ : state) benchmark::DoNotOptimize(draw().token.data());
  state.SetItemsProcessed(state.iterations() * sequences * tokens);
}
void sampling_by_batch(benchmark::State& state) { sampling(state, 512, state.range(0), 24); }

/// Forward and backward of 16 responses.
void training(benchmark::State& state, Index width, Index tokens) {
  auto policy = random_policy(width, tokens);
  const auto batch = policy.sample(one_prompt(), 16, RngKey{1, 0});
  const Array slope = Array::Constant(batch.tokens(), 1.0 / static_cast<double>(batch.tokens()));
  const auto learn = [&] {
    policy.zero_gradients();
    policy.backward(batch, slope);
  };
  learn();  // memory is taken at the first call
  for (auto _ : state) learn();
  state.SetItemsProcessed(state.iterations() * batch.tokens());
}
void training_by_tokens(benchmark::State& state) { training(state, 256, state.range(0)); }
void training_by_width(benchmark::State& state) { training(state, state.range(0), 32); }

/// log pi_bon of 4096 responses.
void log_prob_by_n(benchmark::State& state) {
  const double n = static_cast<double>(state.range(0));
  const std::size_t count = 4096;
  std::vector<double> log_ref(count), log_cdf(count), log_tie(count), out(count);
  for (std::size_t i = 0; i < count; ++i) {
    log_ref[i] = log_tie[i] = -12 * (1 - RngKey{1, 1}.uniform(i));
    log_cdf[i] = log1mexp(log_tie[i]) + std::log(1 - RngKey{1, 2}.uniform(i));
  }
  for (auto _ : state) {
    bon::log_prob(log_ref, log_cdf, log_tie, n, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(count));
}
/// F of 4096 rewards in a cache of M, which is sorted first.
void cdf_by_m(benchmark::State& state) {
  std::vector<double> cache, rewards;
  for (std::int64_t i = 0; i < state.range(0); ++i) cache.push_back(RngKey{1, 3}.normal(static_cast<std::uint64_t>(i)));
  for (std::uint64_t i = 0; i < 4096; ++i) rewards.push_back(RngKey{1, 4}.normal(i));
  for (auto _ : state) {
    const bon::EmpiricalCdf cdf(cache);
    for (const double reward : rewards) benchmark::DoNotOptimize(cdf.count(reward));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(rewards.size()));
}
}  // namespace

BENCHMARK(sampling_by_batch)->RangeMultiplier(2)->Range(1, 256)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(training_by_tokens)->RangeMultiplier(2)->Range(8, 512)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(training_by_width)->RangeMultiplier(2)->Range(64, 1024)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(log_prob_by_n)->RangeMultiplier(4)->Range(2, 1 << 20)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(cdf_by_m)->RangeMultiplier(4)->Range(4, 1 << 18)->UseRealTime()->Unit(benchmark::kMillisecond);
