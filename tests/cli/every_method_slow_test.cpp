// Every method of the registries on the real SmolLM2: each objective ten steps, killed half way and resumed, each
// decoder twenty prompts. Takes half an hour and 5 GB of disk in the temporary folder.
#include <fstream>
#include <sstream>

#include "cli/support.hpp"
#include "support/model_cache.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
namespace {
/// @param what  "objectives" or "decoders"
std::vector<std::string> registered(const std::string& what) {
  std::vector<std::string> names;
  std::istringstream list(vbon({"inspect", what}).out);
  for (std::string line; std::getline(list, line);)
    if (!line.empty() && line[0] != ' ') names.push_back(line.substr(0, line.find_first_of(" :")));
  return names;
}
Arguments ten_steps(const std::filesystem::path& out, const std::string& objective) {
  return {"align",      "--objective",
          objective,    "--out",
          out.string(), "--reward",
          "length:12",  "--prompts",
          tiny_prompts, "--warm-steps",
          "0",          "--steps",
          "10",         "--step-prompts",
          "2",          "--samples",
          "4",          "--references",
          "4",          "--training-prompts",
          "4",          "--evaluation-count",
          "2",          "--evaluation-samples",
          "4",          "--evaluation-references",
          "4",          "--max-new-tokens",
          "8",          "--checkpoint-every",
          "3",          "--quiet"};
}
/// False, and the test skipped or failed, where the model is not in the cache.
bool model_is_there() {
  const auto model = io::cache_folder() / "smollm2";
  if (std::filesystem::exists(model)) return true;
  if (data_required()) FAIL(model.string() << " is not there; fetch the models first");
  skip(model.string() + " is not there");
  return false;
}
}  // namespace

TEST_CASE("every objective takes ten steps with SmolLM2, and comes back from a kill", "[slow][cli]") {
  if (!model_is_there()) return;
  for (const auto& name : registered("objectives")) {
    const TemporaryFolder folder;
    INFO(name);
    const auto whole = vbon(ten_steps(folder / "whole", name));
    INFO(whole.err);
    REQUIRE(whole.code == 0);
    double most = 0;
    std::istringstream lines(text_of(folder / "whole/metrics.jsonl"));
    int rows = 0;
    for (std::string line; std::getline(lines, line); ++rows) {
      const auto row = io::Json::parse(line);
      REQUIRE(row.at("loss").is_number());  // what is not finite is written as null
      most = std::max(most, row.at("gradient_norm").get<double>());
    }
    CHECK(rows == 10);
    CHECK(most > 0);
    const auto report = io::Json::parse(text_of(folder / "whole/report.json"));
    const double kl = report.at("kl").at("value").get<double>();
    CHECK(kl > 0);  // so the weights moved
    std::cout << name << ": largest gradient norm " << most << ", KL " << kl << std::endl;

    // Killed as soon as its first checkpoint stands.
    Process killed(VBON_PROGRAM, ten_steps(folder / "killed", name));
    for (int i = 0; i < 3000 && !std::filesystem::exists(folder / "killed/metrics.csv"); ++i) ::usleep(20000);
    killed.kill(SIGKILL);
    CHECK(killed.wait().code == 128 + SIGKILL);
    const auto resumed = vbon(ten_steps(folder / "killed", name));
    INFO(resumed.err);
    REQUIRE((resumed.code == 0 || has(resumed.err, "is finished")));
    check_equal_runs(folder / "killed", folder / "whole");
  }
}

TEST_CASE("every decoder answers twenty prompts with SmolLM2", "[slow][cli]") {
  if (!model_is_there()) return;
  const TemporaryFolder folder;
  const auto prompts = (folder / "prompts.jsonl").string();
  {
    std::ofstream out(prompts);
    std::istringstream lines(text_of(tiny_prompts));
    int count = 0;
    for (std::string line; count < 20 && std::getline(lines, line); ++count) out << line << '\n';
    REQUIRE(count == 20);
  }
  // hedge wants to know how a proxy of the reward does against it.
  const auto calibration = (folder / "calibration.jsonl").string();
  const auto calibrated = vbon({"calibrate", "--reward", "length:10", "--true-reward", "length:12", "--prompts", prompts,
                                "--samples", "8", "--max-new-tokens", "8", "--out", calibration, "--quiet"});
  INFO(calibrated.err);
  REQUIRE(calibrated.code == 0);
  for (const auto& name : registered("decoders")) {
    INFO(name);
    const auto decoder = name == "hedge" ? name + ":calibration=" + calibration : name;
    const auto run = vbon({"decode", "--decoder", decoder, "--reward", "length:12", "--prompts", prompts, "--max-new-tokens",
                           "8", "--json", "--quiet"});
    INFO(run.err);
    REQUIRE(run.code == 0);
    std::istringstream lines(run.out);
    int rows = 0;
    double tokens = 0, calls = 0;
    for (std::string line; std::getline(lines, line); ++rows) {
      const auto row = io::Json::parse(line);
      CHECK(row.at("reward").is_number());
      CHECK(row.at("log_prob").get<double>() < 0);
      tokens += row.at("tokens").get<double>();
      calls += row.at("reward_calls").get<double>();
    }
    CHECK(rows == 20);
    CHECK(tokens >= 20);
    CHECK(calls >= 20);
    std::cout << name << ": " << tokens / 20 << " tokens and " << calls / 20 << " reward calls a prompt" << std::endl;
  }
}
}  // namespace vbon::test
