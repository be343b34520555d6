#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "cli/support.hpp"

namespace vbon::test {
namespace {
void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

void copy_model(const std::filesystem::path& to) {
  std::filesystem::copy(tiny_model, to, std::filesystem::copy_options::recursive);
}
void replace_in(const std::filesystem::path& path, const std::string& what, const std::string& with) {
  std::string text = text_of(path);
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  write(path, text.replace(at, what.size(), with));
}
Arguments replaced(Arguments arguments, const std::string& flag, const std::string& value) {
  *(std::find(arguments.begin(), arguments.end(), flag) + 1) = value;
  return arguments;
}
}  // namespace

TEST_CASE("after a mistyped reward the corrected command runs", "[cli][error]") {
  const TemporaryFolder folder;
  const auto wrong = vbon(replaced(tiny_align(folder / "run"), "--reward", "lexikon:words.txt"));
  check_refused(wrong, "vbon align", {"lexikon"});
  const auto run = vbon(tiny_align(folder / "run"));
  INFO(run.err);
  CHECK(run.code == 0);
}

TEST_CASE("a missing file is named with what to do", "[cli][error]") {
  TemporaryFolder folder;
  const auto align = tiny_align(folder / "run");
  check_refused(vbon(replaced(align, "--model", "/absent/model.gguf")), "vbon align", {"/absent/model.gguf"});
  check_refused(vbon(replaced(align, "--model", "/absent/folder")), "vbon align", {"/absent/folder"});
  check_refused(vbon(replaced(align, "--prompts", "/absent/prompts.jsonl") + Arguments{"--overwrite"}), "vbon align",
                {"/absent/prompts.jsonl"});
  check_refused(vbon(replaced(align, "--reward", "lexicon:/absent/words.txt") + Arguments{"--overwrite"}), "vbon align",
                {"/absent/words.txt"});
  check_refused(
      vbon({"align", "--out", (folder / "other").string()}, {.environment = {{"VBON_CACHE", (folder / "cache").string()}}}),
      "vbon align", {"SmolLM2", "fetch_data.sh", "--model"});
  check_refused(vbon({"inspect", "/absent"}), "vbon inspect", {"/absent does not exist"});
  check_refused(vbon({"score", "--reward", tiny_reward, "--input", "/absent.jsonl"}), "vbon score", {"/absent.jsonl"});
}

TEST_CASE("a model of another kind is named as what it is", "[cli][error]") {
  TemporaryFolder folder;
  copy_model(folder / "model");
  replace_in(folder / "model" / "config.json", "\"llama\"", "\"bert\"");
  replace_in(folder / "model" / "config.json", "LlamaForCausalLM", "BertModel");
  check_refused(vbon(replaced(tiny_align(folder / "run"), "--model", (folder / "model").string())), "vbon align", {"bert"});
}

TEST_CASE("a truncated GGUF file and broken weights are told", "[cli][error]") {
  TemporaryFolder folder;
  write(folder / "cut.gguf", std::string("GGUF\x03\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x05", 17));
  check_refused(vbon({"sample", "--model", (folder / "cut.gguf").string(), "--prompt", "a"}), "vbon sample",
                {"cut.gguf", "byte"});
  copy_model(folder / "model");
  std::filesystem::resize_file(folder / "model" / "model.safetensors", 40000);
  check_refused(vbon({"sample", "--model", (folder / "model").string(), "--prompt", "a"}), "vbon sample",
                {"model.safetensors"});
}

TEST_CASE("a prompt longer than the context is named with its length", "[cli][error]") {
  TemporaryFolder folder;
  std::string lines = "{\"prompt\":\"the film\"}\n{\"prompt\":\"";
  for (int i = 0; i < 60; ++i) lines += "the film ";
  write(folder / "long.jsonl", lines + "\"}\n");
  const auto run = vbon(replaced(tiny_align(folder / "run"), "--prompts", (folder / "long.jsonl").string()));
  check_refused(run, "vbon align", {"prompt 1", "context of 64", "--max-new-tokens"});
}

TEST_CASE("a NaN reward names the prompt and the sample; what was computed stays", "[cli][error]") {
  TemporaryFolder folder;
  write(folder / "reward.sh",
        "#!/bin/sh\nn=0\nwhile read -r line; do n=$((n+1)); id=${line#*\\\"id\\\":}; id=${id%%[,\\}]*}\n"
        "if [ \"$n\" -gt 300 ]; then echo \"{\\\"id\\\": $id, \\\"reward\\\": NaN}\"; else echo \"{\\\"id\\\": $id, "
        "\\\"reward\\\": $((n % 7))}\"; fi\ndone\n");
  const auto run = vbon(replaced(tiny_align(folder / "run"), "--reward", "process:sh " + (folder / "reward.sh").string()));
  check_refused(run, "vbon align", {"NaN", "prompt", "sample"});
  CHECK(std::filesystem::file_size(folder / "run" / "references.jsonl") > 0);
}

TEST_CASE("a reward process that dies is named", "[cli][error]") {
  TemporaryFolder folder;
  const auto run = vbon(replaced(tiny_align(folder / "run"), "--reward", "process:exit 3"));
  check_refused(run, "vbon align", {"exit 3"});
}

TEST_CASE("wrong lines of a prompts file are named", "[cli][error]") {
  TemporaryFolder folder;
  write(folder / "p.jsonl", "{\"prompt\":\"the film\"}\n{\"text\":\"x\"}\n");
  check_refused(vbon(replaced(tiny_align(folder / "run"), "--prompts", (folder / "p.jsonl").string())), "vbon align",
                {"p.jsonl line 2", "\"prompt\""});
}

TEST_CASE("a prompt in both files is refused", "[cli][error]") {
  TemporaryFolder folder;
  check_refused(vbon(tiny_align(folder / "run", {"--evaluation-prompts", tiny_prompts})), "vbon align",
                {"is a training prompt too"});
}

TEST_CASE("a full disk stops with what is needed, and nothing computed is lost", "[cli][error]") {
  TemporaryFolder folder;
  const auto early =
      vbon(tiny_align(folder / "run"), {.file_size_limit = 200000});  // room for the caches, not for a checkpoint
  check_refused(early, "vbon align", {"no room for checkpoints", "MB", "free space", (folder / "run").string()});
  const auto references = text_of(folder / "run" / "references.jsonl");
  CHECK(std::count(references.begin(), references.end(), '\n') > 10);
  const auto again = vbon(tiny_align(folder / "run"));
  INFO(again.err);
  CHECK(again.code == 0);
  CHECK(text_of(folder / "run" / "references.jsonl") == references);
  const auto cache = vbon(tiny_align(folder / "small"), {.file_size_limit = 20000});
  check_refused(cache, "vbon align", {"references.jsonl"});
}

TEST_CASE("a number is read whole and within its type, or refused by flag, value and range", "[cli][error]") {
  const std::vector<Arguments> wrong = {
      {"sample", "--seed", "-1", "a whole number in [0, 18446744073709551615] expected, got '-1'"},
      {"sample", "--seed", "99999999999999999999", "a whole number in [0, 18446744073709551615]"},
      {"sample", "--seed", "1e12", "a whole number"},
      {"sample", "--seed", "", "got ''"},
      {"sample", "--samples", "4 ", "got '4 '"},
      {"sample", "--top-k", "0x10", "a whole number"},
      {"sample", "--temperature", "", "a number in [-1.8e+308, 1.8e+308] expected, got ''"},
      {"sample", "--top-p", "0.5.5", "got '0.5.5'"},
      {"score", "--threads", "99999999999999999999", "a whole number in [-9223372036854775808, 9223372036854775807]"},
      {"score", "--reward-timeout", "soon", "a number"},
      {"evaluate", "--count", "", "a whole number"},
      {"evaluate", "--n", "1e999", "a number in [-1.8e+308, 1.8e+308] expected, got '1e999'"},
      {"inspect", "--seed", "-0", "a whole number"},
      {"align", "--references", "99999999999999999999", "a whole number"},
      {"align", "--steps", "", "a whole number"},
      {"align", "--learning-rate", "", "a number"},
      {"align", "--anchor-eta", "", "a number"},
      {"align", "--anchor-swap-every", "2.5", "a whole number"}};
  for (const auto& one : wrong)
    check_refused(vbon({one[0], one[1], one[2]}), "vbon " + one[0], {one[1] + ":", "'" + one[2] + "'", one[3]});
  const Arguments sample = {"sample", "--model", tiny_model, "--prompt", "the film", "--max-new-tokens", "4", "--quiet"};
  CHECK(vbon(sample + Arguments{"--seed", "18446744073709551615"}).code == 0);
  CHECK(vbon(sample + Arguments{"--samples", "010"}).out == vbon(sample + Arguments{"--samples", "10"}).out);
  CHECK(vbon(sample + Arguments{"--temperature", "0.1"}).code == 0);
  TemporaryFolder folder;
  CHECK(vbon(tiny_align(folder / "run", {"--clip", "inf", "--steps", "1", "--warmup", "0", "--warm-steps", "0"})).code == 0);
}

TEST_CASE("a flag whose text is empty is refused: a script's variable was not set", "[cli][error]") {
  TemporaryFolder folder;
  const std::vector<Arguments> wrong = {{"align", "--pairs"},        {"align", "--reward"},         {"compare", "--prompts"},
                                        {"evaluate", "--reference"}, {"export", "--model"},         {"sample", "--model"},
                                        {"decode", "--out"},         {"train-reward", "--held-out"}};
  for (const auto& one : wrong)
    check_refused(vbon({one[0], one[1], ""}), "vbon " + one[0], {one[1] + ":", "got ''", "leave the flag out"});
}

TEST_CASE("two flags of which one would be passed over are refused by name", "[cli][error]") {
  TemporaryFolder folder;
  check_refused(vbon({"sample", "--prompt", "a", "--greedy", "--temperature", "2"}), "vbon sample",
                {"--greedy", "--temperature"});
  check_refused(vbon({"train-reward", "--scores", "a", "--held-out", "b", "--held-out-share", "0.5"}), "vbon train-reward",
                {"--held-out-share", "--held-out"});
  check_refused(vbon({"train-reward", "--scores", "a", "--steps", "3", "--epochs", "2"}), "vbon train-reward",
                {"--steps", "--epochs"});
  check_refused(vbon({"export", "a", "--model", "b", "--out", "c"}), "vbon export", {"model"});
  check_refused(vbon(tiny_align(folder / "run", {"--objective", "dpo:label_smoothing=0.1"})), "vbon align",
                {"unknown option 'label_smoothing'", "beta"});
  check_refused(vbon({"align", "--objective", "dpo:beta=1,pairs=all_strict", "--pairs", "pairs.jsonl"}), "vbon align",
                {"--objective dpo:beta=1,pairs=all_strict", "--pairs"});
}

TEST_CASE("what a value of a method may be is told with the method", "[cli][error]") {
  TemporaryFolder folder;
  const auto refused = [&](const std::string& objective, const Arguments& parts) {
    check_refused(vbon(tiny_align(folder / "run", {"--objective", objective})), "vbon align", parts);
  };
  refused("bond:forward_n=nan", {"forward_n", "a whole number expected, got 'nan'"});
  refused("infalign:t=1e6", {"t in [-700, 700]", "got 1000000"});
  refused("dpo:beta=1,path/b", {"option=value expected, got 'path/b'", "comma"});
  const Arguments decode = {"decode", "--model", tiny_model, "--reward", tiny_reward, "--prompt", "a"};
  check_refused(vbon(decode + Arguments{"--temperature", "1e-320"}), "vbon decode", {"--temperature in [1e-6, 1e6]"});
}

TEST_CASE("a model without a tokenizer is named", "[cli][error]") {
  TemporaryFolder folder;
  copy_model(folder / "model");
  std::filesystem::remove(folder / "model" / "tokenizer.json");
  check_refused(vbon({"sample", "--model", (folder / "model").string(), "--prompt", "a"}), "vbon sample",
                {(folder / "model").string(), "no tokenizer.json"});
}

TEST_CASE("an export that fails leaves nothing in the way of the next", "[cli][error]") {
  TemporaryFolder folder;
  const Arguments to = {"export", tiny_model, "--out", (folder / "out").string()};
  CHECK(vbon(to, {.file_size_limit = 100}).code != 0);
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  CHECK(vbon(to).code == 0);
}

TEST_CASE("a list of words that is no text is quoted readably", "[cli][error]") {
  TemporaryFolder folder;
  write(folder / "words", std::string("\xff\x01\x02 no tab"));
  const auto result = vbon({"score", "--reward", "lexicon:" + (folder / "words").string(), "--text", "a"});
  check_refused(result, "vbon score", {"line 1", "word<TAB>score"});
  CHECK(result.err.find('\xff') == std::string::npos);
}

TEST_CASE("a flag that the program does not have is named wherever it stands", "[cli][error]") {
  check_refused(vbon({"--bogus"}), "vbon", {"unknown flag '--bogus'", "--version", "align"});
  check_refused(vbon({"-v"}), "vbon", {"unknown flag '-v'"});
  check_refused(vbon({"--seed=3", "sample"}), "vbon", {"unknown flag '--seed'", "a command comes first"});
  check_refused(vbon({"align", "--", "--n", "4"}), "vbon align", {"'--n' stands behind '--'"});
  check_refused(vbon({"inspect", tiny_model, "more"}), "vbon inspect", {"'more'", "see 'vbon inspect --help'"});
}

TEST_CASE("a pipe or a device is refused at once, wherever a file is expected", "[cli][error]") {
  TemporaryFolder folder;
  const std::string pipe = (folder / "pipe.jsonl").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  for (const std::string& path : {pipe, std::string("/dev/null")}) {
    check_refused(vbon({"sample", "--model", tiny_model, "--prompts", path}), "vbon sample", {path, "is no regular file"});
    check_refused(vbon({"score", "--reward", tiny_reward, "--input", path}), "vbon score", {path, "is no regular file"});
    check_refused(vbon({"score", "--reward", "lexicon:" + path, "--text", "a"}), "vbon score", {path, "is no regular file"});
  }
  check_refused(vbon({"inspect", pipe}), "vbon inspect", {pipe, "is no regular file"});
}

TEST_CASE("JSON that is not what it should be is named by file and key", "[cli][error]") {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "run");
  const auto inspect_run = [&](const std::string& json, const Arguments& parts) {
    write(folder / "run" / "run.json", json);
    check_refused(vbon({"inspect", (folder / "run").string()}), "vbon inspect", Arguments{"run.json"} + parts);
  };
  inspect_run("{}", {"\"settings\""});
  inspect_run("[1]", {"\"settings\""});
  inspect_run("{\"settings\":3}", {"\"settings\""});
  inspect_run("{\"settings\":{},\"finished\":\"yes\"}", {"\"finished\"", "true or false expected, got \"yes\""});
  copy_model(folder / "model");
  const std::string config = text_of(folder / "model" / "config.json");
  const auto inspect_model = [&](const std::string& architectures, const Arguments& parts) {
    auto json = nlohmann::json::parse(config);
    json["architectures"] = nlohmann::json::parse(architectures);
    write(folder / "model" / "config.json", json.dump());
    check_refused(vbon({"inspect", (folder / "model").string()}), "vbon inspect", Arguments{"config.json"} + parts);
  };
  inspect_model("\"x\"", {"architectures: a list expected", "\"x\""});
  inspect_model("[3]", {"architectures: a string expected", "3"});
  write(folder / "model" / "config.json", "[1]");
  check_refused(vbon({"inspect", (folder / "model").string()}), "vbon inspect", {"config.json", "an object expected"});
  auto json = nlohmann::json::parse(config);
  json["architectures"] = nlohmann::json::array();
  write(folder / "model" / "config.json", json.dump());
  CHECK(has(vbon({"inspect", (folder / "model").string()}).out, "not said"));
}

TEST_CASE("a folder that is no model points to the one inside", "[cli][error]") {
  TemporaryFolder folder;
  const auto sample = [&] { return vbon({"sample", "--model", folder.path().string(), "--prompt", "a"}); };
  check_refused(sample(), "vbon sample", {"holds no config.json", "a .gguf file or a folder"});
  write(folder / "b.gguf", "");
  check_refused(sample(), "vbon sample", {"give the file " + (folder / "b.gguf").string()});
  write(folder / "a.gguf", "");
  check_refused(sample(), "vbon sample", {"give the file " + (folder / "a.gguf").string(), "2 .gguf files"});
  copy_model(folder / "model");
  check_refused(sample(), "vbon sample", {"give " + (folder / "model").string()});
}

TEST_CASE("a reward without its argument says which one it needs", "[cli][error]") {
  for (const std::string reward :
       {"lexicon", "lexicon:", "table", "encoder_head:", "encoder-head", "classifier", "process:", "process: "})
    check_refused(vbon({"score", "--reward", reward, "--text", "a"}), "vbon score", {"needs an argument: "});
  check_refused(vbon({"score", "--reward", "lexicon", "--text", "a"}), "vbon score", {"lexicon:FILE", "word<TAB>score"});
  check_refused(vbon({"score", "--reward", "length:0x5", "--text", "a"}), "vbon score", {"'0x5'"});
}

TEST_CASE("a name that no folder can have is told", "[cli][error]") {
  const std::string name(300, 'a');
  const Arguments evaluate = {"evaluate", "--model",   tiny_model,  "--reference", tiny_model,
                              "--reward", tiny_reward, "--prompts", tiny_prompts};
  check_refused(vbon(evaluate + Arguments{"--out", ""}), "vbon evaluate", {"--out"});
  check_refused(vbon(evaluate + Arguments{"--out", name}), "vbon evaluate", {name, "too long"});
  check_refused(vbon({"sample", "--model", name, "--prompt", "a"}), "vbon sample", {name, "too long", "shorter"});
  check_refused(vbon({"inspect", name}), "vbon inspect", {name, "too long"});
}
}  // namespace vbon::test
