// `vbon inspect` of every kind of model: what it is, what it can be used for, and the memory that takes.
#include <filesystem>

#include "cli/support.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"
#include "vbon/policy/peft.hpp"

namespace vbon::test {
namespace {
/// Runs it and holds every part against what it says.
std::string inspected(const Arguments& arguments, const Arguments& parts) {
  const auto run = vbon(Arguments{"inspect"} + arguments);
  INFO(run.err << run.out);
  CHECK(run.code == 0);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(has(run.out, part));
  }
  return run.out;
}
}  // namespace

TEST_CASE("inspect tells family, sizes and tokenizer, and what is known by name", "[cli][inspect]") {
  inspected({tiny_model, "--tensors"}, {"llama", "2 of width 32", "model.embed_tokens.weight", "64 tokens"});
  inspected({tiny_model, "--prompt-tokens", "40", "--max-new-tokens", "30"},
            {"no plan", "40 tokens (--prompt-tokens)", "30 (--max-new-tokens)", "context of 64"});
  inspected({"objectives"}, {"vbon_bound"});
  inspected({"estimators"}, {"harmonic"});
  inspected({"rewards"}, {"process"});
}

TEST_CASE("inspect tells the sizes of an encoder, its tokenizer, labels and memory", "[cli][inspect]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "encoder").string();
  auto config = tiny_encoder_config("bert", 3);
  config["id2label"] = {{"0", "sad"}, {"1", "neutral"}, {"2", "joy"}};
  tiny_encoder(config).save(place);
  save_tiny_tokenizer(place);
  inspected({place, "--tensors"},
            {"TinyForSequenceClassification", "bert, an encoder", "3 of width 12, hidden 20", "3 of 4", "20 ids",
             "12 tokens", "0 sad, 1 neutral, 2 joy; choose one: classifier:" + place + ",label=NAME_OR_NUMBER",
             "memory to score", "classifier.weight", "3 x 12", "F32"});

  config["id2label"] = {{"0", "POSITIVE"}, {"1", "NEGATIVE"}};
  tiny_encoder(config).save(place);
  inspected({place}, {"0 POSITIVE, 1 NEGATIVE; the reward is the log-odds of POSITIVE"});
  tiny_encoder(tiny_encoder_config("roberta", 1)).save(place);
  inspected({place}, {"roberta, an encoder", "the reward is the output itself"});
  tiny_encoder(tiny_encoder_config("distilbert")).save(place);
  inspected({place}, {"distilbert, an encoder", "mean, to length 1", "none: a body for 'vbon train-reward'"});
}

TEST_CASE("inspect tells the labels and the memory of a causal reward model", "[cli][inspect]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "reward").string();
  model::save_causal_lm(model::load_scorer(tiny_model, {.labels = 2}, 0), place);
  const auto told = inspected(
      {place}, {"llama", "no: it gives scores", "0 LABEL_0, 1 LABEL_1; the reward is the log-odds of", "memory to score"});
  CHECK_FALSE(has(told, "memory to align"));
}

TEST_CASE("inspect tells what an adapter changes", "[cli][inspect][lora]") {
  const TemporaryFolder folder;
  model::CausalLm model = model::load_causal_lm(tiny_model);
  policy::add_adapter(model, policy::LoraTargets::parse("q_proj,down_proj"),
                      {.rank = 4, .alpha = 6, .rank_stabilized = true}, RngKey{1, 1});
  policy::save_adapter(model, folder / "adapter", "some/base");
  const std::string place = (folder / "adapter").string();
  inspected({place}, {"rank-stabilised LoRA", "some/base", "4, alpha 6, scale 3", "down_proj,q_proj",
                      std::to_string(2 * 4 * (32 + 32 + 64 + 32)), "8 F32"});
  inspected({place, "--tensors"}, {"lora_A.weight", "4 x 32"});

  auto config = io::read_json(folder / "adapter/adapter_config.json");
  config["use_dora"] = true;
  io::write_file_atomically(folder / "adapter/adapter_config.json", config.dump());
  check_refused(vbon({"inspect", place}), "vbon inspect", {"adapter_config.json", "use_dora"});
}

TEST_CASE("inspect says of an unknown family what is there and why it is no policy", "[cli][inspect][error]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "model").string();
  model::save_causal_lm(model::load_causal_lm(tiny_model), place);
  auto config = io::read_json(folder / "model/config.json");
  config["model_type"] = "mamba";
  io::write_file_atomically(folder / "model/config.json", config.dump());
  inspected({place}, {"parameters", "no: ", "unknown model_type 'mamba'", "F32"});
}

TEST_CASE("inspect names what the weights contradict before it plans anything", "[cli][inspect][error]") {
  const TemporaryFolder folder;
  tiny_encoder(tiny_encoder_config("bert", 3)).save(folder / "encoder");
  model::save_causal_lm(model::load_scorer(tiny_model, {.labels = 3}, 0), folder / "scorer");
  model::save_causal_lm(model::load_causal_lm(tiny_model), folder / "policy");
  const auto refused = [&](const std::string& name, const std::string& key, const io::Json& value, const Arguments& parts) {
    const auto file = folder / name / "config.json";
    const io::Json good = io::read_json(file);
    io::Json config = good;
    config.erase("id2label");
    config[key] = value;
    io::write_file_atomically(file, config.dump());
    const auto run = vbon({"inspect", (folder / name).string()});
    INFO(name << ' ' << key << '\n' << run.out);
    CHECK(run.peak_megabytes < 200);
    CHECK(run.code == 1);
    for (const std::string& part : parts) CHECK(has(run.err, part));
    io::write_file_atomically(file, good.dump());
  };
  refused("encoder", "num_labels", 1'000'000'000, {"classifier.weight", "[3, 12]", "[1000000000, 12]"});
  refused("encoder", "num_labels", 1'000'000'000'000, {"2^31", "1000000000000"});
  refused("encoder", "hidden_size", Index{1} << 62, {"2^31"});
  refused("encoder", "vocab_size", 21, {"word_embeddings.weight", "[20, 12]", "[21, 12]"});
  refused("scorer", "num_labels", 1'000'000'000, {"score.weight", "[3, 32]", "[1000000000, 32]"});
  refused("policy", "intermediate_size", 65, {"mlp", "65"});
}
}  // namespace vbon::test
