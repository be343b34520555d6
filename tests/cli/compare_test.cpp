#include <sstream>

#include "cli/support.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
namespace {
/// A comparison of a second or two: three methods, of which one learns from the cache and one has an anchor.
const Arguments three = {"vbon", "dpo:beta=0.2", "jbond"};
Arguments compares(const std::filesystem::path& out, const Arguments& methods = three, const Arguments& more = {}) {
  return Arguments{"compare", "--methods"} + methods +
         Arguments{"--model",
                   tiny_model,
                   "--reward",
                   tiny_reward,
                   "--prompts",
                   tiny_prompts,
                   "--out",
                   out.string(),
                   "--references",
                   "16",
                   "--steps",
                   "6",
                   "--step-prompts",
                   "8",
                   "--evaluation-samples",
                   "4",
                   "--evaluation-references",
                   "8",
                   "--max-new-tokens",
                   "12",
                   "--learning-rate",
                   "1e-3",
                   "--checkpoint-every",
                   "2",
                   "--threads",
                   "1",
                   "--quiet"} +
         more;
}
const std::filesystem::path& finished() {
  static const TemporaryFolder folder;
  static const std::filesystem::path path = folder / "comparison";
  static const Finished run = vbon(compares(path));
  INFO(run.err);
  REQUIRE(run.code == 0);
  return path;
}
void check_same(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const std::string name :
       {"references.jsonl", "held_out.jsonl", "compare.json", "compare.csv", "compare.md", "run.json",
        "methods/vbon/metrics.jsonl", "methods/vbon/report.json", "methods/dpo-beta-0.2/metrics.csv",
        "methods/dpo-beta-0.2/report.json", "methods/jbond/metrics.jsonl", "methods/jbond/report.json"}) {
    INFO(name);
    REQUIRE(std::filesystem::exists(a / name));
    REQUIRE(std::filesystem::exists(b / name));
    CHECK(text_of(a / name) == text_of(b / name));
  }
}
}  // namespace

TEST_CASE("compare trains each method from the same start and writes one table", "[cli]") {
  const auto& run = finished();
  for (const char* name : {"compare.html", "plots/frontier.gp", "times.json", "methods/vbon/timing.jsonl"})
    CHECK(std::filesystem::exists(run / name));
  CHECK_FALSE(std::filesystem::exists(run / "methods/vbon/checkpoint.0"));
  CHECK_FALSE(std::filesystem::exists(run / "methods/vbon/model"));
  const auto json = io::Json::parse(text_of(run / "compare.json"));
  REQUIRE(json.at("methods").size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& method = json.at("methods")[i];
    CHECK(method.at("name") == three[i]);
    CHECK(method.at("kl").at("value").get<double>() > 0);
    CHECK(method.at("win_rate_per_prompt").size() == json.at("prompts").get<std::size_t>());
    CHECK(method.at("lead_over_first").at("value").is_null() == (i == 0));
  }
  // 6 steps of 8 prompts: vbon scores 4 of the policy each, dpo none, jbond as many and 2 of the anchor.
  const auto& methods = json.at("methods");
  CHECK(methods[0].at("reward_calls") == 192);
  CHECK(methods[1].at("reward_calls") == 0);
  CHECK(methods[1].at("sampled_tokens") == 0);
  CHECK(methods[2].at("reward_calls") == 288);
  CHECK(methods[2].at("sampled_tokens").get<double>() > methods[0].at("sampled_tokens").get<double>());
  CHECK(json.at("best_of_n").at("win_rate").at("value").get<double>() > 0.6);

  const auto csv = text_of(run / "compare.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 6);  // headings, reference, best-of-N, three methods
  // Only the KL of best-of-N is a bound, not an estimate.
  const auto marks_a_bound = [&](const std::string& row) {
    const auto at = csv.find("\n" + row + ",");
    REQUIRE(at != csv.npos);
    std::istringstream cells(csv.substr(at + 1, csv.find('\n', at + 1) - at - 1));
    std::string cell;
    for (int column = 0; column < 10; ++column) std::getline(cells, cell, ',');
    return cell;
  };
  CHECK(marks_a_bound("best of 4") == "1");
  for (const auto& name : three) CHECK(marks_a_bound(name) == "0");
  const auto page = text_of(run / "compare.html");
  for (const auto& name : three) {
    CHECK(has(csv, "\n" + name + ","));
    CHECK(has(page, name));
    CHECK(has(text_of(run / "compare.md"), "| " + name + " |"));
  }
  CHECK_FALSE(has(page, "src="));
}

TEST_CASE("a comparison does not depend on the number of threads", "[cli]") {
  const TemporaryFolder folder;
  const auto run = vbon(compares(folder / "two", three, {"--threads", "2"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  for (const auto& name : three) CHECK(has(run.out, name));
  CHECK(has(run.out, "best of 4"));
  check_same(folder / "two", finished());
}

TEST_CASE("a method of a comparison is the run that align makes of it", "[cli]") {
  const TemporaryFolder folder;
  auto arguments = compares(folder / "run", {}, {"--warm-steps", "0"});
  arguments[0] = "align", arguments[1] = "--objective";
  arguments.insert(arguments.begin() + 2, "jbond");
  REQUIRE(vbon(arguments).code == 0);
  CHECK(text_of(folder / "run/metrics.jsonl") == text_of(finished() / "methods/jbond/metrics.jsonl"));
  CHECK(text_of(folder / "run/references.jsonl") == text_of(finished() / "references.jsonl"));
}

TEST_CASE("a comparison killed again and again ends like one that was not", "[cli][resume]") {
  const TemporaryFolder folder;
  kill_until_it_ends(compares(folder / "run"), KillTimes(compares(folder / "whole")));
  check_same(folder / "run", finished());
}

TEST_CASE("a method that fails is told in the table, the others go on", "[cli][error]") {
  const TemporaryFolder folder;
  const Arguments methods = {"vbon", "rloo:beta=1e300", "dpo:beta=0.2"};
  for (int attempt = 0; attempt < 2; ++attempt) {  // the second one meets the methods that are done
    check_refused(vbon(compares(folder / "run", methods)), "vbon compare",
                  {"1 of 3 methods failed", "rloo:beta=1e300", "lower the learning rate"});
    const auto json = io::Json::parse(text_of(folder / "run/compare.json"));
    CHECK(has(json.at("methods")[1].at("error").get<std::string>(), "lower the learning rate"));
    const auto good = io::Json::parse(text_of(finished() / "compare.json"));
    CHECK(json.at("methods")[0] == good.at("methods")[0]);
    CHECK(json.at("methods")[2] == good.at("methods")[1]);
    CHECK(has(text_of(folder / "run/compare.html"), "lower the learning rate"));
  }
}

TEST_CASE("what cannot be compared is refused before anything is loaded", "[cli][error]") {
  const TemporaryFolder folder;
  check_refused(vbon(compares(folder / "run", {"vbon", "rlo"})), "vbon compare",
                {"unknown objective 'rlo'", "rloo", "wind"});
  check_refused(vbon(compares(folder / "run", {"vbon", "pkpo:k=9"})), "vbon compare", {"pkpo", "[1, 4]"});
  check_refused(vbon(compares(folder / "run", {"vbon_bound", "vbon-bound"})), "vbon compare", {"are the same method"});
  check_refused(vbon(compares(folder / "run", three, {"--samples", "1"})), "vbon compare", {"at least 2"});
  check_refused(vbon(compares(folder / "run", three, {"--objective", "vbon"})), "vbon compare", {"--objective"});
  CHECK_FALSE(std::filesystem::exists(folder / "run/run.json"));
}

TEST_CASE("a finished comparison is refused; --overwrite starts anew, models are kept where asked for", "[cli]") {
  const TemporaryFolder folder;
  const Arguments one = {"vbon"};
  REQUIRE(vbon(compares(folder / "run", {"bon_sft"}, {"--save-models"})).code == 0);
  CHECK(std::filesystem::exists(folder / "run/methods/bon-sft/model/model.safetensors"));
  check_refused(vbon(compares(folder / "run", {"bon_sft"}, {"--save-models"})), "vbon compare", {"is finished"});
  check_refused(vbon(compares(folder / "run", one)), "vbon compare", {"methods", "--overwrite"});
  CHECK(vbon(compares(folder / "run", one, {"--overwrite"})).code == 0);
  CHECK_FALSE(std::filesystem::exists(folder / "run/methods/bon-sft"));
}

TEST_CASE("methods are compared as adapters on shared weights too", "[cli]") {
  const TemporaryFolder folder;
  const auto run = vbon(compares(folder / "run", {"vbon", "jbond"}, {"--lora-rank", "2", "--save-models"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  for (const char* name : {"vbon/adapter/adapter_model.safetensors", "jbond/model/model.safetensors"})
    CHECK(std::filesystem::exists(folder / "run/methods" / name));
  const auto methods = io::Json::parse(text_of(folder / "run/compare.json")).at("methods");
  for (const auto& method : methods) CHECK(method.at("kl").at("value").get<double>() > 0);
}

TEST_CASE("with exact gradients every method ends at its optimum", "[cli]") {
  const auto run = vbon({"compare", "--tabular", "--outcomes", "6", "--seed", "3", "--threads", "1"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  std::istringstream lines(run.out);
  std::string line;
  std::getline(lines, line);
  CHECK(has(line, "KL(pi || optimum)"));
  std::vector<std::string> names;
  while (std::getline(lines, line)) {
    INFO(line);
    std::istringstream words(line.substr(line.starts_with("best of 4") ? 9 : line.find(' ')));
    double there = 1, back = 1;
    words >> there >> back;
    CHECK(std::abs(there) <= 1e-3);
    CHECK(std::abs(back) <= 1e-3);
    CHECK_FALSE(has(line, "not settled"));
    names.push_back(line.substr(0, line.find_first_of(": ")));
  }
  for (const char* name : {"best", "vbon", "vbon_bound", "vbon_ppo", "ppo", "reinforce", "rloo", "bond", "jbond", "bonbon",
                           "dpo", "ipo", "bon_sft", "quantile_regression", "wind", "pkpo", "infalign"}) {
    CAPTURE(name);
    CHECK(std::count(names.begin(), names.end(), name) >= 1);
  }
  CHECK(std::count(names.begin(), names.end(), "vbon_bound") == 3);
}

TEST_CASE("the exact comparison takes a real N and leaves a table and a picture", "[cli]") {
  const TemporaryFolder folder;
  const Arguments command = {"compare",
                             "--tabular",
                             "--methods",
                             "vbon",
                             "vbon_bound:side=mid",
                             "--n",
                             "2.5",
                             "--out",
                             (folder / "exact").string()};
  const auto run = vbon(command);
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto json = io::Json::parse(text_of(folder / "exact/compare.json"));
  CHECK(json.at("n") == 2.5);
  for (const auto& method : json.at("methods")) {
    CHECK(method.at("from_optimum").get<double>() < 1e-3);
    CHECK(method.at("win_rate").at("value").get<double>() > 0.6);
  }
  CHECK(has(text_of(folder / "exact/compare.csv"), "from_optimum"));
  CHECK(has(text_of(folder / "exact/compare.html"), "exact gradients"));
  check_refused(vbon(command), "vbon compare", {"finished", "--overwrite"});
  CHECK(vbon(command + Arguments{"--overwrite"}).code == 0);
}

TEST_CASE("decoders stand beside trained methods, and come back from a kill", "[cli][resume]") {
  const TemporaryFolder folder;
  const Arguments both = {"best_of_n:n=4", "rloo:beta=0.1", "smc:particles=4", "majority_vote:n=3"};
  const auto run = vbon(compares(folder / "c", both));
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(has(run.out, "smc:particles=4"));
  const auto json = io::Json::parse(text_of(folder / "c/compare.json"));
  const auto& rows_of = json.at("methods");
  REQUIRE(rows_of.size() == 4);
  const auto prompts = json.at("prompts").get<double>();
  // 4 responses to each prompt, each the best of 4 draws; nothing is known of the law.
  CHECK(rows_of[0].at("reward_calls") == 16 * prompts);
  CHECK(rows_of[0].at("kl").at("value").is_null());
  CHECK(rows_of[0].at("win_rate").at("value").get<double>() > 0.52);
  CHECK(rows_of[1].at("kl").at("value").is_number());
  CHECK(rows_of[1].at("best_of_n_win_rate").at("value").is_number());
  CHECK(has(text_of(folder / "c/plots/frontier.gp"), "smc:particles=4, KL not known"));
  const auto decoded = rows(text_of(folder / "c/methods/smc-particles-4/decoded.jsonl"));
  REQUIRE(decoded.size() == static_cast<std::size_t>(prompts));
  CHECK(decoded[0].at("responses").size() == 4);

  // The file of a decoder cut within a line: what is whole stays, the rest comes again, the same bytes.
  REQUIRE(vbon(compares(folder / "d", both)).code == 0);
  const auto file = folder / "d/methods/smc-particles-4/decoded.jsonl";
  const std::string all = text_of(file);
  std::filesystem::remove(folder / "d/methods/smc-particles-4/report.json");
  auto state = io::read_json(folder / "d/run.json");
  state["finished"] = false;
  io::write_file_atomically(folder / "d/run.json", state.dump(1) + "\n");
  std::filesystem::resize_file(file, all.size() / 2);
  REQUIRE(vbon(compares(folder / "d", both)).code == 0);
  CHECK(text_of(file) == all);
  CHECK(text_of(folder / "d/compare.json") == text_of(folder / "c/compare.json"));

  check_refused(vbon(compares(folder / "e", {"smcc"})), "vbon compare", {"unknown objective 'smcc'", "decoders: ", "smc"});
  check_refused(vbon(compares(folder / "e", {"smc:particles=0"})), "vbon compare", {"particles"});
  check_refused(vbon({"compare", "--tabular", "--methods", "smc"}), "vbon compare",
                {"'smc' is a decoder", "without --tabular"});
}

TEST_CASE("the exact comparison takes settings and refuses methods without an optimum", "[cli][error]") {
  const auto run = vbon({"compare", "--tabular", "--methods", "rloo:beta=1", "vbon", "--n", "2", "--outcomes", "5"});
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(has(run.out, "rloo:beta=1"));
  CHECK(has(run.out, "best of 2"));
  CHECK_FALSE(has(run.out, "jbond"));
  check_refused(vbon({"compare", "--tabular", "--methods", "grpo"}), "vbon compare", {"grpo", "known: ", "rloo"});
  check_refused(vbon({"compare", "--tabular", "--methods", "dpo"}), "vbon compare", {"pairs=bradley_terry"});
  check_refused(vbon({"compare", "--tabular", "--methods", "rlo"}), "vbon compare", {"unknown objective 'rlo'"});
  check_refused(vbon({"compare", "--tabular", "--methods", "bond", "--n", "2.5"}), "vbon compare",
                {"takes a whole N in [1, 1000000], got 2.5", "bond:forward_n=WHOLE"});
  for (const char* spec :
       {"jbond:gamma=inf", "rloo:beta=inf", "wind:eta=inf", "ipo:beta=inf", "dpo:beta=inf,pairs=bradley_terry"})
    check_refused(vbon({"compare", "--tabular", "--methods", spec}), "vbon compare", {"finite expected, got inf"});
  for (const char* n : {"inf", "1e300", "-inf", "2.5"})
    check_refused(vbon({"compare", "--tabular", "--methods", std::string("bond:n=") + n}), "vbon compare",
                  {"takes a whole N", std::string("got ") + n});
  CHECK(vbon({"compare", "--tabular", "--methods", "bond:forward_n=3", "bond:n=2.5,forward_n=2", "--n", "2.5", "--outcomes",
              "5"})
            .code == 0);
  CHECK(vbon({"compare", "--tabular", "--n", "2.5", "--outcomes", "5"}).code == 0);
  CHECK(vbon({"compare", "--tabular", "--n", "1", "--outcomes", "5"}).code == 0);
  check_refused(vbon({"compare", "--tabular", "--n", "0.5"}), "vbon compare", {"--n"});
  check_refused(vbon({"compare", "--tabular", "--steps", "3"}), "vbon compare", {"--tabular does not read --steps"});
  check_refused(vbon({"compare", "--outcomes", "6"}), "vbon compare", {"--outcomes is for --tabular"});
  check_refused(vbon({"compare", "--tabular", "--outcomes", "1"}), "vbon compare", {"--outcomes"});
}
}  // namespace vbon::test
