#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/support.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
namespace {
const Arguments sample = {"sample", "--model", tiny_model, "--quiet"};
}  // namespace

TEST_CASE("the same seed samples the same texts, with hyphens or underscores, on any number of threads", "[cli]") {
  const auto a =
      vbon(sample + Arguments{"--prompt", "the film", "--samples", "5", "--max-new-tokens", "8", "--threads", "1"});
  const auto b = vbon(sample + Arguments{"--prompt", "the film", "--samples", "5", "--max_new_tokens=8", "--threads", "2"});
  const auto c = vbon(sample + Arguments{"--prompt", "the film", "--samples", "5", "--max-new-tokens", "8", "--seed", "2"});
  INFO(a.err);
  CHECK(a.code == 0);
  CHECK(a.out == b.out);
  CHECK(a.out != c.out);
}

TEST_CASE("sample prints JSON lines that are a reference cache", "[cli]") {
  TemporaryFolder folder;
  const auto run = vbon(sample + Arguments{"--prompts", tiny_prompts, "--samples", "3", "--max-new-tokens", "6", "--json",
                                           "--reward", tiny_reward});
  INFO(run.err);
  REQUIRE(run.code == 0);
  for (const auto& row : rows(run.out)) {
    CHECK(row["log_prob"].get<double>() < 0);
    CHECK(row["tokens"].get<int>() <= 6);
    CHECK(row["reward"].is_number());
  }
  std::ofstream(folder / "cache.jsonl") << run.out;
  CHECK(has(vbon({"inspect", (folder / "cache.jsonl").string()}).out, "prompts"));
}

TEST_CASE("sampling options do what they say", "[cli]") {
  const Arguments prompt = {"--prompt", "the film", "--samples", "6", "--max-new-tokens", "8", "--json"};
  const auto greedy = rows(vbon(sample + prompt + Arguments{"--greedy"}).out);
  for (const auto& row : greedy) CHECK(row["text"] == greedy[0]["text"]);
  const auto top1 = rows(vbon(sample + prompt + Arguments{"--top-k", "1"}).out);
  for (const auto& row : top1) CHECK(row["text"] == greedy[0]["text"]);
  for (const auto& row : rows(vbon(sample + prompt + Arguments{"--min-new-tokens", "8"}).out)) CHECK(row["tokens"] == 8);
  check_refused(vbon(sample + prompt + Arguments{"--top-p", "1.5"}), "vbon sample", {"top_p", "1.5"});
}

TEST_CASE("a chat message goes through the model's template", "[cli]") {
  const auto run = vbon(sample + Arguments{"--chat", "the film", "--max-new-tokens", "4", "--json"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(rows(run.out)[0]["prompt"] == "<|user|>the film<|assistant|>");
}

TEST_CASE("score prints the reward of each text", "[cli]") {
  TemporaryFolder folder;
  const auto run = vbon({"score", "--reward", tiny_reward, "--text", "a good film", "--text", "the bad film", "--quiet"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto scored = rows(run.out);
  CHECK(scored[0]["reward"] == 2.1);
  CHECK(scored[1]["reward"] == -1.75);
  std::ofstream(folder / "in.jsonl")
      << "{\"prompt\":\"p\",\"response\":\"great\"}\n{\"prompt\":\"q\",\"responses\":[\"dull\",\"fine\"]}\n";
  const auto many = rows(vbon({"score", "--reward", tiny_reward, "--input", (folder / "in.jsonl").string(), "--quiet"}).out);
  REQUIRE(many.size() == 3);
  CHECK(many[0]["reward"] == 3);
  CHECK(many[1]["reward"] == -1);
  CHECK(many[2]["prompt"] == "q");
}

TEST_CASE("a model evaluated against itself wins half at no divergence", "[cli]") {
  TemporaryFolder folder;
  const auto run =
      vbon({"evaluate", "--model", tiny_model, "--reference", tiny_model, "--reward", tiny_reward, "--prompts", tiny_prompts,
            "--out", (folder / "e").string(), "--samples", "16", "--references", "16", "--max-new-tokens", "8", "--quiet"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto report = nlohmann::json::parse(text_of(folder / "e" / "report.json"));
  CHECK(report["kl"]["value"] == 0.0);
  CHECK(report["win_rate"]["low_95"] < 0.5);
  CHECK(report["win_rate"]["high_95"] > 0.5);
  CHECK(report["best_of_n"]["win_rate"]["value"] > 0.6);
  CHECK(has(text_of(folder / "e" / "report.html"), "</html>"));
}

TEST_CASE("an evaluation folder belongs to its settings", "[cli][error][resume]") {
  const TemporaryFolder folder;
  const auto evaluate = [&](const Arguments& more) {
    return vbon(Arguments{"evaluate", "--model", tiny_model, "--reference", tiny_model, "--prompts", tiny_prompts,
                          "--reward", "length:5", "--max-new-tokens", "6", "--samples", "2", "--references", "4", "--quiet",
                          "--out", (folder / "e").string()} +
                more);
  };
  REQUIRE(evaluate({}).code == 0);
  check_refused(evaluate({}), "vbon evaluate", {"is finished", "--overwrite"});
  check_refused(evaluate({"--reward", tiny_reward}), "vbon evaluate", {"reward = ", "length:5", "lexicon", "--overwrite"});
  check_refused(evaluate({"--seed", "2"}), "vbon evaluate", {"seed = 1", "seed = 2"});
  CHECK(evaluate({"--overwrite", "--seed", "2"}).code == 0);
  REQUIRE(vbon(tiny_align(folder / "run")).code == 0);
  const auto report = text_of(folder / "run/report.json");
  check_refused(evaluate({"--overwrite", "--out", (folder / "run").string()}), "vbon evaluate",
                {"a run of 'vbon align'", "another --out"});
  CHECK(text_of(folder / "run/report.json") == report);
  for (const Arguments& wrong : {Arguments{"--n", "nan"}, Arguments{"--n", "0"}, Arguments{"--temperature", "0"},
                                 Arguments{"--samples", "0"}, Arguments{"--references", "1"}, Arguments{"--count", "-1"}}) {
    INFO(wrong[0]);
    check_refused(evaluate(wrong), "vbon evaluate", wrong);
  }
}

TEST_CASE("a reward is judged on pairs and tuples", "[cli]") {
  const TemporaryFolder folder;
  const auto file = (folder / "judged.jsonl").string();
  const auto judge = [&](const std::string& text) {
    std::ofstream(file) << text;
    return vbon(
        {"evaluate-reward", "--reward", "length:100", "--data", file, "--quiet"});  // near 100 words: longer is better
  };
  const auto run = judge(R"({"prompt": "p", "chosen": "one two three", "rejected": "one"}
{"prompt": "p", "chosen": "one", "rejected": "one two"}
{"prompt": "p", "chosen": "one", "rejected": "two", "margin": 0.5}
{"prompt": "p", "best": "one two three", "losers": ["one", "one two"], "category": "long"}
{"prompt": "p", "best": "one", "losers": ["a", "one two"], "category": "short"}
)");
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto json = io::Json::parse(run.out);
  CHECK(json["pairwise"]["pairs"] == 3);
  CHECK(json["pairwise"]["accuracy"].get<double>() == Approx(1.0 / 3));
  CHECK(json["pairwise"]["accuracy_half_ties"].get<double>() == Approx(0.5));
  CHECK(json["best_of_n"]["accuracy"].get<double>() == Approx(0.5));
  CHECK(json["best_of_n"]["pairwise_accuracy"].get<double>() == Approx(0.5));
  CHECK(json["best_of_n"]["by_category"]["long"] == 1.0);
  CHECK(json["best_of_n"]["by_category"]["short"] == 0.0);
  check_refused(judge("{\"prompt\": \"p\", \"chosen\": \"a\"}\n"), "vbon evaluate-reward",
                {"line 1", "\"rejected\" is missing"});
  check_refused(judge("{\"prompt\": \"p\", \"best\": \"a\", \"losers\": []}\n"), "vbon evaluate-reward",
                {"line 1", "\"losers\""});
  check_refused(judge("{\"prompt\": \"p\", \"best\": \"a\", \"losers\": [\"b\"], \"x\": 1}\n"), "vbon evaluate-reward",
                {"line 1", "\"x\" is unknown"});
  check_refused(judge(""), "vbon evaluate-reward", {"no line"});

  const auto published = judge(
      R"({"bon_uid": 3, "category_path": "help/chat", "conversation_input": [{"role": "user", "content": "p"}], "bon_best": {"answer": "one two three", "llm_name": "a"}, "loser_list": [{"answer": "one", "llm_name": "b"}, {"answer": "one two"}]}
{"pair_uid": 4, "conversation_input": [{"role": "user", "content": "p"}], "chosen": {"answer": "one two"}, "reject": {"answer": "one"}}
)");
  INFO(published.err);
  REQUIRE(published.code == 0);
  const auto rmb = io::Json::parse(published.out);
  CHECK(rmb["pairwise"]["accuracy"] == 1.0);
  CHECK(rmb["best_of_n"]["by_category"]["help/chat"] == 1.0);
  check_refused(judge(R"({"conversation_input": "p", "bon_best": "one", "loser_list": [{"answer": "a"}]})"
                      "\n"),
                "vbon evaluate-reward", {"line 1: bon_best", "\"answer\""});
  check_refused(judge(R"({"conversation_input": "p", "bon_best": {"answer": "a"}, "loser_list": [{"text": "a"}]})"
                      "\n"),
                "vbon evaluate-reward", {"line 1: loser_list: 1", "answer"});
}

TEST_CASE("infinite rewards stand as texts in JSON lines, and inspect reads them", "[cli]") {
  TemporaryFolder folder;
  std::ofstream(folder / "reward.sh")
      << "while read -r l; do id=${l#*:}; id=${id%%,*}; case $((id%3)) in 0) r='\"inf\"';; 1) r=-Infinity;; *) r=2;; esac\n"
         "echo \"{\\\"id\\\":$id,\\\"reward\\\":$r}\"; done\n";
  const std::string reward = "process:sh " + (folder / "reward.sh").string();
  const auto run = vbon(
      sample + Arguments{"--prompt", "the film", "--samples", "3", "--max-new-tokens", "4", "--json", "--reward", reward});
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto drawn = rows(run.out);
  CHECK(drawn[0]["reward"] == "inf");
  CHECK(drawn[1]["reward"] == "-inf");
  CHECK(drawn[2]["reward"] == 2);
  std::ofstream(folder / "cache.jsonl") << run.out;
  const auto told = vbon({"inspect", (folder / "cache.jsonl").string()});
  CHECK(told.code == 0);
  CHECK(has(told.out, "3, mean reward 2 without the infinite ones, 2 infinite"));
  const auto scored = vbon({"score", "--reward", reward, "--text", "a", "--text", "b"});
  CHECK(rows(scored.out)[1]["reward"] == "-inf");
  CHECK(has(scored.err, "no mean reward, from -inf to inf"));
}

TEST_CASE("every byte of a text is printed", "[cli]") {
  TemporaryFolder folder;
  std::ofstream(folder / "prompts.jsonl") << "{\"prompt\":\"the\\u0000film\"}\n";
  const auto run = vbon(sample + Arguments{"--prompts", (folder / "prompts.jsonl").string(), "--max-new-tokens", "4"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(run.out.starts_with(std::string("the\0film", 8)));
}

TEST_CASE("a text at the target length has the reward 0, without a sign", "[cli]") {
  CHECK(has(vbon({"score", "--reward", "length:2", "--text", "two words", "--quiet"}).out, "\"reward\":0.0"));
}

TEST_CASE("prompts that stand twice count once, and one prompt has no interval", "[cli]") {
  TemporaryFolder folder;
  std::ofstream(folder / "p.jsonl") << "{\"prompt\":\"the film\"}\n{\"prompt\":\"the film\"}\n{\"prompt\":\"the film\"}\n";
  const auto run = vbon({"evaluate", "--model", tiny_model, "--reference", tiny_model, "--reward", tiny_reward, "--prompts",
                         (folder / "p.jsonl").string(), "--out", (folder / "e").string(), "--max-new-tokens", "8"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(has(run.err, "p.jsonl: 2 of 3 prompts stand there a second time"));
  CHECK(has(run.out, "no interval: one prompt"));
  CHECK(has(run.out, "efficiency -: none below a KL of 0.05 nats"));
  const auto report = nlohmann::json::parse(text_of(folder / "e" / "report.json"));
  CHECK(report["prompts"] == 1);
  CHECK(report["win_rate"]["low_95"].is_null());
  CHECK(report["win_rate"]["high_95"].is_null());
  CHECK(report["kl"]["standard_error"].is_null());
  CHECK(report["efficiency"].is_null());
  CHECK(has(text_of(folder / "e" / "report.html"), "no interval: one prompt"));
}
}  // namespace vbon::test
