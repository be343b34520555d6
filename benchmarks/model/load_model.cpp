// From a file to a model: mapping a large checkpoint, and filling the parameters from each format. Files are in the page
// cache. The checkpoint is that of examples/setup/fetch_data.sh, written in other types first; VBON_BENCHMARK_MODEL names
// another.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "vbon/io/cache_folder.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/policy/save_gguf.hpp"

using namespace vbon;

namespace {
/// The model in every format, in a folder that goes with the program.
class Files {
 public:
  Files() : folder_(std::filesystem::temp_directory_path() / message("vbon_load_model_", ::getpid())) {
    const char* given = std::getenv("VBON_BENCHMARK_MODEL");
    source =
        given != nullptr ? std::filesystem::path(given) : io::cache_folder() / "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(source)) return;
    const auto policy = policy::load<Cpu>(source);
    f32 = folder_ / "f32", bf16 = folder_ / "bf16", q8_0 = folder_ / "q8_0.gguf";
    policy::save(policy, f32);
    policy::save(policy, bf16, {.dtype = io::Dtype::bf16});
    policy::save_gguf(policy, q8_0, BlockType::q8_0);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::filesystem::path source, f32, bf16, q8_0;

 private:
  std::filesystem::path folder_;
};
/// nullptr, with the benchmark marked as skipped, where the model is not there.
const Files* files(benchmark::State& state) {
  static const Files all;
  if (!all.f32.empty()) return &all;
  state.SkipWithError((all.source.string() + " is not there; run examples/setup/fetch_data.sh").c_str());
  return nullptr;
}

/// The header is read and checked; no tensor is touched.
void map_safetensors(benchmark::State& state) {
  const Files* all = files(state);
  if (all == nullptr) return;
  for (auto _ : state) benchmark::DoNotOptimize(io::ShardedSafetensors::open(all->f32).names().size());
  state.counters["megabytes"] = static_cast<double>(std::filesystem::file_size(all->f32 / "model.safetensors")) / 1e6;
}
BENCHMARK(map_safetensors)->Unit(benchmark::kMillisecond);

void map_gguf(benchmark::State& state) {
  const Files* all = files(state);
  if (all == nullptr) return;
  for (auto _ : state) benchmark::DoNotOptimize(io::GgufFile::open(all->source).tensors().size());
}
BENCHMARK(map_gguf)->Unit(benchmark::kMillisecond);

/// Parameters in fp32, ready to be trained or packed.
void load(benchmark::State& state, std::filesystem::path Files::*path) {
  const Files* all = files(state);
  if (all == nullptr) return;
  for (auto _ : state) benchmark::DoNotOptimize(model::load_causal_lm(all->*path).parameters().size());
}
BENCHMARK_CAPTURE(load, folder_f32, &Files::f32)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, folder_bf16, &Files::bf16)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, gguf_as_fetched, &Files::source)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, gguf_q8_0, &Files::q8_0)->Unit(benchmark::kMillisecond);

/// The same with the tokenizer and the packed copy: until the first token can be sampled.
void load_to_sample(benchmark::State& state) {
  const Files* all = files(state);
  if (all == nullptr) return;
  for (auto _ : state) {
    auto policy = policy::load<Cpu>(all->source);
    policy.sampler.max_new_tokens = 1;
    const Prompt prompt{.id = 1, .text = "The", .tokens = {}};
    benchmark::DoNotOptimize(policy.sample({&prompt, 1}, 1, RngKey{1, 0}).tokens());
  }
}
BENCHMARK(load_to_sample)->Unit(benchmark::kMillisecond);
}  // namespace
