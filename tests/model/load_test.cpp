// What a loaded model reads at once, and what it leaves in the file until something asks for it.
#include "vbon/model/load.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/save.hpp"
#include "vbon/model/save_gguf.hpp"

namespace vbon::test {
namespace {
using model::Parameters;

model::Forest one_response() {
  model::Forest forest;
  forest.add_response(forest.add(random_tokens(5, 37, 1)), random_tokens(6, 37, 2));
  return forest;
}
std::vector<float> trained_gradients(model::CausalLm& model) {
  const auto forest = one_response();
  const std::vector<double> dlog_prob(static_cast<std::size_t>(forest.reads()), 0.5);
  model.trainable().zero_gradients();
  model.backward(forest, {}, dlog_prob);
  const View<float> gradients = model.trainable().gradients();
  return {gradients.begin(), gradients.end()};
}
std::vector<float> all_values(const model::CausalLm& model) {
  const float* from = model.parameters().data();
  return {from, from + model.parameters().size()};
}

/// A tiny model in each file format that holds its kind; the files are gone when it is returned.
std::vector<std::pair<std::string, model::CausalLm>> loaded_from_files(const std::string& kind,
                                                                       const model::CausalLm& original) {
  const TemporaryFolder folder;
  std::vector<std::pair<std::string, model::CausalLm>> all;
  model::save_causal_lm(original, folder / "whole");
  all.emplace_back("folder", model::load_causal_lm(folder / "whole"));
  model::save_causal_lm(original, folder / "sharded", {.shard_bytes = 3000});
  all.emplace_back("shards", model::load_causal_lm(folder / "sharded"));
  model::Shape plain = tiny_shape(kind);
  // Not bit for bit there: Gemma's norms, stored as w + 1, and the divisors of a scaled RoPE.
  const bool exact = !plain.norm_from_one && plain.rope.scaling != model::RopeScaling::llama3;
  if (exact && !plain.scale_by_layer && kind != "llama_gelu") {
    model::save_gguf(original, folder / "model.gguf", BlockType::f32);
    all.emplace_back("gguf", model::load_causal_lm(folder / "model.gguf"));
  }
  return all;
}
}  // namespace

TEST_CASE("a loaded model samples without its plain linear weights and trains with them", "[model][load]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  auto original = tiny_model(kind);
  for (auto& [from, model] : loaded_from_files(kind, original)) {
    CAPTURE(kind, from);
    // GPT-2's folders store its maps transposed, and its head is the embedding: nothing is left for later.
    const bool transposed = model.family().conv1d && from != "gguf";
    CHECK(model.parameters().is_complete() == transposed);
    CHECK(log_probs(model, one_response()) == log_probs(original, one_response()));
    auto pool = model.make_pool();
    std::vector<model::KvSequence<>> cached;
    model::Forest prompt;
    prompt.add(random_tokens(4, 37, 3));
    model.prefill(prompt, pool, cached);
    CHECK(model.parameters().is_complete() == transposed);

    CHECK(trained_gradients(model) == trained_gradients(original));
    CHECK(model.parameters().is_complete());
    CHECK(all_values(model) == all_values(original));
    model.parameters_changed();
    CHECK(log_probs(model, one_response()) == log_probs(original, one_response()));
  }
}

TEST_CASE("clones, models that pack for each use and adapters have the plain weights", "[model][load]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  auto original = tiny_model(kind);
  for (auto& [from, model] : loaded_from_files(kind, original)) {
    CAPTURE(kind, from);
    auto copy = model.clone();
    CHECK(log_probs(copy, one_response()) == log_probs(original, one_response()));
    CHECK(all_values(copy) == all_values(original));
  }
  for (auto& [from, model] : loaded_from_files(kind, original)) {
    CAPTURE(kind, from);
    model.memory.keep_packed = false;
    CHECK(log_probs(model, one_response()) == log_probs(original, one_response()));
  }
  for (auto& [from, model] : loaded_from_files(kind, original)) {
    CAPTURE(kind, from);
    const auto adapted = [](model::CausalLm& on) {
      model::LoraAdapter adapter(model::lora_modules(on.parameters(), on.network()), {.rank = 2, .alpha = 4});
      adapter.initialize({1, 2});
      on.attach(std::move(adapter));
      return trained_gradients(on);
    };
    auto other = tiny_model(kind);
    CHECK(adapted(model) == adapted(other));
  }
}

TEST_CASE("a model keeps the bits of its file and computes as its clone does in floats", "[model][load]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto original = tiny_model(kind);
  const TemporaryFolder folder;
  const auto check = [&](const std::string& name, model::CausalLm loaded) {
    CAPTURE(kind, name);
    // GPT-2's folders store its maps transposed; its head is kept as it is there.
    CHECK(loaded.network().head.packed().format() != nullptr);
    const bool transposed = loaded.family().conv1d && name.ends_with("folder");
    CHECK((loaded.network().block[0].up.packed().format() != nullptr) == !transposed);
    auto floats = loaded.clone();
    CHECK(loaded.parameters().is_complete() == transposed);
    const auto want = log_probs(floats, one_response());
    CHECK(floats.network().head.packed().format() == nullptr);
    CHECK(log_probs(loaded, one_response()) == want);
    CHECK(trained_gradients(loaded) == trained_gradients(floats));
    loaded.parameters_changed();
    CHECK(log_probs(loaded, one_response()) == want);
    CHECK(loaded.network().head.packed().format() == nullptr);
  };
  for (const io::Dtype dtype : {io::Dtype::bf16, io::Dtype::f16}) {
    const std::string name = std::string(io::dtype_format(dtype).name) + " folder";
    model::save_causal_lm(original, folder / name, {.dtype = dtype});
    check(name, model::load_causal_lm(folder / name));
  }
  const model::Shape plain = tiny_shape(kind);
  if (plain.scale_by_layer || kind == "llama_gelu") return;
  for (const BlockType type : {BlockType::bf16, BlockType::f16, BlockType::q8_0, BlockType::q4_0}) {
    const std::string name = std::string(block_format(type).name) + ".gguf";
    model::save_gguf(original, folder / name, type);
    check(name, model::load_causal_lm(folder / name));
  }
}

TEST_CASE("tensors that are left for later are read once, when something asks for them", "[model][load]") {
  Parameters<> parameters;
  parameters.add("a", {2, 3});
  parameters.add("b", {4});
  parameters.add("c", {2, 2});
  std::vector<Index> reads;
  const auto read = [&](Index number, View<float> place) {
    reads.push_back(number);
    for (Index i = 0; i < place.size(); ++i) place[i] = static_cast<float>(10 * number + i);
  };
  parameters.fill(read, {false, true, false});
  CHECK(reads == std::vector<Index>{0, 2});
  CHECK(parameters.at(2)[0] == 2);
  CHECK(parameters.at(11)[0] == 21);
  CHECK_FALSE(parameters.is_complete());
  CHECK(parameters.at(7)[0] == 11);
  CHECK(parameters.is_complete());
  CHECK(reads == std::vector<Index>{0, 2, 1});
  const View<float> all = parameters.values();
  CHECK(std::vector<float>(all.begin(), all.end()) == std::vector<float>{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 21, 22, 23});
  CHECK(reads.size() == 3);
}
}  // namespace vbon::test
