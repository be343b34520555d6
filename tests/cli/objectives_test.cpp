// Every objective that `vbon inspect objectives` lists trains a model: a new entry of the registry is met here
// without a word.
#include <cmath>
#include <fstream>
#include <sstream>

#include "cli/support.hpp"
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
Arguments aligns(const std::filesystem::path& out, const std::string& objective, const Arguments& more = {}) {
  return tiny_align(
      out, Arguments{"--objective", objective, "--warm-steps", "0", "--steps", "6", "--evaluate-every", "0"} + more);
}
/// The rows of the training metrics.
std::vector<io::Json> metrics(const std::filesystem::path& run) {
  std::vector<io::Json> rows;
  std::istringstream lines(text_of(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) rows.push_back(io::Json::parse(line));
  return rows;
}
}  // namespace

TEST_CASE("every objective trains: finite loss, a gradient, other weights", "[cli]") {
  const auto names = objectives();
  REQUIRE(names.size() > 20);
  const auto before = text_of(std::filesystem::path(tiny_model) / "model.safetensors");
  for (const auto& name : names) {
    CAPTURE(name);
    const TemporaryFolder folder;
    const auto run = vbon(aligns(folder / "run", name));
    INFO(run.err);
    REQUIRE(run.code == 0);
    const auto rows = metrics(folder / "run");
    REQUIRE(rows.size() == 6);
    double most = 0;
    for (const auto& row : rows) {
      REQUIRE(row.at("loss").is_number());
      most = std::max(most, row.at("gradient_norm").get<double>());
    }
    CHECK(most > 0);
    CHECK(text_of(folder / "run/model/model.safetensors") != before);
    const auto report = io::Json::parse(text_of(folder / "run/report.json"));
    CHECK(report.dump().find("\"kl\"") != std::string::npos);
  }
}

TEST_CASE("anchors and critics come back after a kill, and do not depend on the threads", "[cli][resume]") {
  for (const std::string name : {"jbond", "vbon_ppo"}) {
    CAPTURE(name);
    const TemporaryFolder folder;
    const KillTimes time(aligns(folder / "whole", name));
    REQUIRE(vbon(aligns(folder / "two", name, {"--threads", "2"})).code == 0);
    check_equal_runs(folder / "two", folder / "whole");
    kill_until_it_ends(aligns(folder / "run", name), time, 1);
    check_equal_runs(folder / "run", folder / "whole");
  }
}

TEST_CASE("pair losses learn from a file of preferences", "[cli]") {
  const TemporaryFolder folder;
  const auto file = (folder / "pairs.jsonl").string();
  {
    std::ofstream out(file);
    std::istringstream prompts(text_of(tiny_prompts));
    for (std::string line; std::getline(prompts, line);) {
      const auto prompt = io::Json::parse(line).at("prompt").get<std::string>();
      out << io::Json({{"prompt", prompt}, {"chosen", " good"}, {"rejected", " bad"}}).dump() << '\n';
    }
  }
  const auto dpo = [&](const std::filesystem::path& out, const Arguments& more = {}) {
    return Arguments{"align",      "--model",
                     tiny_model,   "--reward",
                     tiny_reward,  "--pairs",
                     file,         "--objective",
                     "dpo",        "--out",
                     out.string(), "--warm-steps",
                     "0",          "--steps",
                     "30",         "--step-prompts",
                     "8",          "--learning-rate",
                     "1e-3",       "--max-new-tokens",
                     "6",          "--evaluation-references",
                     "4",          "--checkpoint-every",
                     "3",          "--quiet"} +
           more;
  };
  const auto run = vbon(dpo(folder / "run"));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto rows = metrics(folder / "run");
  REQUIRE(rows.size() == 30);
  CHECK(rows.front().at("loss").get<double>() == Approx(std::log(2)));
  CHECK(rows.back().at("loss").get<double>() < 0.6);
  CHECK(rows.back().at("accuracy") == 1.0);
  CHECK_FALSE(has(text_of(folder / "run/report.html"), "was not drawn"));  // pairs have no win rate, and no picture of it
  CHECK_FALSE(std::filesystem::exists(folder / "run/references.jsonl"));   // the pairs are all it learns from
  const auto killed = vbon(dpo(folder / "killed"), {.signal = SIGKILL, .after = 250000});
  if (killed.code != 0) CHECK(vbon(dpo(folder / "killed")).code == 0);
  CHECK(text_of(folder / "killed/model/model.safetensors") == text_of(folder / "run/model/model.safetensors"));

  check_refused(vbon(dpo(folder / "x", {"--prompts", tiny_prompts})), "vbon align", {"--prompts and --pairs"});
  check_refused(vbon(dpo(folder / "x", {"--objective", "vbon"})), "vbon align",
                {"'vbon'", "cannot learn from a data set of preference pairs"});
  std::ofstream(folder / "bad.jsonl") << R"({"prompt": "the film", "chosen": "good"})" << '\n';
  check_refused(vbon(dpo(folder / "x", {"--pairs", (folder / "bad.jsonl").string()})), "vbon align",
                {"bad.jsonl: line 1", "\"rejected\" is missing"});
  std::ofstream(folder / "bad.jsonl") << R"({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1})" << '\n';
  check_refused(vbon(dpo(folder / "x", {"--pairs", (folder / "bad.jsonl").string()})), "vbon align",
                {"bad.jsonl: line 1", "\"margin\"", "remove it"});
  {
    std::ofstream out(folder / "chat.jsonl");
    for (int i = 0; i < 12; ++i)
      out << R"({"prompt": [{"role": "user", "content": "the film )" << i
          << R"("}], "chosen": [{"role": "assistant", "content": " good"}], "rejected": " bad"})" << '\n';
  }
  const auto chat = vbon(dpo(folder / "chat", {"--pairs", (folder / "chat.jsonl").string(), "--steps", "3"}));
  INFO(chat.err);
  CHECK(chat.code == 0);
  CHECK(has(text_of(folder / "chat/report.json"), "<|user|>the film"));  // prompts went through the chat template
}

TEST_CASE("how an anchor moves is the user's choice, within its range", "[cli][error]") {
  const TemporaryFolder folder;
  CHECK(vbon(aligns(folder / "slow", "jbond", {"--anchor-eta", "0.1"})).code == 0);
  CHECK(vbon(aligns(folder / "swap", "jbond", {"--anchor-swap-every", "2"})).code == 0);
  CHECK(text_of(folder / "slow/model/model.safetensors") != text_of(folder / "swap/model/model.safetensors"));
  check_refused(vbon(aligns(folder / "x", "jbond", {"--anchor-eta", "1.5"})), "vbon align",
                {"--anchor-eta in [0, 1]", "1.5"});
  check_refused(vbon(aligns(folder / "x", "jbond", {"--anchor-swap-every", "0"})), "vbon align",
                {"--anchor-swap-every in [1, ", "0"});
  check_refused(vbon(aligns(folder / "x", "jbond", {"--anchor-eta", "0.5", "--anchor-swap-every", "2"})), "vbon align",
                {"give one of them"});
  for (const Arguments& unread : std::vector<Arguments>{
           {"--anchor-eta", "0.1"}, {"--critic-learning-rate", "1"}, {"--draw", "best"}, {"--answer-pattern", "."}})
    check_refused(vbon(aligns(folder / "x", "vbon", unread)), "vbon align",
                  {unread[0], "objective 'vbon' has no", "leave it"});
  check_refused(vbon(aligns(folder / "x", "dpo", {"--draw", "some"})), "vbon align", {"unknown --draw 'some'", "uniform"});
  check_refused(vbon(aligns(folder / "x", "dpo", {"--samples", "1"})), "vbon align",
                {"'dpo' needs at least 2 cached responses", "got 1"});
}
}  // namespace vbon::test
