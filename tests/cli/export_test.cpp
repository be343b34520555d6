// `vbon export`, and what `vbon inspect` says of memory beforehand.
#include <random>

#include "cli/support.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"

namespace vbon::test {
namespace {
std::string greedy(const std::string& model, const Arguments& more = {}) {
  const auto run = vbon(Arguments{"sample", "--model", model, "--prompt", "the film", "--greedy", "--max-new-tokens", "12",
                                  "--json", "--quiet"} +
                        more);
  INFO(run.err);
  REQUIRE(run.code == 0);
  return run.out;
}
void exported(Arguments arguments) {
  const auto run = vbon(Arguments{"export"} + arguments);
  INFO(run.err);
  REQUIRE(run.code == 0);
}
}  // namespace

TEST_CASE("a model goes from folder to GGUF file to folder and says the same", "[cli][export]") {
  const TemporaryFolder folder;
  const std::string gguf = (folder / "m.gguf").string(), again = (folder / "again").string();
  exported({tiny_model, "--out", gguf});
  CHECK(greedy(gguf) == greedy(tiny_model));
  exported({"--model", gguf, "--out", again});
  const std::string copy = (folder / "copy").string();
  exported({tiny_model, "--out", copy});
  const bool equal = text_of(again + "/model.safetensors") == text_of(copy + "/model.safetensors");
  CHECK(equal);
  CHECK(greedy(again) == greedy(tiny_model));
  for (const char* type : {"f16", "bf16", "q8_0", "q4_0"}) {
    exported({tiny_model, "--out", gguf, "--dtype", type, "--overwrite"});
    CHECK(greedy(gguf).size() > 20);
  }
  exported({tiny_model, "--out", (folder / "named").string(), "--format", "gguf", "--dtype", "Q8_0"});
  CHECK(io::GgufFile::open(folder / "named").get<int>("general.file_type") == 7);
}

TEST_CASE("a folder is sharded above a size", "[cli][export]") {
  const TemporaryFolder folder;
  const std::string out = (folder / "sharded").string();
  exported({tiny_model, "--out", out, "--dtype", "bf16", "--shard-size", "20KB"});
  CHECK(std::filesystem::exists(out + "/model.safetensors.index.json"));
  CHECK(!std::filesystem::exists(out + "/model.safetensors"));
  const auto file = io::ShardedSafetensors::open(out);
  for (const auto& name : file.names()) CHECK(file.info(name).dtype == io::Dtype::bf16);
  const auto config = io::read_json(out + "/config.json");
  CHECK(config.at(config.contains("dtype") ? "dtype" : "torch_dtype") == "bfloat16");
  const std::string merged = (folder / "whole").string();
  exported({out, "--out", merged, "--dtype", "bf16"});
  CHECK(greedy(merged) == greedy(out));
}

TEST_CASE("an adapter is merged into what is exported, and align saves in other types", "[cli][export][lora]") {
  const TemporaryFolder folder;
  const auto run = vbon(tiny_align(folder / "run", {"--lora-rank", "2", "--learning-rate", "1e-2", "--save-dtype", "bf16"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const std::string adapter = (folder / "run/adapter").string(), merged = (folder / "merged").string();
  exported({tiny_model, "--adapter", adapter, "--out", merged, "--dtype", "bf16"});
  const bool equal = text_of(merged + "/model.safetensors") == text_of(folder / "run/model/model.safetensors");
  CHECK(equal);
  exported({tiny_model, "--adapter", adapter, "--out", (folder / "m.gguf").string()});
  CHECK(greedy((folder / "m.gguf").string()).substr(0, 60) == greedy(tiny_model, {"--adapter", adapter}).substr(0, 60));
}

TEST_CASE("an export that cannot be is refused with the remedy", "[cli][export][error]") {
  const TemporaryFolder folder;
  const std::string out = (folder / "m.gguf").string();
  const auto refused = [](Arguments arguments, const Arguments& parts) {
    check_refused(vbon(Arguments{"export"} + arguments), "vbon export", parts);
  };
  refused({tiny_model}, {"--out is missing"});
  refused({tiny_model, "--out", out, "--dtype", "q4_1"}, {"unknown --dtype 'q4_1'", "bf16"});
  refused({tiny_model, "--out", (folder / "f").string(), "--dtype", "q8_0"}, {"--dtype q8_0 is for GGUF files", "f32"});
  refused({tiny_model, "--out", out, "--format", "onnx"}, {"unknown --format 'onnx'", "folder, gguf"});
  refused({tiny_model, "--out", (folder / "f").string(), "--shard-size", "5 parsecs"}, {"--shard-size", "5GB", "5 parsecs"});
  refused({tiny_model, "--out", tiny_model}, {"is the model that is read"});
  refused({"/absent", "--out", out}, {"/absent", "no such file"});
  exported({tiny_model, "--out", out});
  refused({tiny_model, "--out", out}, {"is there already", "--overwrite"});
  refused({tiny_model, "--out", folder.path().string(), "--format", "gguf"}, {"is a folder"});
  check_refused(vbon(tiny_align(folder / "run", {"--save-dtype", "q8_0"})), "vbon align", {"--save-dtype q8_0"});
}

TEST_CASE("reward models go into folders of any type, with their tokenizer, and score the same", "[cli][export]") {
  const TemporaryFolder folder;
  tiny_encoder(tiny_encoder_config("bert", 2)).save(folder / "encoder");
  save_tiny_tokenizer(folder / "encoder");
  model::save_causal_lm(model::load_scorer(tiny_model, {.labels = 1}, 0), folder / "scorer");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(tiny_model + "/" + file, folder / "scorer" / file);
  for (const std::string name : {"encoder", "scorer"}) {
    const std::string place = (folder / name).string(), out = (folder / (name + "-out")).string();
    const auto reward = [&](const std::string& model) {
      const auto run = vbon({"score", "--reward", "classifier:" + model, "--text", "the film is good", "--quiet"});
      INFO(run.err);
      REQUIRE(run.code == 0);
      return rows(run.out).at(0).at("reward").get<double>();
    };
    INFO(name);
    exported({place, "--out", out});
    const bool equal = text_of(out + "/model.safetensors") == text_of(place + "/model.safetensors");
    CHECK(equal);
    CHECK(reward(out) == reward(place));
    exported({place, "--out", out + "-bf16", "--dtype", "bf16", "--shard-size", "4KB"});
    CHECK(std::filesystem::exists(out + "-bf16/model.safetensors.index.json"));
    CHECK(reward(out + "-bf16") == Approx(reward(place)).margin(0.05));
    exported({out + "-bf16", "--out", out + "-again", "--dtype", "bf16"});
    exported({out + "-again", "--out", out + "-third", "--dtype", "bf16"});
    const bool same = text_of(out + "-again/model.safetensors") == text_of(out + "-third/model.safetensors");
    CHECK(same);
    check_refused(vbon({"export", place, "--out", (folder / "m.gguf").string()}), "vbon export",
                  {place, "give --out a folder"});
    check_refused(vbon({"export", place, "--adapter", place, "--out", (folder / "x").string()}), "vbon export",
                  {"--adapter", "reward model"});
  }
  exported({tiny_model, "--out", (folder / "new" / "m.gguf").string()});
}
}  // namespace vbon::test
