// Models as GGUF files, and checkpoints that come and go without a bit changed.
#include "vbon/model/save_gguf.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/mapped_file.hpp"
#include "vbon/model/load.hpp"

namespace vbon::test {
namespace {
using Catch::Matchers::Contains;

std::string bytes_of(const std::filesystem::path& file) { return std::string(io::MappedFile(file).text()); }

Tensor<float> logits_of(model::CausalLm& model) {
  model::Forest forest;
  forest.add(random_tokens(9, model.shape().vocab, 5));
  const View<const float> hidden = model.forward(forest);
  Tensor<float> logits(hidden.rows(), model.shape().vocab);
  model.head(hidden, logits);
  return logits;
}
float largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  return (a.view().array() - b.view().array()).abs().maxCoeff();
}

model::CausalLm gguf_model(const std::string& kind) {
  model::Shape shape = tiny_shape(kind);
  shape.scale_by_layer = false;
  if (kind == "llama_gelu") shape.activation = model::Activation::silu;
  return tiny_model(shape);
}
}  // namespace

TEST_CASE("folders come and go bit for bit in F32 and BF16", "[model][save]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto dtype = GENERATE(io::Dtype::f32, io::Dtype::bf16, io::Dtype::f16);
  const std::uint64_t shard_bytes = GENERATE(std::uint64_t{4'000}, std::uint64_t{5'000'000'000});
  CAPTURE(kind, dtype, shard_bytes);
  const TemporaryFolder folder;
  const model::SaveOptions options{.dtype = dtype, .shard_bytes = shard_bytes};
  model::save_causal_lm(tiny_model(kind), folder / "a", options);
  model::save_causal_lm(model::load_causal_lm(folder / "a"), folder / "b", options);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "a")) {
    CAPTURE(entry.path().filename().string());
    CHECK(bytes_of(entry.path()) == bytes_of(folder / "b" / entry.path().filename()));
    ++files;
  }
  CHECK(files >= (shard_bytes < 10'000 ? 5 : 3));
}

TEST_CASE("every family comes back from a GGUF file with equal logits", "[model][save][gguf]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  const TemporaryFolder folder;
  auto original = gguf_model(kind);
  model::save_gguf(original, folder / "a.gguf", BlockType::f32);
  auto again = model::load_causal_lm(folder / "a.gguf");
  CHECK(largest_difference(logits_of(original), logits_of(again)) < 1e-5f);  // theta and epsilon are F32 in the file
  model::save_gguf(again, folder / "b.gguf", BlockType::f32);
  CHECK(bytes_of(folder / "a.gguf") == bytes_of(folder / "b.gguf"));
  auto third = model::load_causal_lm(folder / "b.gguf");
  CHECK(largest_difference(logits_of(again), logits_of(third)) == 0);
}

TEST_CASE("Q8_0 weights come back within half a step, rows that fill no block as F16", "[model][save][gguf]") {
  const TemporaryFolder folder;
  model::Shape shape = tiny_shape("llama");
  shape.width = 64;
  auto original = tiny_model(shape);
  model::save_gguf(original, folder / "m.gguf", BlockType::q8_0);
  const auto file = io::GgufFile::open(folder / "m.gguf");
  CHECK(file.tensor("blk.0.attn_q.weight").type == BlockType::q8_0);
  CHECK(file.tensor("blk.0.attn_norm.weight").type == BlockType::f32);
  CHECK(file.tensor("blk.0.ffn_down.weight").type == BlockType::f16);  // rows of 40
  const auto again = model::load_causal_lm(folder / "m.gguf");
  const auto& parameters = original.parameters();
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const auto& p = parameters.list()[i];
    const View<const float> want = parameters.value(static_cast<Index>(i)),
                            got = again.parameters().value(static_cast<Index>(i));
    CAPTURE(p.name);
    const Index block = p.cols % 32 == 0 ? 32 : 1;
    for (Index begin = 0; begin < p.size(); begin += block) {
      float largest = 0, error = 0;
      for (Index k = begin; k < begin + block; ++k) {
        largest = std::max(largest, std::abs(want[k]));
        error = std::max(error, std::abs(want[k] - got[k]));
      }
      // Half a step of 1/127, and the rounding of the step to 11 bits; an F16 value is off by 2^-11.
      CHECK(error <= largest * (block == 32 ? 0.5f / 127 + 0x1p-11f : 0x1p-11f) * 1.001f);
    }
  }
}

TEST_CASE("an adapter is merged on its way into a GGUF file", "[model][save][gguf][lora]") {
  const TemporaryFolder folder;
  for (const char* kind : {"llama", "neox"}) {
    auto adapted = gguf_model(kind);
    auto modules = model::lora_modules(adapted.parameters(), adapted.network());
    model::LoraAdapter adapter(std::move(modules), {.rank = 2, .alpha = 4});
    adapter.initialize(RngKey{3, 1});
    for (std::size_t i = 0; i < adapter.modules().size(); ++i)
      adapter.parameters().value(model::LoraAdapter::number_of_b(i)).array() = 0.05f;
    adapted.attach(std::move(adapter));
    model::save_gguf(adapted, folder / "m.gguf", BlockType::f32);
    auto merged = model::load_causal_lm(folder / "m.gguf");
    CHECK(largest_difference(logits_of(adapted), logits_of(merged)) < 1e-4f);
  }
}

TEST_CASE("a Llama 3 scaling survives GGUF files and folders", "[model][save][gguf]") {
  const TemporaryFolder folder;
  model::Shape shape = tiny_shape("llama");
  shape.head_dim = shape.rope.dim = 16;
  shape.rope.theta = 500000;
  shape.rope.scaling = model::RopeScaling::llama3;
  shape.rope.factor = 32;
  shape.rope.original_context = 8192;
  auto original = tiny_model(shape);
  model::save_gguf(original, folder / "m.gguf", BlockType::f32);
  auto from_gguf = model::load_causal_lm(folder / "m.gguf");
  CHECK(from_gguf.shape().rope.divisor == model::llama3_divisor(shape.rope));
  CHECK(from_gguf.config()["rope_scaling"]["factor"] == 32);
  model::save_causal_lm(from_gguf, folder / "hf");
  auto from_folder = model::load_causal_lm(folder / "hf");
  CHECK(from_folder.shape().rope.scaling == model::RopeScaling::llama3);
  CHECK(largest_difference(logits_of(original), logits_of(from_folder)) < 1e-5f);

  shape.rope.original_context = 100;  // no released model has it, so no settings are guessed
  model::save_gguf(tiny_model(shape), folder / "other.gguf", BlockType::f32);
  CHECK_THROWS_WITH(model::save_causal_lm(model::load_causal_lm(folder / "other.gguf"), folder / "hf"),
                    Contains("rope_freqs.weight") && Contains("save it as a GGUF file"));
}

TEST_CASE("a tied head is written where the architecture's readers ask for one", "[model][save][gguf]") {
  const TemporaryFolder folder;
  for (const char* kind : {"neox", "llama"}) {
    model::Shape shape = tiny_shape(kind);
    shape.tied = true;
    auto original = tiny_model(shape);
    model::save_gguf(original, folder / "m.gguf", BlockType::f32);
    const auto file = io::GgufFile::open(folder / "m.gguf");
    CHECK(file.contains("output.weight") == (kind == std::string("neox")));
    auto again = model::load_causal_lm(folder / "m.gguf");
    CHECK(largest_difference(logits_of(original), logits_of(again)) < 1e-5f);
  }
}

TEST_CASE("a GGUF file without the epsilon of its norms is refused by the key", "[model][gguf][error]") {
  const TemporaryFolder folder;
  model::save_gguf(tiny_model("llama"), folder / "m.gguf", BlockType::f32);
  std::string bytes = bytes_of(folder / "m.gguf");
  const std::string key = "llama.attention.layer_norm_rms_epsilon";
  const auto at = bytes.find(key);
  REQUIRE(at != bytes.npos);
  bytes[at + key.size() - 1] = 'x';
  io::write_file_atomically(folder / "without.gguf", bytes);
  CHECK_THROWS_WITH(model::load_causal_lm(folder / "without.gguf"), Contains("without.gguf") && Contains(key));
}

TEST_CASE("what a config.json of a family cannot say is refused by name", "[model][save][error]") {
  const TemporaryFolder folder;
  model::Shape shape = tiny_shape("llama");
  shape.rope.dim = shape.head_dim - 2;
  CHECK_THROWS_WITH(model::save_causal_lm(tiny_model(shape), folder / "hf"),
                    Contains("rotates " + std::to_string(shape.rope.dim) + " of " + std::to_string(shape.head_dim)) &&
                        Contains("save it as a GGUF file"));
  CHECK_FALSE(std::filesystem::exists(folder / "hf"));
  model::save_causal_lm(tiny_model("neox"), folder / "hf");  // whose config.json has an entry for it
}

TEST_CASE("what GGUF files of a family cannot say is refused by name", "[model][save][gguf][error]") {
  const TemporaryFolder folder;
  const auto refuses = [&](model::Shape shape, const std::string& what) {
    CHECK_THROWS_WITH(model::save_gguf(model::CausalLm(std::move(shape)), folder / "m.gguf", BlockType::f32),
                      Contains(what) && Contains("save the model as a folder"));
  };
  refuses(tiny_shape("llama_gelu"), "architecture llama cannot say that the activation is gelu_new (theirs is silu)");
  refuses(tiny_shape("gpt2"), "architecture gpt2 cannot say that attention scores are scaled by the layer");
  model::Shape shape = tiny_shape("neox");
  shape.qkv_bias = false;
  refuses(shape, "architecture gptneox cannot say that linear maps have no bias");
  shape = tiny_shape("qwen3");
  shape.qkv_bias = shape.attention_out_bias = true;
  refuses(shape, "architecture qwen3 cannot say that attention has biases");
  shape = tiny_shape("qwen2");
  shape.rope.scaling = model::RopeScaling::llama3;
  shape.rope.original_context = 64;
  refuses(shape, "architecture qwen2 cannot say that the rotary scaling is llama3");
  shape = tiny_shape("llama");
  shape.labels = 1;
  refuses(shape, "that the head gives 1 scores");
  CHECK_THROWS_WITH(model::save_gguf(tiny_model("llama"), folder / "m.gguf", BlockType::q4_1),
                    Contains("Q4_1 cannot be written"));
}
}  // namespace vbon::test
