#include "cli/support.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/safetensors.hpp"

namespace vbon::test {
namespace {
const Arguments lora = {"--lora-rank",     "4",   "--lora-alpha", "8", "--lora-targets", "q_proj,v_proj",
                        "--learning-rate", "1e-2"};
const std::vector<std::string> adapter_files = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"};

const std::filesystem::path& finished_lora_run() {
  static const TemporaryFolder folder;
  static const std::filesystem::path path = folder / "run";
  static const Finished run = vbon(tiny_align(path, lora));
  INFO(run.err);
  REQUIRE(run.code == 0);
  return path;
}
void check_equal_lora_runs(const std::filesystem::path& a, const std::filesystem::path& b) {
  check_equal_runs(a, b);
  for (const auto& name : adapter_files) {
    CAPTURE(name);
    CHECK(text_of(a / name) == text_of(b / name));
  }
}
std::vector<float> tensor(const std::filesystem::path& file, const std::string& name) {
  const auto tensors = io::SafetensorsFile::open(file);
  std::vector<float> values(static_cast<std::size_t>(tensors.info(name).size));
  tensors.read_f32(name, View<float>(values.data(), static_cast<Index>(values.size())));
  return values;
}
}  // namespace

TEST_CASE("align with LoRA leaves the adapter and the merged model, of which only the targets moved", "[cli][lora]") {
  const auto& run = finished_lora_run();
  const auto adapter = io::SafetensorsFile::open(run / adapter_files[1]);
  CHECK(adapter.names().size() == 8);  // two layers, two maps, A and B
  const auto config = io::read_json(run / adapter_files[0]);
  CHECK(config.at("r") == 4);
  CHECK(config.at("target_modules") == io::Json{"q_proj", "v_proj"});
  CHECK(config.at("base_model_name_or_path") == tiny_model);
  const std::filesystem::path before = std::filesystem::path(tiny_model) / "model.safetensors";
  for (const std::string& name : io::SafetensorsFile::open(before).names()) {
    CAPTURE(name);
    const bool target = has(name, "q_proj") || has(name, "v_proj");
    CHECK((tensor(before, name) != tensor(run / "model/model.safetensors", name)) == target);
  }
}

TEST_CASE("with LoRA neither threads nor kills change a bit", "[cli][lora][resume]") {
  const TemporaryFolder folder;
  const KillTimes time(tiny_align(folder / "threads", lora + Arguments{"--threads", "2"}));
  check_equal_lora_runs(folder / "threads", finished_lora_run());
  kill_until_it_ends(tiny_align(folder / "killed", lora), time);
  check_equal_lora_runs(folder / "killed", finished_lora_run());
}

TEST_CASE("the adapter on its base samples like the merged model, and is evaluated against that base", "[cli][lora]") {
  const auto adapter = (finished_lora_run() / "adapter").string();
  const Arguments prompt = {"--prompt", "the film", "--max-new-tokens", "8", "--samples", "8", "--quiet"};
  const auto adapted = vbon(Arguments{"sample", "--model", tiny_model, "--adapter", adapter} + prompt);
  INFO(adapted.err);
  CHECK(adapted.code == 0);
  CHECK(adapted.out == vbon(Arguments{"sample", "--model", (finished_lora_run() / "model").string()} + prompt).out);
  CHECK(adapted.out != vbon(Arguments{"sample", "--model", tiny_model} + prompt).out);
  const TemporaryFolder folder;
  const auto evaluated = vbon({"evaluate",
                               "--model",
                               tiny_model,
                               "--adapter",
                               adapter,
                               "--reference",
                               tiny_model,
                               "--reward",
                               tiny_reward,
                               "--prompts",
                               tiny_prompts,
                               "--count",
                               "8",
                               "--samples",
                               "2",
                               "--references",
                               "4",
                               "--out",
                               (folder / "evaluation").string(),
                               "--quiet"});
  INFO(evaluated.err);
  CHECK(evaluated.code == 0);
  CHECK(std::filesystem::exists(folder / "evaluation/report.html"));
}

TEST_CASE("an objective with an anchor and one with a critic train an adapter", "[cli][lora]") {
  for (const std::string objective : {"jbond", "vbon-ppo"}) {
    const TemporaryFolder folder;
    const auto run = vbon(tiny_align(folder / "run", lora + Arguments{"--objective", objective, "--steps", "3"}));
    INFO(objective << ": " << run.err);
    CHECK(run.code == 0);
  }
}

TEST_CASE("settings of LoRA that cannot be are refused by flag, and another adapter is another run", "[cli][lora][error]") {
  const TemporaryFolder folder;
  const std::vector<Arguments> wrong = {{"--lora-rank", "-1", "[0, "},
                                        {"--lora-alpha", "4", "need --lora-rank"},
                                        {"--lora-rslora", "", "need --lora-rank"},
                                        {"--lora-targets", "q_proj", "need --lora-rank"}};
  for (const auto& one : wrong) {
    INFO(one[0]);
    const Arguments flag = one[1].empty() ? Arguments{one[0]} : Arguments{one[0], one[1]};
    check_refused(vbon(tiny_align(folder / "run", flag)), "vbon align", {one[0], one[2]});
    CHECK_FALSE(std::filesystem::exists(folder / "run"));
  }
  const auto refused = [&](const Arguments& flags, const Arguments& parts) {
    check_refused(vbon(tiny_align(folder / "run", Arguments{"--lora-rank", "4"} + flags)), "vbon align", parts);
    CHECK_FALSE(std::filesystem::exists(folder / "run/run.json"));
  };
  refused({"--lora-alpha", "0"}, {"--lora-alpha > 0"});
  refused({"--lora-targets", "lm_head"}, {"'lm_head'", "q_proj"});
  refused({"--lora-targets", "regex:("}, {"does not compile"});
  check_refused(vbon(tiny_align(finished_lora_run(), lora + Arguments{"--lora-rank", "8"})), "vbon align",
                {"lora-rank = 4", "lora-rank = 8", "--overwrite"});
  check_refused(vbon({"sample", "--model", tiny_model, "--adapter", tiny_model, "--prompt", "the film"}), "vbon sample",
                {"adapter_config.json"});
}
}  // namespace vbon::test
