// conformance.GROUP ROOT UNIT: checks one unit with the handler whose pattern fits it.
// Exit code 0: all checks hold; 1: a failure; 77: no handler, or the unit's data is not here.
#include "support/conformance.hpp"

#include <fstream>
#include <stdexcept>

namespace vbon::test {
Json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot open " + path.string());
  return Json::parse(in);
}
std::vector<Json> read_json_lines(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot open " + path.string());
  std::vector<Json> rows;
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) rows.push_back(Json::parse(line));
  return rows;
}

namespace {
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    for (std::size_t n = 0; n <= text.size(); ++n) {
      if (matches(pattern.substr(1), text.substr(n))) return true;
      if (n < text.size() && text[n] == '/') return false;
    }
    return false;
  }
  return !text.empty() && text.front() == pattern.front() && matches(pattern.substr(1), text.substr(1));
}

int skip_unit(const std::string& reason, bool missing_data) {
  if (missing_data && data_required()) {
    std::cout << "FAILED: " << reason << " (VBON_REQUIRE_DATA=1)\n";
    return 1;
  }
  std::cout << "SKIPPED: " << reason << '\n';
  return skip_code;
}

int run(const std::filesystem::path& root, const std::string& unit) {
  if (!std::filesystem::exists(root)) return skip_unit("folder " + root.string() + " is absent", true);
  Report report;
  bool handled = false;
  for (const auto& handler : handlers())
    if (matches(handler.pattern, unit)) {
      handled = true;
      handler.check(root / unit, report);
    }
  if (!handled) return skip_unit(unit + " is not covered by a check yet", false);
  std::cout << unit << ": " << report.cases() << " cases, " << report.checks() << " checks, " << report.failures().size()
            << " failures\n";
  const std::size_t shown = std::min<std::size_t>(report.failures().size(), 20);
  for (std::size_t i = 0; i < shown; ++i) std::cout << "  " << report.failures()[i] << '\n';
  if (!report.failures().empty()) return 1;
  if (!report.skip_reason().empty()) return skip_unit(unit + ": " + report.skip_reason(), report.missing_data());
  if (report.checks() == 0) {
    std::cout << "FAILED: the check of " << unit << " checked nothing\n";
    return 1;
  }
  return 0;
}
}  // namespace
}  // namespace vbon::test

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " ROOT UNIT\n";
    return 2;
  }
  try {
    return vbon::test::run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cout << "FAILED: " << argv[2] << ": " << error.what() << '\n';
    return 1;
  }
}
