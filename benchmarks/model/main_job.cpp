// The phases of the main job on SmolLM2-135M and MiniLM, and the gradient of a batch without any model.
// The models are those of examples/setup/fetch_data.sh; VBON_BENCHMARK_MODEL and VBON_BENCHMARK_ENCODER name others, and
// where VBON_BENCHMARK_BF16 is set their linear maps and the head compute in bfloat16. VBON_BENCHMARK_BATCH names a file of
// responses to compute and to learn, each a line: tokens of the prompt, a bar, tokens of the response. Their loss (the mean
// of -log_prob of a token) and the Euclidean norm of its gradient are written beside it, to FILE.result, so that a peer
// which gets the same file can be held against them.
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <memory>
#include <sstream>

#include "../kernel_support.hpp"
#include "vbon/io/cache_folder.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/optim/clip.hpp"
#include "vbon/optim/sgd.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/policy/lora.hpp"
#include "vbon/reward/sentence_encoder.hpp"

using namespace vbon;

namespace {
constexpr Index new_tokens = 24;

std::filesystem::path from_cache(const char* variable, const char* name) {
  if (const char* given = std::getenv(variable)) return given;
  return io::cache_folder() / name;
}

kernel::Precision precision() {
  return std::getenv("VBON_BENCHMARK_BF16") != nullptr ? kernel::Precision::bfloat16 : kernel::Precision::float32;
}

using Policy = policy::CausalLmPolicy<Cpu>;
/// One policy for all phases; nullptr, with the benchmark marked as skipped, where the model is not there.
Policy* shared_policy(benchmark::State& state) {
  static std::unique_ptr<Policy> policy;
  const auto path = from_cache("VBON_BENCHMARK_MODEL", "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!policy && std::filesystem::exists(path)) {
    policy = std::make_unique<Policy>(policy::load<Cpu>(path, precision()));
    policy->sampler.eos = {};  // exactly new_tokens each
    policy->sampler.max_new_tokens = new_tokens;
  }
  if (!policy) state.SkipWithError((path.string() + " is not there; run examples/setup/fetch_data.sh").c_str());
  return policy.get();
}
std::vector<Prompt> prompts(Index count) {
  const char* starts[] = {"The film is a slow and", "A wonderful cast, but the story", "It never quite knows what",
                          "Few comedies are this"};
  std::vector<Prompt> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = Prompt{i, starts[i % 4], {}};
  return out;
}
void set_tokens(benchmark::State& state, Index tokens) {
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(tokens) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void sample(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const Index sequences = state.range(0), group = std::min<Index>(sequences, 32);
  const auto some = prompts(sequences / group);
  std::uint64_t seed = 0;
  policy->sample(some, group, RngKey{seed, 0});  // weights are packed and memory is taken at the first call
  for (auto _ : state) benchmark::DoNotOptimize(policy->sample(some, group, RngKey{++seed, 0}).token.data());
  set_tokens(state, sequences * new_tokens);
}
/// Prompts and responses of VBON_BENCHMARK_BATCH; lines of one prompt that follow each other are its responses.
RolloutBatch read_batch(const char* path) {
  RolloutBatch batch;
  std::vector<TokenId> last;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::vector<TokenId> prompt, response;
    std::istringstream words(line);
    bool barred = false;
    for (std::string word; words >> word;) {
      if (word == "|") {
        barred = true;
        continue;
      }
      TokenId id = 0;
      const auto read = std::from_chars(word.data(), word.data() + word.size(), id);
      require<FormatError>(read.ec == std::errc{} && read.ptr == word.data() + word.size(),
                           "VBON_BENCHMARK_BATCH: numbers of tokens expected, got '", word, "' in ", path);
      (barred ? response : prompt).push_back(id);
    }
    require<FormatError>(!prompt.empty() && !response.empty(), "VBON_BENCHMARK_BATCH: 'tokens | tokens' expected, got '",
                         line, "' in ", path);
    if (batch.prompts() == 0 || prompt != last)
      batch.add_prompt({.id = static_cast<std::uint64_t>(batch.prompts()), .text = {}, .tokens = prompt});
    batch.add_response(response, false);
    last = std::move(prompt);
  }
  require<FormatError>(batch.responses() > 0, "VBON_BENCHMARK_BATCH: responses expected in ", path);
  return batch;
}
const char* given_batch() { return std::getenv("VBON_BENCHMARK_BATCH"); }
/// @param gradient_norm  where a gradient was made
void write_result(double loss, double gradient_norm = NAN) {
  if (given_batch() == nullptr) return;
  std::ofstream(std::string(given_batch()) + ".result") << std::setprecision(17) << loss << ' ' << gradient_norm << '\n';
}
/// 16 prompts with four responses each, as a step of the main job has them.
RolloutBatch step_batch(Policy& policy) {
  return given_batch() != nullptr ? read_batch(given_batch()) : policy.sample(prompts(16), 4, RngKey{1, 0});
}
/// From the likeliest tokens alone.
void sample_top_p(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const auto all = policy->sampler;
  policy->sampler.top_k = 50;
  policy->sampler.top_p = 0.95;
  sample(state);
  policy->sampler = all;
}
void log_prob(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const auto batch = step_batch(*policy);
  write_result(-policy->log_prob(batch).mean());
  for (auto _ : state) benchmark::DoNotOptimize(policy->log_prob(batch).data());
  set_tokens(state, batch.tokens());
}
/// Forward and backward of the mean loss of a token.
struct Gradient {
  Policy& policy;
  RolloutBatch batch;
  Array slope = Array::Constant(batch.tokens(), -1.0 / static_cast<double>(batch.tokens()));
  void operator()() const {
    policy.zero_gradients();
    policy.backward(batch, slope);
  }
  /// The first call, in which memory is taken; what came of it is written for a peer.
  void begin() const {
    (*this)();
    const double norm = optim::global_norm(policy.gradients());
    write_result(-policy.log_prob(batch).mean(), norm);
  }
};
void forward_backward(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const Gradient gradient{*policy, step_batch(*policy)};
  gradient.begin();
  for (auto _ : state) gradient();
  set_tokens(state, gradient.batch.tokens());
}
/// Forward, backward and AdamW.
void train_on(benchmark::State& state, Policy& policy, const RolloutBatch& batch) {
  const Gradient gradient{policy, batch};
  optim::AdamW optimizer{.rate = 0};  // the weights stay as they are, so that other phases measure the same model
  gradient.begin();
  const auto step = [&] {
    gradient();
    optimizer.step(policy.parameters(), policy.gradients());
    policy.parameters_changed();
  };
  step();  // the moments come into being, and in the next step packed copies of weights that have changed
  step();
  for (auto _ : state) step();
  set_tokens(state, batch.tokens());
}
void train(benchmark::State& state) {
  if (Policy* policy = shared_policy(state)) train_on(state, *policy, step_batch(*policy));
}
/// The gradient of responses that were sampled for it: their activations are kept, or most of them made again from a fifth,
/// so there is no forward pass. Sampling them is not timed.
void backward_of_samples(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  policy->model().memory.recompute = state.range(0) != 0;
  RolloutBatch batch;
  Array slope;
  std::uint64_t seed = 0;
  const auto draw = [&] {
    batch = policy->sample_for_backward(prompts(16), 4, RngKey{++seed, 0});
    slope = Array::Constant(batch.tokens(), 1.0 / static_cast<double>(batch.tokens()));
    policy->zero_gradients();
  };
  draw();
  policy->backward(batch, slope);  // memory is taken at the first call
  for (auto _ : state) {
    state.PauseTiming();
    draw();
    state.ResumeTiming();
    policy->backward(batch, slope);
  }
  policy->model().memory.recompute = false;
  set_tokens(state, batch.tokens());
}
/// A step of the main job but for its reward: samples 64 responses, takes the reference's log-probs of them and learns.
void whole_step(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  auto reference = policy->reference();
  optim::AdamW optimizer{.rate = 0};
  std::uint64_t seed = 0;
  const auto step = [&] {
    const RolloutBatch batch = policy->sample_for_backward(prompts(16), 4, RngKey{++seed, 0});
    const Array slope = (batch.old_log_prob - reference.log_prob(batch)) / static_cast<double>(batch.tokens());
    policy->zero_gradients();
    policy->backward(batch, slope);
    optim::clip_global_norm(policy->gradients(), 1.0);
    optimizer.step(policy->parameters(), policy->gradients());
    policy->parameters_changed();
    return batch.tokens();
  };
  const Index tokens = step();
  for (auto _ : state) step();
  set_tokens(state, tokens);
}
/// Exact KL of every next-token law, with the reference's log-probs.
void kl(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  auto reference = policy->reference();
  const auto batch = step_batch(*policy);
  Array log_prob;
  policy->kl(batch, reference, &log_prob);
  for (auto _ : state) benchmark::DoNotOptimize(policy->kl(batch, reference, &log_prob).data());
  set_tokens(state, batch.tokens());
}
/// Forward and backward where activations are computed again instead of kept.
void recompute(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const Gradient gradient{*policy, step_batch(*policy)};
  policy->model().memory.recompute = true;
  gradient();
  for (auto _ : state) gradient();
  policy->model().memory.recompute = false;
  set_tokens(state, gradient.batch.tokens());
}
/// Forward, backward and AdamW of an adapter beside all linear maps.
void train_adapter(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  Policy adapted = policy->clone();
  policy::add_adapter(adapted.model(), {}, {.rank = state.range(0)}, RngKey{1, 5});
  train_on(state, adapted, step_batch(adapted));
}
/// Whole sequences, as language models are pre-trained: every token but the first is learnt.
void train_sequences(benchmark::State& state) {
  Policy* policy = shared_policy(state);
  if (policy == nullptr) return;
  const Index sequences = state.range(0), length = state.range(1);
  const RngKey key{1, 3};
  const auto token = [&](Index at) {
    return static_cast<TokenId>(key.uniform(static_cast<std::uint64_t>(at)) * static_cast<double>(policy->shape().vocab));
  };
  if (given_batch() != nullptr) return train_on(state, *policy, read_batch(given_batch()));
  RolloutBatch batch;
  for (Index s = 0; s < sequences; ++s) {
    std::vector<TokenId> tokens;
    for (Index t = 0; t < length; ++t) tokens.push_back(token(s * length + t));
    batch.add_prompt({.id = static_cast<std::uint64_t>(s), .text = {}, .tokens = {tokens.front()}});
    batch.add_response(std::span(tokens).subspan(1), false);
  }
  train_on(state, *policy, batch);
}
/// The optimiser alone: four arrays pass through memory, three of them both ways.
void adamw(benchmark::State& state) {
  const Index count = state.range(0);
  Tensor<float> parameters(count), gradients(count);
  for (Index i = 0; i < count; ++i) gradients[i] = static_cast<float>(i % 7 - 3) * 1e-3f;
  optim::AdamW optimizer{.rate = 1e-5};
  optimizer.step(parameters, gradients);  // the moments come into being
  for (auto _ : state) optimizer.step(parameters, gradients);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * count * 7 * 4);
}
void sgd(benchmark::State& state) {
  const Index count = state.range(0);
  Tensor<float> parameters(count), gradients(count);
  optim::Sgd optimizer{.rate = 1e-5};
  for (auto _ : state) optimizer.step(parameters, gradients);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * count * 3 * 4);
}
void gradient_norm(benchmark::State& state) {
  Tensor<float> gradients(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(optim::global_norm(gradients));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0) * 4);
}
void score(benchmark::State& state) {
  const auto path = from_cache("VBON_BENCHMARK_ENCODER", "minilm");
  if (!std::filesystem::exists(path))
    return state.SkipWithError((path.string() + " is not there; run examples/setup/fetch_data.sh").c_str());
  static const auto encoder = reward::SentenceEncoder::load(path, precision());
  std::vector<std::string> texts(512,
                                 "A slow and thoughtful film about a family that never quite says what it means, with a "
                                 "cast that carries every scene.");
  for (std::size_t i = 0; i < texts.size(); ++i) texts[i] += " Take " + std::to_string(i) + ".";
  encoder.embed(texts);
  for (auto _ : state) benchmark::DoNotOptimize(encoder.embed(texts).data());
  state.counters["texts/s"] = benchmark::Counter(static_cast<double>(texts.size()) * static_cast<double>(state.iterations()),
                                                 benchmark::Counter::kIsRate);
}

/// d loss / d log_prob of vBoN from the arrays of a batch: what the mathematics costs beside the network.
void objective_gradient(benchmark::State& state) {
  const Index groups = state.range(0), samples = 4;
  const RngKey key{1, 2};
  RolloutBatch batch;
  const std::vector<TokenId> tokens(static_cast<std::size_t>(new_tokens));
  for (Index p = 0; p < groups; ++p) {
    batch.add_prompt({});
    for (Index m = 0; m < samples; ++m) batch.add_response(tokens, false);
  }
  batch.weight = uniform_weight(batch);
  batch.log_cdf.resize(batch.responses());
  for (Index i = 0; i < batch.responses(); ++i)
    batch.log_cdf[i] = std::log(0.01 + 0.98 * key.uniform(static_cast<std::uint64_t>(i)));
  batch.log_cdf_le = batch.log_cdf;
  batch.log_tie = Array::Constant(batch.responses(), NAN);
  batch.ref_log_prob = Array::Constant(batch.tokens(), -3.0);
  batch.log_prob = Array::Constant(batch.tokens(), -2.9);
  const objective::Vbon<> rule{.n = 4};
  for (auto _ : state) benchmark::DoNotOptimize(rule(batch).dlog_prob.data());
  state.SetItemsProcessed(state.iterations() * batch.responses());
}
}  // namespace

BENCHMARK(sample)->ArgName("sequences")->Arg(1)->Arg(32)->Arg(128)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sample_top_p)->ArgName("sequences")->Arg(128)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(log_prob)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(forward_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(train)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(whole_step)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(backward_of_samples)->ArgName("recompute")->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(kl)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(recompute)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(train_adapter)->ArgName("rank")->Arg(16)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(train_sequences)->ArgNames({"sequences", "length"})->Args({4, 64})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(adamw)->ArgName("parameters")->Arg(134'515'008)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sgd)->ArgName("parameters")->Arg(134'515'008)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(gradient_norm)->ArgName("parameters")->Arg(134'515'008)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(score)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(objective_gradient)->ArgName("prompts")->Arg(16)->Arg(1024)->Unit(benchmark::kMicrosecond);
