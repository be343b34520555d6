#include "cli/support.hpp"

namespace vbon::test {
namespace {
/// One finished run that the cases compare with.
const std::filesystem::path& finished_run() {
  static const TemporaryFolder folder;
  static const std::filesystem::path path = folder / "run";
  static const Finished run = vbon(tiny_align(path));
  INFO(run.err);
  REQUIRE(run.code == 0);
  return path;
}
}  // namespace

TEST_CASE("align leaves a model, a report, metrics and no checkpoint", "[cli]") {
  const auto& run = finished_run();
  for (const char* name : {"report.html", "times.json", "timing.jsonl", "plots/frontier.gp", "model/tokenizer_config.json"})
    CHECK(std::filesystem::exists(run / name));
  for (const auto& name : reproducible) CHECK(std::filesystem::exists(run / name));
  CHECK_FALSE(std::filesystem::exists(run / "checkpoint.0"));
  const auto sampled =
      vbon({"sample", "--model", (run / "model").string(), "--prompt", "the film", "--max-new-tokens", "8", "--quiet"});
  CHECK(sampled.code == 0);
  CHECK(has(sampled.out, "the film"));
  const auto inspected = vbon({"inspect", run.string()});
  CHECK(has(inspected.out, "(finished)"));
  CHECK(has(vbon({"inspect", (run / "references.jsonl").string()}).out, "temperature"));
}

TEST_CASE("the number of threads changes no bit", "[cli]") {
  TemporaryFolder folder;
  const auto run = vbon(tiny_align(folder / "run", {"--threads", "2"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  check_equal_runs(folder / "run", finished_run());
}

TEST_CASE("another seed gives another run", "[cli]") {
  TemporaryFolder folder;
  REQUIRE(vbon(tiny_align(folder / "run", {"--seed", "2"})).code == 0);
  CHECK(text_of(folder / "run" / "references.jsonl") != text_of(finished_run() / "references.jsonl"));
}

TEST_CASE("a run killed again and again ends like one that was not", "[cli][resume]") {
  TemporaryFolder folder;
  kill_until_it_ends(tiny_align(folder / "run"), KillTimes(tiny_align(folder / "whole")));
  check_equal_runs(folder / "run", finished_run());
}

TEST_CASE("a run killed in its first moments can be started again", "[cli][resume]") {
  TemporaryFolder folder;
  for (long after = 500; after < 25000; after += 250) {
    std::filesystem::remove_all(folder / "run");
    if (!ends_before_kill(tiny_align(folder / "run"), after)) ends_before_kill(tiny_align(folder / "run"), after);
  }
  const auto last = vbon(tiny_align(folder / "run"));
  INFO(last.err);
  CHECK((last.code == 0 || has(last.err, "is finished")));
  check_equal_runs(folder / "run", finished_run());
}

TEST_CASE("a run that is asked to stop says how to go on, and goes on", "[cli][resume]") {
  TemporaryFolder folder;
  bool stopped = false;
  for (long after = 60000; !stopped && after < 2000000; after += 60000) {
    const auto run = vbon(tiny_align(folder / "run"), {.signal = SIGTERM, .after = after});
    if (run.code == 0) break;
    INFO(run.err);
    if (run.code == 128 + SIGTERM) continue;  // before main() could ask to be told
    CHECK(run.code == 130);
    CHECK(has(run.err, "same command goes on"));
    stopped = true;
  }
  CHECK(stopped);
  REQUIRE(vbon(tiny_align(folder / "run")).code == 0);
  check_equal_runs(folder / "run", finished_run());
}

TEST_CASE("a finished run and other settings are refused; --overwrite starts anew", "[cli][error]") {
  TemporaryFolder folder;
  REQUIRE(vbon(tiny_align(folder / "run")).code == 0);
  check_refused(vbon(tiny_align(folder / "run")), "vbon align", {"is finished", "--overwrite", (folder / "run").string()});
  check_refused(vbon(tiny_align(folder / "run", {"--n", "8"})), "vbon align", {"n = 4.0", "n = 8.0", "--overwrite"});
  CHECK(vbon(tiny_align(folder / "run", {"--overwrite"})).code == 0);
  check_equal_runs(folder / "run", finished_run());
}

TEST_CASE("a run is not resumed with other files behind the same names", "[cli][error][resume]") {
  const TemporaryFolder folder;
  for (const char* place : {"here", "there"}) {
    std::filesystem::create_directories(folder / place);
    std::filesystem::copy_file(tiny_prompts, folder / place / "prompts.jsonl");
    std::filesystem::copy_file(data_folder + "/tiny_lexicon.txt", folder / place / "words.txt");
  }
  const auto command = [&](const Arguments& more) { return tiny_align(folder / "run", more); };
  const Arguments prompts = {"--prompts", "prompts.jsonl"}, reward = {"--reward", "lexicon:words.txt"};
  const auto in = [&](const char* place, const Arguments& arguments, long kill_after = 0) {
    return vbon(arguments,
                {.signal = kill_after > 0 ? SIGKILL : 0, .after = kill_after, .folder = (folder / place).string()});
  };
  REQUIRE(in("here", command(prompts + reward + Arguments{"--steps", "1000"}), 400000).code == 128 + SIGKILL);
  REQUIRE(std::filesystem::exists(folder / "run/references.jsonl"));
  check_refused(in("there", command(prompts + reward + Arguments{"--steps", "1000"})), "vbon align",
                {"prompts = ", "there/prompts.jsonl", "--overwrite"});
  const Arguments first = {"--prompts", (folder / "here/prompts.jsonl").string()};
  check_refused(in("there", command(first + reward + Arguments{"--steps", "1000"})), "vbon align",
                {"reward = ", "there/words.txt", "--overwrite"});
  std::ofstream(folder / "here/prompts.jsonl", std::ios::app) << "{\"prompt\": \"one more\"}\n";
  check_refused(in("here", command(prompts + reward + Arguments{"--steps", "1000"})), "vbon align",
                {"content of prompts", "--overwrite"});
}

TEST_CASE("a command with a mistake in it does not cost the earlier run, --overwrite or not", "[cli][error]") {
  const TemporaryFolder folder;
  REQUIRE(vbon(tiny_align(folder / "run")).code == 0);
  const std::string out = (folder / "run").string();
  std::filesystem::copy_file(tiny_prompts, folder / "run/prompts.jsonl");
  const std::vector<Arguments> mistakes = {{"--reward", "lexicn:x", "unknown reward 'lexicn'"},
                                           {"--reward", "lexicon:/nowhere", "/nowhere"},
                                           {"--model", "/nowhere", "/nowhere"},
                                           {"--prompts", "/nowhere", "/nowhere"},
                                           {"--model", out + "/model", "--model"},
                                           {"--prompts", out + "/prompts.jsonl", "--prompts"},
                                           {"--objective", "pkpo:k=9", "pkpo"}};
  for (const auto& one : mistakes) {
    INFO(one[0] << " " << one[1]);
    check_refused(vbon(tiny_align(folder / "run", {"--overwrite", one[0], one[1]})), "vbon align", {one[2]});
    check_equal_runs(folder / "run", finished_run());
  }
}

TEST_CASE("settings that can never work are refused before a response is drawn", "[cli][error]") {
  const TemporaryFolder folder;
  const std::vector<Arguments> wrong = {{"--objective", "vbon:n=0", "vbon"},
                                        {"--objective", "vbon:n=nan", "vbon"},
                                        {"--objective", "pkpo:k=9", "[1, 4]"},
                                        {"--warm-objective", "grpo:epsilon=-1", "grpo"},
                                        {"--warm-objective", "quantile-regression:beta=0", "quantile_regression"},
                                        {"--samples", "1", "at least 2"}};
  for (const auto& one : wrong) {
    INFO(one[0] << " " << one[1]);
    check_refused(vbon(tiny_align(folder / "run", {one[0], one[1]})), "vbon align", {one[2]});
    CHECK_FALSE(std::filesystem::exists(folder / "run/references.jsonl"));
  }
}

TEST_CASE("a training that diverges says so, with the remedy", "[cli][error]") {
  const TemporaryFolder folder;
  check_refused(vbon(tiny_align(folder / "rate", {"--learning-rate", "1e12"})), "vbon align", {"lower the learning rate"});
  check_refused(vbon(tiny_align(folder / "decay", {"--weight-decay", "1e20"})), "vbon align", {"lower the learning rate"});
}

TEST_CASE("a report is written for rewards of any size", "[cli]") {
  for (const std::string words : {"1e20", "1e100", "1e308"}) {
    CAPTURE(words);
    const TemporaryFolder folder;
    const auto run = vbon(tiny_align(folder / "run", {"--reward", "length:" + words}));
    INFO(run.err);
    CHECK(run.code == 0);
    CHECK(std::filesystem::exists(folder / "run/report.html"));
  }
}

TEST_CASE("every objective of the main job aligns, with its options", "[cli]") {
  for (const std::string objective : {"vbon-bound:side=mid", "vbon_bound", "vbon:published=true"}) {
    TemporaryFolder folder;
    const auto run = vbon(tiny_align(folder / "run", {"--objective", objective, "--steps", "3", "--estimator", "add-one"}));
    INFO(objective << ": " << run.err);
    CHECK(run.code == 0);
  }
  for (const std::string objective : {"quantile-regression", "bon_sft"}) {
    TemporaryFolder folder;
    const auto run =
        vbon(tiny_align(folder / "run", {"--warm-objective", objective, "--steps", "2", "--warm-samples", "8"}));
    INFO(objective << ": " << run.err);
    CHECK(run.code == 0);
  }
}
}  // namespace vbon::test
