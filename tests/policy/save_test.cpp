// What a policy's folder or GGUF file says beside the weights: ends, settings of sampling, and what cannot be said.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/json.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/policy/save_gguf.hpp"

namespace vbon::test {
namespace {
namespace fs = std::filesystem;
using model::Json;

/// A copy of the tiny checkpoint whose files can be changed.
struct Checkpoint {
  TemporaryFolder folder;
  Checkpoint() { fs::copy(VBON_TEST_DATA "/tiny_llama", folder.path(), fs::copy_options::recursive); }
  void write(const char* name, const Json& json) const { std::ofstream(folder / name) << json.dump(); }
  template <class F>
  void change(const char* name, F&& f) const {
    Json json = io::read_json(folder / name);
    f(json);
    write(name, json);
  }
  std::string complaint() const {
    try {
      policy::load(folder.path());
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
};
std::vector<TokenId> greedy(policy::CausalLmPolicy<>& policy) {
  policy.sampler.temperature = 0;
  policy.sampler.max_new_tokens = 24;
  const std::vector<Prompt> prompts = {{.text = "the film is", .tokens = {}}};
  return policy.sample(prompts, 1, {}).token;
}
}  // namespace

TEST_CASE("other ends and settings of sampling go with the model", "[policy][save]") {
  Checkpoint checkpoint;
  auto plain = policy::load(checkpoint.folder.path());
  const auto tokens = greedy(plain);
  REQUIRE(tokens.size() >= 4);
  const TokenId end = tokens[2];
  const auto first = static_cast<std::size_t>(std::find(tokens.begin(), tokens.end(), end) - tokens.begin());
  checkpoint.write("generation_config.json",
                   {{"eos_token_id", {1, end}}, {"do_sample", true}, {"temperature", 0.6}, {"pad_token_id", 3}});
  auto ended = policy::load(checkpoint.folder.path());
  const auto shorter = greedy(ended);
  CHECK(shorter.size() == first + 1);

  TemporaryFolder out;
  policy::save(ended, out / "folder");
  const Json written = io::read_json(out / "folder" / "generation_config.json");
  CHECK(written == io::read_json(checkpoint.folder / "generation_config.json"));
  auto again = policy::load(out / "folder");
  CHECK(greedy(again) == shorter);
  policy::save_gguf(ended.clone(), out / "model.gguf", BlockType::f32);
  auto from_gguf = policy::load(out / "model.gguf");
  CHECK(greedy(from_gguf) == shorter);

  ended.sampler.eos = {1, 5, 6, 7};
  CHECK_THROWS_WITH(policy::save_gguf(ended, out / "many.gguf", BlockType::f32), Catch::Contains("three tokens that end"));
  checkpoint.write("generation_config.json", {{"eos_token_id", {1, 100000}}});
  CHECK_THAT(checkpoint.complaint(), Catch::Contains("generation_config.json: eos_token_id") && Catch::Contains("100000"));
}

TEST_CASE("a share of rotated entries that a family does not have is refused", "[policy][save][error]") {
  for (const bool nested : {false, true}) {
    const Checkpoint checkpoint;
    checkpoint.change("config.json", [&](Json& config) {
      if (nested)
        config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}, {"partial_rotary_factor", 0.5}};
      else
        config["partial_rotary_factor"] = 0.5;
    });
    CHECK_THAT(checkpoint.complaint(), Catch::Contains("partial_rotary_factor = 0.5") && Catch::Contains("gpt_neox"));
  }
}

TEST_CASE("a token without a row in the model is named where it is used", "[policy][save][error]") {
  const Checkpoint checkpoint;
  checkpoint.change("tokenizer.json", [](Json& tokenizer) {
    tokenizer["added_tokens"].push_back({{"id", 5000},
                                         {"content", "<extra>"},
                                         {"single_word", false},
                                         {"lstrip", false},
                                         {"rstrip", false},
                                         {"normalized", false},
                                         {"special", true}});
  });
  auto policy = policy::load(checkpoint.folder.path());
  CHECK(policy.sample(std::vector<Prompt>{{.text = "the film is", .tokens = {}}}, 1, {}).responses() == 1);
  CHECK_THROWS_WITH(policy.sample(std::vector<Prompt>{{.text = "the <extra> film", .tokens = {}}}, 1, {}),
                    Catch::Contains("'<extra>', token 5000"));
  const TemporaryFolder out;
  CHECK_THROWS_WITH(policy::save_gguf(policy, out / "model.gguf", BlockType::f32),
                    Catch::Contains("'<extra>'") && Catch::Contains("no row"));
}

TEST_CASE("shards that an earlier save left are gone after a smaller one", "[policy][save]") {
  const auto policy = policy::load(VBON_TEST_DATA "/tiny_llama");
  const TemporaryFolder out;
  const auto files = [&] {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(out.path()))
      if (const auto name = entry.path().filename().string(); name.starts_with("model")) names.insert(name);
    return names;
  };
  policy::save(policy, out.path(), {.shard_bytes = 4096});
  const auto many = files();
  policy::save(policy, out.path(), {.shard_bytes = 16384});
  const auto fewer = files();
  REQUIRE(many.size() > fewer.size());
  REQUIRE(fewer.size() > 3);
  policy::save(policy, out.path());
  CHECK(files() == std::set<std::string>{"model.safetensors"});
}
}  // namespace vbon::test
