#include "vbon/train/run_folder.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
using train::RunFolder;
const io::Json settings = {{"n", 4}, {"seed", 1}};

std::string refusal(const std::filesystem::path& path, const io::Json& wanted) {
  try {
    const RunFolder run(path, wanted, false);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
}  // namespace

TEST_CASE("the same settings resume an unfinished run", "[train][resume]") {
  TemporaryFolder folder;
  { CHECK_FALSE(RunFolder(folder / "run", settings, false).resumed()); }
  { CHECK(RunFolder(folder / "run", settings, false).resumed()); }
}

TEST_CASE("other settings are refused, naming the key and both values", "[train][error]") {
  TemporaryFolder folder;
  { RunFolder(folder / "run", settings, false); }
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
    RunFolder run(folder / "run", settings, false);
    std::ofstream(run.path() / "metrics.jsonl") << "{}\n";
    run.mark_finished();
  }
  CHECK(refusal(folder / "run", settings).find("is finished") != std::string::npos);
  const RunFolder run(folder / "run", {{"n", 8}}, true);
  CHECK_FALSE(run.resumed());
  CHECK_FALSE(std::filesystem::exists(run.path() / "metrics.jsonl"));
}

TEST_CASE("a folder with other files, a file, and a run in use are left alone", "[train][error]") {
  TemporaryFolder folder;
  std::ofstream(folder / "notes.txt") << "mine";
  CHECK(refusal(folder.path(), settings).find("run.json is missing") != std::string::npos);
  CHECK(refusal(folder / "notes.txt", settings).find("is no folder") != std::string::npos);
  CHECK_THROWS_AS(RunFolder(folder.path(), settings, true), ConfigError);
  CHECK(std::filesystem::exists(folder / "notes.txt"));
  const RunFolder first(folder / "run", settings, false);
  CHECK(refusal(folder / "run", settings).find("another program") != std::string::npos);
}
}  // namespace vbon::test
