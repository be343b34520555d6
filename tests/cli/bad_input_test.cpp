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
}  // namespace vbon::test
