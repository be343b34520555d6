// Every objective of the registry on the real SmolLM2: ten steps, killed half way and resumed. Takes a quarter of an
// hour and 5 GB of disk in the temporary folder.
#include <sstream>

#include "cli/support.hpp"
#include "support/model_cache.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
namespace {
std::vector<std::string> objectives() {
  std::vector<std::string> names;
  std::istringstream list(vbon({"inspect", "objectives"}).out);
  for (std::string line; std::getline(list, line);)
    if (!line.empty() && line[0] != ' ') names.push_back(line);
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
}  // namespace

TEST_CASE("every objective takes ten steps with SmolLM2, and comes back from a kill", "[slow][cli]") {
  const auto model = io::cache_folder() / "smollm2";
  if (!std::filesystem::exists(model)) {
    if (data_required()) FAIL(model.string() << " is not there; fetch the models first");
    skip(model.string() + " is not there");
    return;
  }
  for (const auto& name : objectives()) {
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
}  // namespace vbon::test
