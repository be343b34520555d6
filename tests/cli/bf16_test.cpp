// --bf16: another arithmetic of the same model, chosen once for a run.
#include <bit>
#include <cmath>
#include <filesystem>

#include "cli/memory_support.hpp"
#include "support/skip.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/io/safetensors.hpp"
#include "vbon/kernel/bfloat16.hpp"

namespace vbon::test {
namespace {
/// Whether every value of a file of weights is a bfloat16.
bool all_bfloat16(const std::filesystem::path& path) {
  const auto file = io::SafetensorsFile::open(path);
  for (const auto& name : file.names()) {
    Tensor<float> values(file.info(name).size);
    file.read_f32(name, values);
    for (const float value : values.view())
      if (std::bit_cast<std::uint32_t>(value) << 16 != 0) return false;
  }
  return true;
}
}  // namespace

TEST_CASE("a model is aligned in bfloat16: its weights are fp32, the run says so and goes on as it began", "[cli][bf16]") {
  const TemporaryFolder folder;
  const Arguments more = GENERATE(Arguments{}, Arguments{"--lora-rank", "2"});
  const Arguments low = more + Arguments{"--bf16"};
  REQUIRE(vbon(tiny_align(folder / "fp32", more)).code == 0);
  kill_until_it_ends(tiny_align(folder / "killed", low), KillTimes(tiny_align(folder / "whole", low)));
  check_equal_runs(folder / "whole", folder / "killed");

  const auto model = folder / "whole" / "model" / "model.safetensors";
  CHECK(text_of(model) != text_of(folder / "fp32" / "model" / "model.safetensors"));
  CHECK_FALSE(all_bfloat16(model));
  CHECK(io::Json::parse(text_of(folder / "whole" / "run.json"))["settings"]["bf16"] == true);
  CHECK_FALSE(io::Json::parse(text_of(folder / "fp32" / "run.json"))["settings"].contains("bf16"));
  check_refused(vbon(tiny_align(folder / "whole", more)), "vbon align", {"bf16", "--overwrite"});
  check_refused(vbon(tiny_align(folder / "fp32", low)), "vbon align", {"bf16", "--overwrite"});
}

TEST_CASE("sampling in bfloat16 draws from nearly the same law, and tells where nothing is gained", "[cli][bf16]") {
  const auto first_token = [](const Arguments& more) {  // the same uniform numbers: mostly the same tokens
    return vbon(Arguments{"sample", "--model", tiny_model, "--prompt", "the film", "--samples", "200", "--max-new-tokens",
                          "1", "--json"} +
                more);
  };
  const auto full = first_token({}), low = first_token({"--bf16"});
  REQUIRE(low.code == 0);
  CHECK(has(low.err, "AVX512-BF16") != kernel::multiplies_bfloat16);
  CHECK_FALSE(has(first_token({"--bf16", "--quiet"}).err, "AVX512-BF16"));
  const auto a = rows(full.out), b = rows(low.out);
  REQUIRE(a.size() == b.size());
  Index equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i]["text"] != b[i]["text"]) continue;
    ++equal;
    CHECK(a[i]["log_prob"] != b[i]["log_prob"]);
    CHECK(std::abs(a[i]["log_prob"].get<double>() - b[i]["log_prob"].get<double>()) < 0.05);
  }
  CHECK(equal > 180);
}

TEST_CASE("every command that runs a model takes --bf16, and files written in one arithmetic are not continued in the other",
          "[cli][bf16]") {
  const TemporaryFolder folder;
  const Arguments shared = {"--model",   tiny_model, "--reward", tiny_reward,        "--prompts", tiny_prompts,
                            "--threads", "1",        "--quiet",  "--max-new-tokens", "6"};
  const std::string decoded = (folder / "decoded.jsonl").string(), pairs = (folder / "pairs.jsonl").string(),
                    evaluation = (folder / "evaluation").string(), comparison = (folder / "comparison").string();
  const std::vector<std::pair<std::string, Arguments>> commands = {
      {"decode", {"--decoder", "best_of_n:n=2", "--out", decoded}},
      {"calibrate", {"--true-reward", "length:4", "--samples", "4", "--out", pairs}},
      {"evaluate", {"--reference", tiny_model, "--samples", "2", "--references", "4", "--out", evaluation}},
      {"compare", {"--methods", "vbon", "--steps", "2", "--warmup", "0", "--references", "4", "--out", comparison}}};
  for (const auto& [command, own] : commands) {
    CAPTURE(command);
    const auto run = vbon(Arguments{command} + shared + own + Arguments{"--bf16"});
    INFO(run.err);
    REQUIRE(run.code == 0);
    const auto other = vbon(Arguments{command} + shared + own);
    INFO(other.err);
    CHECK(other.code != 0);
    CHECK(has(other.err, "bf16"));
  }
  CHECK(io::Json::parse(text_of(folder / "evaluation" / "report.json"))["kl"]["value"] == 0.0);
  check_refused(vbon({"compare", "--tabular", "--bf16"}), "vbon compare", {"--tabular", "--bf16"});
  CHECK(vbon({"score", "--reward", "length:4", "--text", "a", "--bf16"}).code != 0);  // no model: nothing to choose
}

TEST_CASE("rewards that are networks compute in bfloat16 where --reward-bf16 says so, and a run is not continued without",
          "[cli][bf16]") {
  const TemporaryFolder folder;
  const std::string encoder = (folder / "encoder").string();
  save_tiny_encoder(encoder, "bert", 1);
  const auto score = [&](const Arguments& more) {
    return vbon(Arguments{"score", "--reward", "classifier:" + encoder, "--text", "a good film", "--text", "dull"} + more);
  };
  const auto full = score({}), low = score({"--reward-bf16"});
  REQUIRE(full.code == 0);
  REQUIRE(low.code == 0);
  CHECK(has(low.err, "--reward-bf16: this build") != kernel::multiplies_bfloat16);
  const auto a = rows(full.out), b = rows(low.out);
  REQUIRE(b.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(a[i]["reward"] != b[i]["reward"]);
    CHECK(a[i]["reward"].get<double>() == Approx(b[i]["reward"].get<double>()).margin(0.05));
  }
  const Arguments reward = {"--reward", "classifier:" + encoder};
  REQUIRE(vbon(tiny_align(folder / "run", reward + Arguments{"--reward-bf16"})).code == 0);
  CHECK(io::Json::parse(text_of(folder / "run" / "run.json"))["settings"]["reward-bf16"] == true);
  check_refused(vbon(tiny_align(folder / "run", reward)), "vbon align", {"reward-bf16", "--overwrite"});
  CHECK(vbon({"inspect", encoder, "--reward-bf16"}).code != 0);  // nothing is scored
  check_refused(vbon({"sample", "--model", tiny_model, "--prompt", "a", "--reward-bf16"}), "vbon sample",
                {"--reward-bf16", "--reward"});
  const auto told = vbon({"score", "--reward", "length:4", "--text", "a", "--reward-bf16"});
  CHECK(told.code == 0);
  CHECK(has(told.err, "length is no network"));
}

TEST_CASE("what bfloat16 saves of the memory is planned within a tenth", "[cli][bf16][memory]") {
  if (sanitized) return skip("memory plan: a sanitizer's own memory is part of the peak");
  const TemporaryFolder folder;
  const std::string model = (folder / "model").string();
  make_checkpoint(model);
  const Arguments sizes = {"--max-new-tokens", "8", "--threads", "1"}, low = {"--bf16"};
  const auto saved = [&](const Arguments& arguments) {
    const auto peak = [&](const Arguments& more) {
      const auto finished = vbon(arguments + sizes + more + Arguments{"--quiet", "--overwrite"});
      INFO(finished.err);
      REQUIRE(finished.code == 0);
      return finished.peak_megabytes;
    };
    return peak({}) - peak(low);
  };
  const auto plan = [&](const Arguments& more) {
    const auto planned = vbon(planned_align(model) + Arguments{"--warm-steps", "0"} + sizes + more);
    REQUIRE(planned.code == 0);
    return planned.out;
  };
  const std::string full = plan({}), less = plan(low);
  INFO(full << less);
  const auto planned_saving = [&](const char* name) { return planned(full, name) - planned(less, name); };
  CHECK(planned_saving("with --lora-rank 8") > 30);  // half of the packed copy of 84 MB
  const Arguments align = measured_align(model) + Arguments{"--warm-steps", "0"};
  const auto lora = saved(align + Arguments{"--lora-rank", "8", "--out", (folder / "lora").string()});
  CHECK(planned_saving("with --lora-rank 8") == Approx(lora).epsilon(0.1));
  const auto whole = saved(align + Arguments{"--out", (folder / "full").string()});
  CHECK(planned_saving("memory to align") == Approx(whole).epsilon(0.1));
}
}  // namespace vbon::test
