// Adapters of peft, against numbers recorded from transformers and peft (tests/data/peft/record.py). With
// VBON_KEEP_ADAPTERS=FOLDER what is written stays there, for tests/peers/check_adapters.py.
#include "vbon/policy/peft.hpp"

#include <cstdlib>
#include <fstream>
#include <memory>

#include "support/catch.hpp"
#include "support/causal_fixture.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"

namespace vbon::test {
namespace {
const std::filesystem::path recorded = VBON_TEST_DATA "/peft";
const std::vector<std::string> adapters = {"llama_list", "llama_regex", "qwen3_all_linear", "gpt2_conv1d", "neox_fused"};

model::CausalLm base_of(const std::string& adapter) {
  const auto config = io::read_json(recorded / adapter / "adapter_config.json");
  const auto name = config.at("base_model_name_or_path").get<std::string>();
  return model::load_causal_lm(name == "neox" ? recorded / name
                                              : std::filesystem::path(VBON_TEST_DATA "/causal_families") / name);
}
std::vector<float> logits_of(model::CausalLm& model, const std::vector<TokenId>& row) {
  const View<const float> hidden = model.forward(forest_of({row}));
  Tensor<float> logits(hidden.rows(), model.shape().vocab);
  model.head(hidden, logits);
  return flat(logits.view());
}
/// A copy of a recorded adapter to be spoilt.
struct Spoilt {
  TemporaryFolder folder;
  io::Json config = io::read_json(recorded / "llama_list" / "adapter_config.json");

  Spoilt() {
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
      std::filesystem::copy_file(recorded / "llama_list" / name, folder / name);
  }
  void write() const { std::ofstream(folder / "adapter_config.json") << config.dump(); }
  std::string complaint(const std::string& base = "llama_list") const {
    auto model = base_of(base);
    try {
      policy::load_adapter(model, folder.path());
    } catch (const Error& error) {
      CHECK(model.adapter() == nullptr);
      CHECK_FALSE(model.parameters().frozen());
      return message(error.code(), ": ", error.what());
    }
    return "accepted";
  }
};
}  // namespace

TEST_CASE("recorded adapters give peft's logits, log-probs and gradients", "[policy][lora][parity]") {
  for (const auto& name : adapters) {
    CAPTURE(name);
    auto model = base_of(name);
    const Tensors expected(recorded / name / "expected.safetensors");
    const auto ids = expected.integers("input_ids");
    const std::vector<TokenId> row(ids.begin(), ids.end());
    const auto before = logits_of(model, row);
    policy::load_adapter(model, recorded / name);
    CHECK(largest_difference(logits_of(model, row), expected.floats("logits")) < 1e-4);
    CHECK(largest_difference(before, expected.floats("logits")) > 0.1);
    CHECK(logits_of(*std::make_unique<model::CausalLm>(model.base()), row) == before);

    const auto weights = expected.floats("weights");
    std::vector<double> log_prob(row.size() - 1);
    model.backward(forest_of({row}), {}, std::vector<double>(weights.begin(), weights.end()), log_prob);
    CHECK(largest_difference({log_prob.begin(), log_prob.end()}, expected.floats("logprobs")) < 1e-4);
    auto& adapter = *model.adapter();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < adapter.modules().size(); ++i) {
      const auto& module = adapter.modules()[i];
      for (const bool b : {false, true}) {
        const View<float> gradient = adapter.parameters().gradient(b ? adapter.number_of_b(i) : adapter.number_of_a(i));
        std::vector<float> got = flat(gradient);
        if (b) model::arrange_back(module.rows, gradient, View<float>(got.data(), gradient.rows(), gradient.cols()));
        const auto want = expected.floats("grad." + module.name + (b ? ".lora_B.weight" : ".lora_A.weight"));
        CAPTURE(module.name, b);
        REQUIRE(want.size() == got.size());
        for (std::size_t k = 0; k < want.size(); ++k) got[k] -= want[k];
        CHECK(euclidean_norm(got) <= 1e-5 + 1e-3 * euclidean_norm(want));
        ++compared;
      }
    }
    const auto names = expected.names();
    CHECK(compared == static_cast<std::size_t>(
                          std::count_if(names.begin(), names.end(), [](const auto& n) { return n.starts_with("grad."); })));
    model.merge();
    CHECK(largest_difference(logits_of(model, row), expected.floats("merged_logits")) < 2e-4);
  }
}

TEST_CASE("an adapter written and read again has the same bits, also of the file", "[policy][lora]") {
  const TemporaryFolder temporary;
  const char* keep = std::getenv("VBON_KEEP_ADAPTERS");
  const std::filesystem::path folder = keep != nullptr ? keep : temporary.path();
  for (const auto& name : adapters) {
    CAPTURE(name);
    auto model = base_of(name);
    policy::load_adapter(model, recorded / name);
    policy::save_adapter(model, folder / name / "adapter", "somewhere");
    model::save_causal_lm(model, folder / name / "merged");
    auto again = base_of(name);
    policy::load_adapter(again, folder / name / "adapter");
    CHECK(flat(again.trainable().values()) == flat(model.trainable().values()));
    const auto& got = again.adapter()->options();
    const auto& want = model.adapter()->options();
    CHECK(got.rank == want.rank);
    CHECK(got.alpha == want.alpha);
    CHECK(got.rank_stabilized == want.rank_stabilized);
    const Tensors written(folder / name / "adapter" / "adapter_model.safetensors");
    const Tensors original(recorded / name / "adapter_model.safetensors");
    CHECK(written.names() == original.names());
    for (const auto& tensor : original.names()) CHECK(written.floats(tensor) == original.floats(tensor));
  }
}

TEST_CASE("targets are names, parts of names, patterns or all linear maps, never the head", "[policy][lora]") {
  auto model = base_of("llama_list");
  const auto count = [&](const std::string& text) {
    return policy::select_modules(model, policy::LoraTargets::parse(text), "here").size();
  };
  CHECK(count("all-linear") == 14);
  CHECK(count("q_proj,v_proj") == 4);
  CHECK(count("model.layers.1.mlp.up_proj") == 1);
  CHECK(count("self_attn.q_proj") == 2);
  CHECK(count("regex:.*[qk]_proj") == 4);
  CHECK(count("regex:model\\.layers\\.0\\..*") == 7);
  CHECK_THROWS_WITH(count("regex:q_proj"), Catch::Contains("no linear map"));  // not the whole name
  CHECK_THROWS_WITH(count("regex:(q_proj"), Catch::Contains("does not compile"));
  CHECK_THROWS_WITH(count("regex:x)|(.*"), Catch::Contains("does not compile"));
  CHECK_THROWS_AS(count(""), ConfigError);
  CHECK_THROWS_AS(count("q_proj,,v_proj"), ConfigError);
  for (const char* name : {"q_proj,lm_head", "embed_tokens", "c_attn", "proj"}) {
    CAPTURE(name);
    CHECK_THROWS_WITH(policy::add_adapter(model, policy::LoraTargets::parse(name), {}, {1, 2}),
                      Catch::Contains("is no linear map") && Catch::Contains("down_proj, gate_proj, k_proj"));
  }
  policy::add_adapter(model, policy::LoraTargets::parse("q_proj"), {.rank = 2}, {1, 2});
  CHECK(model.adapter()->modules().size() == 2);
}

TEST_CASE("an adapter for some layers is written so that peft adapts no other", "[policy][lora]") {
  const TemporaryFolder folder;
  auto model = base_of("llama_list");
  policy::add_adapter(model, policy::LoraTargets::parse("model.layers.1.self_attn.q_proj"), {.alpha = 2.5}, {1, 2});
  policy::save_adapter(model, folder.path());
  const auto config = io::read_json(folder / "adapter_config.json");
  CHECK(config.at("target_modules") == io::Json{"model.layers.1.self_attn.q_proj"});
  CHECK(config.at("lora_alpha") == 2.5);
  CHECK_THROWS_AS(policy::save_adapter(base_of("llama_list"), folder.path()), ConfigError);
}

TEST_CASE("an adapter in halves and one that was trained with dropout are read", "[policy][lora]") {
  Spoilt adapter;
  adapter.config["lora_dropout"] = 0.1;
  adapter.write();
  std::vector<io::TensorToWrite> tensors;
  const Tensors original(recorded / "llama_list" / "adapter_model.safetensors");
  std::vector<std::vector<float>> values;
  for (const auto& name : original.names()) values.push_back(original.floats(name));
  for (std::size_t i = 0; i < values.size(); ++i)
    tensors.push_back({.name = original.names()[i],
                       .shape = original.shape(original.names()[i]),
                       .values = values[i],
                       .dtype = io::Dtype::bf16});
  io::write_safetensors(adapter.folder / "adapter_model.safetensors", tensors);
  CHECK(adapter.complaint() == "accepted");
}

TEST_CASE("an adapter that is not one of this base, or not plain LoRA, is refused by name", "[policy][lora][error]") {
  struct Case {
    const char* entry;
    io::Json value;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"peft_type", "IA3", {"peft_type 'IA3'", "LORA"}},
      {"peft_type", nullptr, {"peft_type is missing"}},
      {"bias", "all", {"bias 'all'"}},
      {"lora_bias", true, {"lora_bias = true"}},
      {"use_dora", true, {"use_dora = true"}},
      {"use_qalora", true, {"use_qalora = true"}},
      {"modules_to_save", {"lm_head"}, {"modules_to_save = [\"lm_head\"]"}},
      {"layers_to_transform", {0}, {"layers_to_transform = [0]"}},
      {"layers_pattern", "layers", {"layers_pattern = \"layers\""}},
      {"rank_pattern", {{"q_proj", 4}}, {"rank_pattern = {\"q_proj\":4}"}},
      {"alpha_pattern", {{"q_proj", 4}}, {"alpha_pattern"}},
      {"layer_replication", {{0, 1}}, {"layer_replication"}},
      {"trainable_token_indices", {1}, {"trainable_token_indices"}},
      {"target_parameters", {"weight"}, {"target_parameters"}},
      {"what_comes_next", 1, {"what_comes_next = 1"}},
      {"init_lora_weights", "pissa", {"init_lora_weights 'pissa'", "base"}},
      {"target_modules", nullptr, {"target_modules is missing"}},
      {"target_modules", io::Json::array(), {"target_modules is missing"}},
      {"target_modules", 3, {"target_modules", "a string expected"}},
      {"target_modules", {"c_attn"}, {"no linear map of this llama model", "q_proj"}},
      {"target_modules",
       {"q_proj", "v_proj", "embed_tokens"},
       {"target_modules names model.embed_tokens", "only linear maps"}},
      {"target_modules", R"(.*\.([qv]_proj|norm))", {"target_modules names model.norm", "q_proj"}},
      {"target_modules", "(", {"target_modules", "does not compile"}},
      {"target_modules", {"q_proj"}, {"v_proj.lora_A.weight", "has no place"}},
      {"target_modules", {"q_proj", "v_proj", "k_proj"}, {"there is no tensor", "k_proj.lora_A.weight", "[3, 16]"}},
      {"exclude_modules", {"q_proj"}, {"q_proj.lora_A.weight", "has no place"}},
      {"exclude_modules", ".*", {"exclude_modules leaves no target"}},
      {"r", 4, {"q_proj.lora_A.weight", "has shape [3, 16], [4, 16] expected"}},
      {"r", 0, {"r >= 1"}},
      {"r", nullptr, {"r is missing"}},
      {"r", "three", {"r: a whole number expected"}},
      {"r", 9223372036854775807, {"[9223372036854775807, 16] expected"}},
      {"lora_alpha", 0, {"alpha > 0"}},
      {"lora_alpha", "much", {"lora_alpha: a number expected"}},
      {"use_rslora", 1, {"use_rslora: true or false expected"}},
  };
  for (const auto& one : cases) {
    CAPTURE(one.entry, one.value.dump());
    Spoilt adapter;
    adapter.config[one.entry] = one.value;
    adapter.write();
    const auto complaint = adapter.complaint();
    for (const auto& part : one.parts) CHECK_THAT(complaint, Catch::Contains(part));
  }

  CHECK_THAT(Spoilt().complaint("gpt2_conv1d"), Catch::Contains("no linear map of this gpt2 model"));
  CHECK_THAT(Spoilt().complaint("qwen3_all_linear"),
             Catch::Contains("q_proj.lora_B.weight") && Catch::Contains("[32, 3] expected"));
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    Spoilt adapter;
    std::filesystem::remove(adapter.folder / name);
    CHECK_THAT(adapter.complaint(), Catch::Contains(name));
  }
  Spoilt cut;
  std::filesystem::resize_file(cut.folder / "adapter_model.safetensors", 1000);
  CHECK_THAT(cut.complaint(), Catch::Contains("adapter_model.safetensors"));
  auto model = base_of("llama_list");
  CHECK_THROWS_WITH(policy::load_adapter(model, "nowhere"), Catch::Contains("no such folder"));
}
}  // namespace vbon::test
