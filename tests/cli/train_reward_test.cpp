#include <cmath>
#include <sstream>

#include "cli/support.hpp"
#include "support/film_data.hpp"
#include "support/tiny_encoder.hpp"

namespace vbon::test {
namespace {
const std::vector<std::string> kept_files = {
    "metrics.jsonl",           "metrics.csv",         "report.json", "run.json", "model/config.json",
    "model/model.safetensors", "model/tokenizer.json"};

/// Checkpoints and data that the cases share.
struct World {
  TemporaryFolder folder;
  std::string encoder = (folder / "encoder").string(), scores = (folder / "scores.jsonl").string(),
              pairs = (folder / "pairs.jsonl").string();
  World() {
    save_tiny_encoder(encoder, "distilbert");
    write_film_scores(scores);
    write_film_pairs(pairs);
  }
};
const World& world() {
  static const World one;
  return one;
}
Arguments training(const std::string& model, const std::filesystem::path& out, const Arguments& more = {}) {
  return Arguments{
             "train-reward",       "--model", model,       "--out", out.string(), "--batch", "12", "--learning-rate", "3e-3",
             "--checkpoint-every", "3",       "--threads", "1",     "--quiet"} +
         more;
}
Arguments on_pairs(const Arguments& more = {}) { return Arguments{"--pairs", world().pairs} + more; }
Arguments on_scores(const Arguments& more = {}) { return Arguments{"--scores", world().scores} + more; }

io::Json report_of(const Finished& run) {
  INFO(run.err);
  REQUIRE(run.code == 0);
  return io::parse_json(run.out, "report");
}
void check_equal_files(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const auto& name : kept_files) {
    CAPTURE(name);
    REQUIRE(std::filesystem::exists(a / name));
    CHECK(text_of(a / name) == text_of(b / name));
  }
}
std::vector<double> rewards(const std::filesystem::path& model, const std::string& input) {
  const auto run = vbon({"score", "--reward", "classifier:" + model.string(), "--input", input, "--quiet"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  std::vector<double> values;
  io::parse_jsonl(run.out, "scores", [&](const io::Json& row, std::size_t) { values.push_back(row.at("reward")); });
  return values;
}
std::string write_lines(const std::filesystem::path& path, const std::string& text) {
  io::write_file_atomically(path, text);
  return path.string();
}
}  // namespace

TEST_CASE("a reward trained on pairs prefers the chosen ones, and scores as it was measured", "[cli][train_reward]") {
  const TemporaryFolder folder;
  const std::string model = GENERATE(world().encoder, tiny_model);
  CAPTURE(model);
  const auto report = report_of(vbon(
      training(model, folder / "run", on_pairs({"--steps", "60", "--held-out", world().pairs, "--centering", "0.01"}))));
  CHECK(report.at("held_out").at("accuracy") == 1);
  CHECK(report.at("examples") == 24);
  CHECK(report.at("steps") == 60);
  const auto judged = vbon(
      {"evaluate-reward", "--reward", "classifier:" + (folder / "run/model").string(), "--data", world().pairs, "--quiet"});
  INFO(judged.err);
  REQUIRE(judged.code == 0);
  const auto pairwise = io::parse_json(judged.out, "judged").at("pairwise");
  CHECK(pairwise.at("accuracy") == 1);
  CHECK(pairwise.at("mean_margin").get<double>() == Approx(report.at("held_out").at("margin").get<double>()).epsilon(1e-9));
  for (const char* left : {"checkpoint.0", "checkpoint.1"}) CHECK_FALSE(std::filesystem::exists(folder / "run" / left));
}

TEST_CASE("a reward trained on scores gives them back through vbon score", "[cli][train_reward]") {
  const TemporaryFolder folder;
  const auto report = report_of(
      vbon(training(world().encoder, folder / "run", on_scores({"--steps", "120", "--held-out", world().scores}))));
  CHECK(report.at("held_out").at("pearson") > 0.95);
  const auto got = rewards(folder / "run/model", world().scores);
  REQUIRE(got.size() == 48);
  double squares = 0, sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    squares += std::pow(got[i] - (i % 2 == 0 ? 1 : -1), 2) / 48;
    sum += got[i] / 48;
  }
  CHECK(squares == Approx(report.at("held_out").at("loss").get<double>()).epsilon(1e-9));
  CHECK(sum == Approx(report.at("held_out").at("reward").get<double>()).margin(1e-9));
  CHECK(io::read_json(folder / "run/model/config.json").at("problem_type") == "regression");
}

TEST_CASE("the logistic loss learns a threshold, on a new head and on one with two outputs", "[cli][train_reward]") {
  const TemporaryFolder folder;
  save_tiny_encoder(folder / "two", "bert", 2);
  for (const auto& [model, problem] : {std::pair{world().encoder, "multi_label_classification"},
                                       {(folder / "two").string(), "single_label_classification"}}) {
    CAPTURE(model);
    const auto out = folder / ("run " + std::string(problem));
    const auto report = report_of(vbon(training(
        model, out, on_scores({"--loss", "logistic", "--threshold", "0", "--steps", "120", "--held-out", world().scores}))));
    CHECK(report.at("held_out").at("accuracy") == 1);
    CHECK(io::read_json(out / "model/config.json").at("problem_type") == problem);
    CHECK(rewards(out / "model", world().scores).front() > 0);
  }
}

TEST_CASE("a run that is killed ends with the bytes of one that is not, on any number of threads",
          "[cli][train_reward][resume]") {
  const TemporaryFolder folder;
  const Arguments head = GENERATE(Arguments{}, Arguments{"--head-only"});
  const auto flags = on_pairs({"--steps", "40", "--evaluate-every", "7", "--held-out-share", "0.3"}) + head;
  for (const std::string& model : {world().encoder, tiny_model}) {
    const auto name = std::filesystem::path(model).filename().string();
    CAPTURE(name, head.size());
    const auto whole = folder / (name + " whole"), threads = folder / (name + " threads"),
               parts = folder / (name + " parts");
    const KillTimes time(training(model, whole, flags));
    report_of(vbon(training(model, threads, flags + Arguments{"--threads", "2"})));
    check_equal_files(threads, whole);
    kill_until_it_ends(training(model, parts, flags), time, 1);
    check_equal_files(parts, whole);
  }
}

TEST_CASE("conversations go through the chat template, and texts that are too long are told", "[cli][train_reward]") {
  const TemporaryFolder folder;
  std::string chosen = "the film is good", lines;
  for (int i = 0; i < 6; ++i) {
    lines +=
        R"({"prompt": [{"role": "user", "content": "is the film fine"}], "chosen": [{"role": "assistant", "content": ")" +
        chosen + R"("}], "rejected": [{"role": "assistant", "content": "the film is bad"}], "margin": 0.5})" + "\n";
    chosen += " and good";
  }
  // TRL's implicit prompt: chosen and rejected hold it.
  lines +=
      R"({"chosen": [{"role": "user", "content": "is it fine"}, {"role": "assistant", "content": "good"}], "rejected": )"
      R"([{"role": "user", "content": "is it fine"}, {"role": "assistant", "content": "bad"}]})"
      "\n";
  const auto data = write_lines(folder / "chats.jsonl", lines);
  auto arguments = training(tiny_model, folder / "run", {"--pairs", data, "--steps", "2", "--held-out-share", "0"});
  std::erase(arguments, "--quiet");
  const auto run = vbon(arguments + Arguments{"--max-length", "16", "--end-token"});
  report_of(run);
  CHECK(has(run.err, "texts are longer than 16 tokens"));
  CHECK(has(run.err, "a new head"));
  const auto dropped = vbon(arguments + Arguments{"--max-length", "16", "--too-long", "drop", "--overwrite"});
  report_of(dropped);
  CHECK(has(dropped.err, "are left out"));
  check_refused(vbon(training(tiny_model, folder / "long", {"--pairs", data, "--max-length", "65"})), "vbon train-reward",
                {"--max-length up to 64", "65"});
}

TEST_CASE("lines that cannot be trained on are refused by line and key, and no run is begun", "[cli][train_reward][error]") {
  const TemporaryFolder folder;
  const std::string good_pair = R"({"prompt": "p", "chosen": "good", "rejected": "bad"})",
                    good_score = R"({"text": "good", "score": 1})";
  struct Bad {
    std::string flag, lines;
    Arguments parts;
  };
  const std::vector<Bad> wrong = {
      {"--pairs", good_pair + "\n" + R"({"prompt": "p", "chosen": "a"})", {"line 2", "\"rejected\" is missing"}},
      {"--pairs",
       good_pair + "\n\n" + R"({"prompt": "p", "chosen": "a", "rejected": "b", "margn": 1})",
       {"line 3", "\"margn\" is unknown", "margin"}},
      {"--pairs", R"({"prompt": "p", "chosen": 4, "rejected": "b"})", {"line 1", "\"chosen\"", "string"}},
      {"--pairs", R"({"prompt": "p", "chosen": "a", "rejected": "b", "margin": "1"})", {"line 1", "margin", "number"}},
      {"--scores", good_score + "\n" + R"({"text": "bad", "score": NaN})", {"line 2", "byte"}},
      {"--scores", good_score + "\n" + R"({"text": "bad", "score": null})", {"line 2", "score"}},
      {"--scores", R"({"prompt": "p", "text": "bad", "score": 1})", {"line 1", "\"prompt\" is unknown"}},
      {"--scores", R"({"response": "bad", "score": 1})", {"line 1", "\"prompt\" is missing"}},
      {"--scores", "", {"no line with a text and its score"}},
      {"--pairs", "", {"no line with a preference"}},
      {"--pairs", "[1]", {"line 1", "an object expected"}}};
  for (const auto& bad : wrong) {
    CAPTURE(bad.lines);
    const auto data = write_lines(folder / "bad.jsonl", bad.lines);
    check_refused(vbon(training(world().encoder, folder / "run", {bad.flag, data})), "vbon train-reward",
                  Arguments{"bad.jsonl"} + bad.parts);
    CHECK_FALSE(std::filesystem::exists(folder / "run/run.json"));
  }
  check_refused(vbon(training(world().encoder, folder / "run", on_scores({"--loss", "logistic"}))), "vbon train-reward",
                {"scores.jsonl", "line 2", "-1", "--threshold"});
  check_refused(vbon(training(world().encoder, folder / "run", {"--pairs", (folder / "none.jsonl").string()})),
                "vbon train-reward", {"none.jsonl"});
}

TEST_CASE("settings that cannot be are refused by flag", "[cli][train_reward][error]") {
  const TemporaryFolder folder;
  const std::vector<std::pair<Arguments, Arguments>> wrong = {
      {{}, {"--scores or --pairs", "neither"}},
      {on_pairs() + on_scores(), {"--scores or --pairs", "both"}},
      {on_pairs({"--loss", "logistic"}), {"--loss is of --scores"}},
      {on_scores({"--loss", "hinge"}), {"'hinge'", "regression, logistic"}},
      {on_scores({"--threshold", "1"}), {"--threshold needs"}},
      {on_scores({"--centering", "0.1"}), {"--centering needs --pairs"}},
      {on_pairs({"--centering", "-1"}), {"--centering >= 0"}},
      {on_pairs({"--too-long", "wrap"}), {"'wrap'", "cut, drop"}},
      {on_pairs({"--batch", "0"}), {"--batch in [1, "}},
      {on_pairs({"--epochs", "0"}), {"--epochs"}},
      {on_pairs({"--held-out-share", "1"}), {"--held-out-share in [0, 1)"}},
      {on_pairs({"--learning-rate", "nan"}), {"--learning-rate"}},
      {on_pairs({"--clip", "0"}), {"--clip > 0"}},
      {on_pairs({"--decay", "steep"}), {"'steep'"}}};
  for (const auto& [flags, parts] : wrong) {
    CAPTURE(parts[0]);
    check_refused(vbon(training(world().encoder, folder / "run", flags)), "vbon train-reward", parts);
    CHECK_FALSE(std::filesystem::exists(folder / "run"));
  }
  const auto refused = [&](const std::string& model, const Arguments& flags, const Arguments& parts) {
    check_refused(vbon(training(model, folder / "run", flags)), "vbon train-reward", parts);
    CHECK_FALSE(std::filesystem::exists(folder / "run/run.json"));
  };
  refused((folder / "nowhere").string(), on_pairs(), {"nowhere", "config.json"});
  refused(world().encoder, on_pairs({"--warmup", "99"}), {"--warmup <= 2"});
  refused(world().encoder, on_pairs({"--end-token"}), {"end token"});
  save_tiny_encoder(folder / "three", "bert", 3);
  refused((folder / "three").string(), on_pairs(), {"has 3", "--new-head"});
  check_refused(vbon(training(world().encoder, folder / "diverged",
                              on_pairs({"--steps", "9", "--learning-rate", "1e30", "--clip", "inf"}))),
                "vbon train-reward", {"at step 2", "learning rate"});
  refused("model.gguf", on_pairs(), {"model.gguf", "Hugging Face folder"});
}

TEST_CASE("a finished run, another run and a full disk are refused with what to do", "[cli][train_reward][error]") {
  const TemporaryFolder folder;
  const auto flags = on_pairs({"--steps", "3"});
  report_of(vbon(training(world().encoder, folder / "run", flags)));
  check_refused(vbon(training(world().encoder, folder / "run", flags)), "vbon train-reward", {"is finished", "--overwrite"});
  check_refused(vbon(training(world().encoder, folder / "run", on_pairs({"--steps", "4"}))), "vbon train-reward",
                {"steps = 3", "steps = 4"});
  report_of(vbon(training(world().encoder, folder / "run", flags + Arguments{"--overwrite"})));
  check_refused(vbon(training((folder / "run/model").string(), folder / "run", flags + Arguments{"--overwrite"})),
                "vbon train-reward", {"--model", "lies in"});
  io::make_folder(folder / "other");
  io::write_file_atomically(folder / "other/notes.txt", "mine");
  check_refused(vbon(training(world().encoder, folder / "other", flags)), "vbon train-reward", {"run.json is missing"});
  check_refused(vbon(training(world().encoder, folder / "small", flags), {.file_size_limit = 20000}), "vbon train-reward",
                {"no room for checkpoints"});
}
}  // namespace vbon::test
