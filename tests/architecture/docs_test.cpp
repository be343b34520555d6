// What README.md and docs/ name is there, and the tables of contents reach every header.
#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "architecture/layers.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
namespace fs = std::filesystem;
const fs::path sources = VBON_SOURCE_DIR;

std::vector<fs::path> pages() {
  std::vector<fs::path> out = {sources / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(sources / "docs"))
    if (entry.path().extension() == ".md") out.push_back(entry.path());
  return out;
}
std::vector<std::string> all_matches(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> out;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) out.push_back((*it)[1]);
  return out;
}
/// Headers that `name` includes, directly or through others.
std::set<std::string> reached_from(const std::string& name) {
  std::set<std::string> reached;
  std::vector<std::string> open = {name};
  while (!open.empty()) {
    const std::string next = open.back();
    open.pop_back();
    if (!reached.insert(next).second) continue;
    for (const auto& inc : scan(sources / "include" / next).includes)
      if (!inc.angled) open.push_back(inc.name);
  }
  return reached;
}
}  // namespace

TEST_CASE("files that the documentation names exist", "[architecture]") {
  // `bon/log_prob.hpp`, `tests/bon/log_prob_test.cpp`, `examples/main_job.sh`: from the root, or from include/vbon
  const std::regex file("`([A-Za-z0-9_./-]+/[A-Za-z0-9_.-]+\\.(?:hpp|cuh|cpp|sh|md|py|cmake))`");
  for (const auto& page : pages())
    for (const auto& name : all_matches(text_of(page), file)) {
      CAPTURE(page, name);
      CHECK((fs::exists(sources / name) || fs::exists(sources / "include" / name) ||
             fs::exists(sources / "include/vbon" / name)));
    }
}

TEST_CASE("links inside the documentation lead somewhere", "[architecture]") {
  const std::regex link("\\]\\(([^)#:]+)(?:#[^)]*)?\\)");
  for (const auto& page : pages())
    for (const auto& target : all_matches(text_of(page), link)) {
      CAPTURE(page, target);
      CHECK(fs::exists(page.parent_path() / target));
    }
}

TEST_CASE("vbon.hpp reaches every header", "[architecture]") {
  const auto reached = reached_from("vbon/vbon.hpp");
  std::set<std::string> missed;
  for (const auto& entry : fs::recursive_directory_iterator(sources / "include/vbon")) {
    const std::string name = fs::relative(entry.path(), sources / "include").generic_string();
    const bool contents = entry.path().parent_path() == sources / "include/vbon";
    if (entry.path().extension() == ".hpp" && !contents && !reached.contains(name)) missed.insert(name);
  }
  CHECK(missed == std::set<std::string>{});
}
}  // namespace vbon::test
