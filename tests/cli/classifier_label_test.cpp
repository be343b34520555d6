// A classifier of several labels as a reward: the spec says which label counts.
#include <cmath>
#include <filesystem>

#include "cli/support.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/io/atomic_file.hpp"

namespace vbon::test {
namespace {
const std::string film_text = "a very good film";

/// A classifier of three labels with names of their own.
void save_classifier(const std::filesystem::path& folder) {
  auto config = tiny_encoder_config("bert", 3);
  config["id2label"] = {{"0", "sad"}, {"1", "neutral"}, {"2", "joy, or fun"}};
  tiny_encoder(config).save(folder);
  save_tiny_tokenizer(folder);
}
double score(const std::string& reward) {
  const auto run = vbon({"score", "--reward", reward, "--text", film_text, "--quiet"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  return rows(run.out).at(0).at("reward").get<double>();
}
}  // namespace

TEST_CASE("the label of a classifier is chosen by name or number, and its odds are the reward", "[cli][classifier]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "model").string(), spec = "classifier:" + place;
  save_classifier(place);
  double sum = 0;  // the log-odds belong to the probabilities of one law
  for (const char* label : {"0", "1", "2"}) sum += 1 / (1 + std::exp(-score(spec + ",label=" + label)));
  CHECK(sum == Approx(1).epsilon(1e-6));
  CHECK(score(spec + ",label=NEUTRAL") == score(spec + ",label=1"));
  CHECK(score(spec + ",label=joy, or fun") == score(spec + ",label=2"));

  const auto refused = [&](const std::string& reward, const Arguments& parts) {
    check_refused(vbon({"score", "--reward", reward, "--text", film_text}), "vbon score", parts);
  };
  refused(spec, {"choose the label", spec + ",label=2", "0 (sad), 1 (neutral), 2 (joy, or fun)"});
  refused(spec + ",label=glad", {place, "unknown label 'glad'", "0 (sad)"});
  refused(spec + ",label=3", {"unknown label '3'"});
  refused(spec + ",label=", {"label=", "a name or a number", "vbon inspect " + place});
}

TEST_CASE("a label is found by its name before its number, and a question of its own is its logit", "[cli][classifier]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "model").string(), spec = "classifier:" + place + ",label=";
  save_classifier(place);
  const double by_place[] = {score(spec + "0"), score(spec + "1"), score(spec + "2")};
  auto config = io::read_json(folder / "model/config.json");
  config["id2label"] = {{"0", "3"}, {"1", "2"}, {"2", "1"}};
  io::write_file_atomically(folder / "model/config.json", config.dump());
  CHECK(score(spec + "3") == by_place[0]);
  CHECK(score(spec + "2") == by_place[1]);
  CHECK(score(spec + "1") == by_place[2]);
  CHECK(score(spec + "0") == by_place[0]);  // no name: a number

  config["problem_type"] = "multi_label_classification";
  io::write_file_atomically(folder / "model/config.json", config.dump());
  double logit[3];
  for (int k = 0; k < 3; ++k) logit[k] = score(spec + std::to_string(3 - k));
  for (int k = 0; k < 3; ++k)  // the softmax of these logits is what the labels were before
    CHECK(by_place[k] ==
          Approx(logit[k] - std::log(std::exp(logit[(k + 1) % 3]) + std::exp(logit[(k + 2) % 3]))).epsilon(1e-6));
}

TEST_CASE("a folder whose name looks like a label is a folder", "[cli][classifier]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "m,label=1").string();
  save_classifier(place);
  CHECK(score("classifier:" + place + ",label=0") != score("classifier:" + place + ",label=1"));
  check_refused(vbon({"score", "--reward", "classifier:" + place, "--text", film_text}), "vbon score", {"choose the label"});
}

TEST_CASE("the label belongs to the settings of a run, and the content of the folder still does", "[cli][classifier]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "model").string(), spec = "classifier:" + place;
  save_classifier(place);
  const auto evaluate = [&](const std::string& reward, const Arguments& more = {}) {
    return vbon(Arguments{"evaluate", "--model", tiny_model, "--reference", tiny_model, "--prompts", tiny_prompts,
                          "--reward", reward, "--max-new-tokens", "6", "--samples", "2", "--references", "4", "--quiet",
                          "--out", (folder / "e").string()} +
                more);
  };
  const auto first = evaluate(spec + ",label=1");
  INFO(first.err);
  REQUIRE(first.code == 0);
  const auto settings = io::read_json(folder / "e/run.json").at("settings");
  CHECK(settings.at("reward") == spec + ",label=1");
  CHECK(settings.contains("content of reward"));
  check_refused(evaluate(spec + ",label=2"), "vbon evaluate", {"reward = ", "label=1", "label=2", "--overwrite"});
  // A run that would remove the classifier it reads.
  const auto inside = (folder / "e/model").string();
  std::filesystem::copy(place, inside);
  check_refused(evaluate("classifier:" + inside + ",label=1", {"--overwrite"}), "vbon evaluate", {"--reward", inside});
}

TEST_CASE("a decoder's value is told its label too", "[cli][classifier]") {
  const TemporaryFolder folder;
  const std::string place = (folder / "model").string();
  save_classifier(place);
  const auto decode = [&](const std::string& value) {
    return vbon({"decode", "--model", tiny_model, "--decoder", "controlled_decoding:value=" + value + ",top_k=3", "--reward",
                 "length:5", "--prompt", "the film", "--max-new-tokens", "4", "--quiet"});
  };
  const auto run = decode("classifier:" + place + ",label=1");
  INFO(run.err);
  CHECK(run.code == 0);
  check_refused(decode("classifier:" + place), "vbon decode", {"choose the label"});
}
}  // namespace vbon::test
