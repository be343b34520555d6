#include "vbon/model/config.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"

namespace vbon::test {
namespace {

model::Json llama_config() { return model::find_family("llama").config(tiny_shape("llama")); }
model::Shape read(const model::Json& config) { return model::read_shape(model::ConfigReader(config, "config.json")); }

/// The message of the error that reading this config gives.
std::string refusal(const model::Json& config) {
  try {
    read(config);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}
model::Json with(model::Json config, const std::string& key, const model::Json& value) {
  config[key] = value;
  return config;
}
std::vector<float> values(const model::CausalLm& model) {
  return {model.parameters().data(), model.parameters().data() + model.parameters().size()};
}
}  // namespace

TEST_CASE("every family reads the config it writes", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  const model::Shape s = tiny_shape(kind);
  const model::Json written = model::find_family(s.family).config(s);
  const model::Shape again = read(written);
  CHECK(model::find_family(again.family).config(again) == written);
  CHECK((again.qkv_bias == s.qkv_bias && again.attention_out_bias == s.attention_out_bias && again.mlp_bias == s.mlp_bias));
  CHECK((again.qk_norm == s.qk_norm && again.residual == s.residual && again.rope.dim == s.rope.dim));
  CHECK((again.kv_heads == s.kv_heads && again.head_dim == s.head_dim && again.tied == s.tied));
}

TEST_CASE("older and current spellings of rotary settings mean the same", "[model]") {
  model::Json old = llama_config();
  old["rope_theta"] = 5e5;
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  model::Json current = llama_config();
  current.erase("rope_theta");
  current.erase("rope_scaling");
  current["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "linear"}, {"factor", 4.0}};
  for (const model::Json& config : {old, current}) {
    const auto s = read(config);
    CHECK(s.rope.theta == 5e5);
    CHECK(s.rope.scaling == model::RopeScaling::linear);
    CHECK(s.rope.factor == 4);
  }
  model::Json neox = model::find_family("gpt_neox").config(tiny_shape("neox"));
  neox["rotary_pct"] = 0.67;
  CHECK(read(neox).rope.dim == 4);  // 0.67 of 6, rounded down
}

TEST_CASE("a wrong config is refused by the name of the entry", "[model][error]") {
  const auto names = [](const std::string& text, std::initializer_list<const char*> parts) {
    CAPTURE(text);
    for (const char* part : parts) CHECK(text.find(part) != text.npos);
  };
  const model::Json good = llama_config();
  REQUIRE(refusal(good).empty());
  names(refusal(with(good, "model_type", "perceptron")),
        {"config.json", "perceptron", "llama", "gpt2", "gpt_neox", "qwen2"});
  names(refusal(with(good, "model_type", nullptr)), {"model_type is missing", "known: llama"});
  names(refusal(with(good, "hidden_size", nullptr)), {"hidden_size", "missing"});
  names(refusal(with(good, "hidden_size", "24")), {"hidden_size", "whole number", "\"24\""});
  names(refusal(with(good, "hidden_size", 24.5)), {"hidden_size", "24.5"});
  names(refusal(with(good, "num_attention_heads", 0)), {"num_attention_heads", "0"});
  names(refusal(with(good, "num_key_value_heads", 3)), {"3", "divide", "4"});
  names(refusal(with(good, "num_hidden_layers", -1)), {"layers", "-1"});
  names(refusal(with(good, "vocab_size", 0)), {"vocabulary", "0"});
  names(refusal(with(good, "hidden_act", "swoosh")), {"hidden_act", "swoosh", "silu"});
  names(refusal(with(good, "rms_norm_eps", 0)), {"epsilon", "0"});
  names(refusal(with(good, "rope_theta", 0)), {"theta"});
  names(refusal(with(good, "rope_scaling", {{"rope_type", "spiral"}, {"factor", 2}})), {"spiral", "llama3"});
  names(refusal(with(good, "rope_scaling", {{"rope_type", "linear"}})), {"factor", "missing"});
  names(refusal(with(good, "tie_word_embeddings", 1)), {"tie_word_embeddings", "true or false"});
  names(refusal(with(good, "eos_token_id", 37)), {"end token", "37"});
  names(refusal(model::Json::array()), {"object"});
  names(refusal(with(good, "partial_rotary_factor", 0.5)), {"partial_rotary_factor", "0.5", "gpt_neox"});
  names(refusal(with(model::find_family("gemma").config(tiny_shape("gemma")), "hidden_act", "silu")),
        {"hidden_act", "silu", "gelu_pytorch_tanh"});
  names(refusal(with(model::find_family("gpt2").config(tiny_shape("gpt2")), "n_head", 5)), {"n_head", "5", "24"});
}

TEST_CASE("a saved model loads with the same bits, whole, sharded and in half precision", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  const TemporaryFolder folder;
  const auto model = tiny_model(kind);
  model::save_causal_lm(model, folder.path());
  CHECK(values(model::load_causal_lm(folder.path())) == values(model));
  model::save_causal_lm(model, folder / "sharded", {.shard_bytes = 3000});
  CHECK(std::filesystem::exists(folder / "sharded" / "model.safetensors.index.json"));
  CHECK(values(model::load_causal_lm(folder / "sharded")) == values(model));
  model::save_causal_lm(model, folder / "bf16", {.dtype = io::Dtype::bf16});
  const auto half = model::load_causal_lm(folder / "bf16");
  model::save_causal_lm(half, folder / "again", {.dtype = io::Dtype::bf16});
  CHECK(values(model::load_causal_lm(folder / "again")) == values(half));
}

TEST_CASE("weights that contradict the config are named", "[model][error]") {
  const TemporaryFolder folder;
  model::save_causal_lm(tiny_model("llama"), folder.path());
  const model::Json good = io::read_json(folder / "config.json");
  const auto refused = [&](const std::string& key, const model::Json& value, std::initializer_list<const char*> parts) {
    io::write_file_atomically(folder / "config.json", with(good, key, value).dump());
    std::string text;
    try {
      model::load_causal_lm(folder.path());
    } catch (const FormatError& error) {
      text = error.what();
    }
    CAPTURE(key, text);
    for (const char* part : parts) CHECK(text.find(part) != text.npos);
  };
  refused("vocab_size", 38, {"model.embed_tokens.weight", "[37, 24]", "[38, 24]"});
  refused("intermediate_size", 41, {"mlp.gate_proj", "[40, 24]", "[41, 24]"});
  refused("num_hidden_layers", 3, {"model.layers.2.input_layernorm.weight"});
  refused("num_hidden_layers", 1, {"model.layers.1.input_layernorm.weight", "1 layers"});
  refused("num_hidden_layers", 1000000000, {"1000000000 layers"});
  refused("attention_bias", true, {"q_proj.bias"});
  model::save_causal_lm(tiny_model("llama_biased"), folder.path());
  const model::Json biased = io::read_json(folder / "config.json");
  io::write_file_atomically(folder / "config.json", with(biased, "attention_bias", false).dump());
  CHECK_THROWS_AS(model::load_causal_lm(folder.path()), FormatError);
  io::write_file_atomically(folder / "config.json", with(biased, "tie_word_embeddings", false).dump());
  CHECK_THROWS_WITH(model::load_causal_lm(folder.path()),
                    Catch::Contains("lm_head.weight") && Catch::Contains("tie_word_embeddings"));
  CHECK_THROWS_AS(model::load_causal_lm(folder / "nowhere"), RunError);

  model::save_causal_lm(tiny_model("neox"), folder / "neox");
  const model::Json neox = io::read_json(folder / "neox/config.json");
  io::write_file_atomically(folder / "neox/config.json", with(neox, "attention_bias", false).dump());
  CHECK_THROWS_WITH(model::load_causal_lm(folder / "neox"),
                    Catch::Contains("query_key_value.bias") && Catch::Contains("contradicts the config"));
}

TEST_CASE("a head beside a config that ties it is taken where it is the embedding, and else refused", "[model][error]") {
  const TemporaryFolder folder;
  model::Shape shape = tiny_shape("llama");
  shape.tied = false;
  auto model = tiny_model(shape);
  const auto tie_and_save = [&] {
    model::save_causal_lm(model, folder.path());
    const model::Json config = io::read_json(folder / "config.json");
    io::write_file_atomically(folder / "config.json", with(config, "tie_word_embeddings", true).dump());
  };
  tie_and_save();
  CHECK_THROWS_WITH(model::load_causal_lm(folder.path()), Catch::Contains("lm_head.weight") &&
                                                              Catch::Contains("model.embed_tokens.weight") &&
                                                              Catch::Contains("set tie_word_embeddings to false"));
  auto& parameters = model.parameters();
  const View<float> table = parameters.value(0), head = parameters.value(static_cast<Index>(parameters.list().size()) - 1);
  REQUIRE(head.size() == table.size());
  std::copy(table.begin(), table.end(), head.begin());
  tie_and_save();
  CHECK(model::load_causal_lm(folder.path()).shape().tied);
}

TEST_CASE("weights of whole numbers are refused", "[model][error]") {
  const TemporaryFolder folder;
  auto model = tiny_model("llama");
  model::save_causal_lm(model, folder.path());
  const auto& list = model.parameters().list();
  std::vector<io::TensorToWrite> tensors;
  std::vector<std::int64_t> whole(static_cast<std::size_t>(list.back().size()));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& p = list[i];
    tensors.push_back({.name = p.name, .shape = p.shape});
    tensors.back().values = {model.parameters().data() + p.offset, static_cast<std::size_t>(p.size())};
  }
  tensors.back().dtype = io::Dtype::i64;
  tensors.back().values = {};
  tensors.back().bytes = std::as_bytes(std::span(whole));
  io::write_safetensors(folder / "model.safetensors", tensors);
  CHECK_THROWS_WITH(model::load_causal_lm(folder.path()),
                    Catch::Contains(list.back().name) && Catch::Contains("is I64") && Catch::Contains("dequantise"));
}

TEST_CASE("arranging and arranging back changes nothing and puts rows where networks expect them", "[model]") {
  const auto how =
      GENERATE(model::Arrange::plain, model::Arrange::transposed, model::Arrange::qkv_by_head, model::Arrange::rotary_pairs);
  const model::Arrangement arrangement{how, 3, 4};
  const Index rows = how == model::Arrange::qkv_by_head ? 36 : 12, cols = 5;
  Tensor<float> stored(rows, cols), matrix(rows, cols), back(rows, cols);
  for (Index i = 0; i < stored.size(); ++i) stored[i] = static_cast<float>(i);
  model::arrange(arrangement, stored, matrix);
  model::arrange_back(arrangement, matrix, back);
  CHECK(std::equal(stored.data(), stored.data() + stored.size(), back.data()));
  if (how == model::Arrange::transposed) CHECK(matrix(2, 1) == stored[1 * rows + 2]);
  if (how == model::Arrange::qkv_by_head)
    CHECK(matrix(12 + 4 + 1, 0) == stored((1 * 3 + 1) * 4 + 1, 0));  // k, head 1, entry 1
  if (how == model::Arrange::rotary_pairs)
    CHECK(matrix(4 + 2 + 1, 0) == stored(4 + 1 * 2 + 1, 0));  // head 1, half 1, entry 1
}
}  // namespace vbon::test
