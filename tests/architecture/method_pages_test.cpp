// Every objective and decoder has a row in the index of docs/methods and a page that names its options, and
// neither speaks of what is no longer there.
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/registry.hpp"

namespace vbon::test {
namespace {
namespace fs = std::filesystem;
const fs::path folder = fs::path(VBON_SOURCE_DIR) / "docs/methods";

using Names = std::set<std::string>;
struct Method {
  std::string kind, name;
  Names options = {};
};

template <class List>
void add_methods(const std::string& kind, std::vector<Method>& all) {
  for_each_entry<List>([&]<class Entry>(Entry entry) {
    Method method{kind, std::string(Entry::name)};
    entry.each_option([&](std::string_view option, auto&, std::string_view) { method.options.emplace(option); });
    all.push_back(std::move(method));
  });
}
std::vector<Method> methods() {
  std::vector<Method> all;
  add_methods<objective::Registry>("objective", all);
  add_methods<std::tuple<objective::Likelihood>>("objective", all);  // the program's own, beside the registry
  add_methods<decode::Registry>("decoder", all);
  return all;
}

Names names_in(const std::string& text, const std::regex& pattern) {
  Names out;
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) out.insert((*it)[1]);
  return out;
}
const std::regex quoted("`([^`\n]+)`");

struct Row {
  std::string kind, page;
};
/// Rows `| name | kind | [title](page) | ...` of the index, by name.
std::map<std::string, Row> index_rows() {
  std::map<std::string, Row> rows;
  const std::string text = text_of(folder / "README.md");
  const std::regex row("\\| `([a-z_]+)` \\| ([a-z]+) \\| \\[[^\\]]+\\]\\(([^)]+)\\) \\|");
  for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it) rows[(*it)[1]] = {(*it)[2], (*it)[3]};
  return rows;
}
/// Names in the first column of the tables under "## Options".
Names documented_options(const std::string& page) {
  const auto begin = page.find("\n## Options");
  if (begin == page.npos) return {};
  const std::string section = page.substr(begin, page.find("\n## ", begin + 1) - begin);
  Names out;
  for (const std::string& cell : names_in(section, std::regex("\n\\| (`[^|]*) \\|"))) out.merge(names_in(cell, quoted));
  return out;
}

/// What the pages lack, one line each.
Names lacking(const std::vector<Method>& all) {
  Names out;
  const auto rows = index_rows();
  for (const Method& method : all) {
    const std::string who = method.kind + " " + method.name;
    const auto row = rows.find(method.name);
    if (row == rows.end() || row->second.kind != method.kind) {
      out.insert(who + " has no row in docs/methods/README.md");
      continue;
    }
    const std::string& page = row->second.page;
    if (!fs::exists(folder / page)) {
      out.insert(who + ": docs/methods/" + page + " does not exist");
      continue;
    }
    const Names named = names_in(text_of(folder / page), quoted);
    if (!named.contains(method.name)) out.insert(who + " is not named in docs/methods/" + page);
    for (const std::string& option : method.options)
      if (!named.contains(option)) out.insert(who + ": option " + option + " is not named in docs/methods/" + page);
  }
  return out;
}

/// What the pages say of methods and options that are not there, one line each.
Names outdated(const std::vector<Method>& all) {
  Names out;
  std::map<std::string, Names> known;  // options by page
  for (const auto& [name, row] : index_rows()) {
    Names& options = known[row.page];
    bool found = row.kind != "objective" && row.kind != "decoder";
    for (const Method& method : all)
      if (method.name == name && method.kind == row.kind) {
        options.insert(method.options.begin(), method.options.end());
        found = true;
      }
    if (!found) out.insert(row.kind + " " + name + " of docs/methods/README.md is in no registry");
  }
  for (const auto& [page, options] : known)
    for (const std::string& option : documented_options(text_of(folder / page)))
      if (!options.contains(option)) out.insert("option " + option + " of docs/methods/" + page + " does not exist");
  return out;
}
}  // namespace

TEST_CASE("every objective and decoder has a page that names its options", "[architecture]") {
  CHECK(lacking(methods()) == Names{});
}

TEST_CASE("the method pages name no method and no option that is gone", "[architecture]") {
  CHECK(outdated(methods()) == Names{});
  Names linked, there;
  for (const auto& [name, row] : index_rows()) linked.insert(row.page);
  for (const auto& entry : fs::directory_iterator(folder)) there.insert(entry.path().filename().string());
  there.erase("README.md");
  CHECK(linked == there);
}

TEST_CASE("what a method page lacks is told by name", "[architecture]") {
  CHECK(lacking({{"objective", "toy"}}) == Names{"objective toy has no row in docs/methods/README.md"});
  CHECK(lacking({{"decoder", "vbon"}}) == Names{"decoder vbon has no row in docs/methods/README.md"});
  CHECK(lacking({{"objective", "vbon", {"n", "colour"}}}) ==
        Names{"objective vbon: option colour is not named in docs/methods/vbon.md"});
  std::vector<Method> fewer = methods();
  std::erase_if(fewer, [](const Method& method) { return method.name == "rejection"; });
  CHECK(outdated(fewer).contains("decoder rejection of docs/methods/README.md is in no registry"));
  CHECK(outdated(fewer).contains("option tries of docs/methods/rejection.md does not exist"));
}
}  // namespace vbon::test
