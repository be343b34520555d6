#include "vbon/train/run_folder.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
using train::RunFolder;
const io::Json settings = {{"n", 4}, {"seed", 1}};
const train::RunKind kind = {"align", {"model", "metrics.jsonl", "references.jsonl"}};

/// A run that got as far as begin().
struct Begun : RunFolder {
  Begun(const std::filesystem::path& path, const io::Json& wanted, bool overwrite)
      : RunFolder(path, kind, wanted, overwrite) {
    begin();
  }
};

std::string refusal(const std::filesystem::path& path, const io::Json& wanted) {
  try {
    const Begun run(path, wanted, false);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
}  // namespace

TEST_CASE("the same settings resume an unfinished run", "[train][resume]") {
  TemporaryFolder folder;
  { CHECK_FALSE(Begun(folder / "run", settings, false).resumed()); }
  { CHECK(Begun(folder / "run", settings, false).resumed()); }
}

TEST_CASE("other settings are refused, naming the key and both values", "[train][error]") {
  TemporaryFolder folder;
  { Begun(folder / "run", settings, false); }
  const auto text = refusal(folder / "run", {{"n", 8}, {"seed", 1}});
  INFO(text);
  CHECK(text.find("n = 4") != text.npos);
  CHECK(text.find("n = 8") != text.npos);
  CHECK(text.find("--overwrite") != text.npos);
  CHECK(refusal(folder / "run", {{"n", 4}}).find("seed") != std::string::npos);
  CHECK(refusal(folder / "run", {{"n", 4}, {"seed", 1}, {"warm", true}}).find("warm") != std::string::npos);
}

TEST_CASE("a finished run is refused unless it may be overwritten", "[train][error]") {
  TemporaryFolder folder;
  {
    Begun run(folder / "run", settings, false);
    std::ofstream(run.path() / "metrics.jsonl") << "{}\n";
    run.mark_finished();
  }
  CHECK(refusal(folder / "run", settings).find("is finished") != std::string::npos);
  const Begun run(folder / "run", {{"n", 8}}, true);
  CHECK_FALSE(run.resumed());
  CHECK_FALSE(std::filesystem::exists(run.path() / "metrics.jsonl"));
}

TEST_CASE("a run killed at any moment of its beginning, a write or its end goes on", "[train][resume]") {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "run");
  SECTION("nothing but the lock") { std::ofstream(folder / "run" / "run.lock"); }
  SECTION("a first run.json that was being written") {
    std::ofstream(folder / "run" / "run.lock");
    std::ofstream(folder / "run" / "run.json.tmp4711") << "{\"settin";
  }
  { CHECK_FALSE(Begun(folder / "run", settings, false).resumed()); }
  CHECK_FALSE(std::filesystem::exists(folder / "run" / "run.json.tmp4711"));
  std::filesystem::create_directory(folder / "run" / "model");
  std::ofstream(folder / "run" / "model" / "model.safetensors.tmp4711") << "half";
  std::ofstream(folder / "run" / "model" / "notes.tmp") << "no temporary of ours";
  {
    Begun run(folder / "run", settings, false);
    CHECK(run.resumed());
    CHECK_FALSE(std::filesystem::exists(run.path() / "model" / "model.safetensors.tmp4711"));
    CHECK(std::filesystem::exists(run.path() / "model" / "notes.tmp"));
    run.mark_finished();
    std::ofstream(run.path() / "checkpoint.0") << "left";
  }
  CHECK(refusal(folder / "run", settings).find("is finished") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "run" / "checkpoint.0"));
}

TEST_CASE("a run that an error ends at once leaves no settings; one with results keeps them", "[train][error]") {
  TemporaryFolder folder;
  const auto fail = [&](bool results) {
    const Begun run(folder / "run", settings, false);
    if (results) std::ofstream(run.path() / "references.jsonl") << "{}\n";
    throw RunError("the reward cannot be opened");
  };
  CHECK_THROWS_AS(fail(false), RunError);
  { CHECK_FALSE(Begun(folder / "run", {{"n", 8}}, false).resumed()); }
  std::filesystem::remove_all(folder / "run");
  CHECK_THROWS_AS(fail(true), RunError);
  CHECK(Begun(folder / "run", settings, false).resumed());
}

TEST_CASE("overwriting waits until the new run begins, and removes what runs write, nothing else", "[train][error]") {
  TemporaryFolder folder;
  const auto write = [&](const char* name) { std::ofstream(folder / "run" / name) << "{}\n"; };
  const auto there = [&](const char* name) { return std::filesystem::exists(folder / "run" / name); };
  {
    Begun run(folder / "run", settings, false);
    write("metrics.jsonl");
    run.mark_finished();
  }
  write("notes.txt");
  {
    RunFolder run(folder / "run", kind, {{"n", 8}}, true);  // a mistake is found while it loads
    CHECK(run.replaces());
  }
  CHECK(there("metrics.jsonl"));
  CHECK(refusal(folder / "run", settings).find("is finished") != std::string::npos);
  { const Begun run(folder / "run", {{"n", 8}}, true); }
  CHECK_FALSE(there("metrics.jsonl"));
  CHECK(there("notes.txt"));
  CHECK(Begun(folder / "run", {{"n", 8}}, false).resumed());
}

TEST_CASE("a folder that is not a run of this command is left alone, --overwrite or not", "[train][error]") {
  for (const std::string text : {R"({"mine": 1})", "[1]", "3", R"({"command": "align", "settings": 3, "finished": true})",
                                 R"({"command": "align", "settings": {}, "finished": "yes"})",
                                 R"({"command": "evaluate", "settings": {}, "finished": true})"}) {
    CAPTURE(text);
    TemporaryFolder folder;
    std::ofstream(folder / "run.json") << text;
    std::ofstream(folder / "thesis.txt") << "precious";
    for (const bool overwrite : {false, true}) {
      std::string error;
      try {
        Begun(folder.path(), settings, overwrite);
      } catch (const ConfigError& refused) {
        error = refused.what();
      }
      CHECK(error.find("choose another --out") != error.npos);
      CHECK(error.find("--overwrite") == error.npos);
    }
    CHECK(std::filesystem::exists(folder / "run.json"));
    CHECK(std::filesystem::exists(folder / "thesis.txt"));
  }
}

TEST_CASE("a folder with other files, a file, and a run in use are left alone", "[train][error]") {
  TemporaryFolder folder;
  std::ofstream(folder / "notes.txt") << "mine";
  CHECK(refusal(folder.path(), settings).find("run.json is missing") != std::string::npos);
  CHECK(refusal(folder / "notes.txt", settings).find("is no folder") != std::string::npos);
  CHECK_THROWS_AS(Begun(folder.path(), settings, true), ConfigError);
  CHECK(std::filesystem::exists(folder / "notes.txt"));
  const Begun first(folder / "run", settings, false);
  CHECK(refusal(folder / "run", settings).find("another program") != std::string::npos);
}
}  // namespace vbon::test
