// Conformance tests: a handler checks one data file (or folder) that others recorded. Handlers register
// themselves for a pattern; the program is started once per unit that is found, so a unit without a
// handler shows up as skipped by name, and no list of files stands in the tests.
#pragma once
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/skip.hpp"

namespace vbon::test {
using Json = nlohmann::json;

/// Collects what one unit's check found. Each checked case counts once; failures keep their message.
class Report {
 public:
  void begin_case(std::string name) {
    ++cases_;
    current_ = std::move(name);
  }
  template <class... Parts>
  bool check(bool ok, const Parts&... parts) {
    ++checks_;
    if (!ok) {
      std::ostringstream out;
      out.precision(17);
      out << current_ << ": ";
      (out << ... << parts);
      failures_.push_back(std::move(out).str());
    }
    return ok;
  }
  /// |got - want| <= absolute + relative |want|; infinities must be equal.
  bool near(double got, double want, double absolute, double relative, std::string_view what) {
    const bool ok = got == want || std::abs(got - want) <= absolute + relative * std::abs(want);
    return check(ok, what, ": got ", got, ", expected ", want, ", off by ", got - want);
  }
  /// Runs f; it must throw. Returns the error's text.
  template <class Kind = std::exception, class F>
  std::string throws(F&& f, std::string_view what) {
    try {
      f();
    } catch (const Kind& error) {
      ++checks_;
      return error.what();
    }
    check(false, what, ": an error was expected");
    return {};
  }
  /// The unit needs something that is not here; `missing_data` says whether VBON_REQUIRE_DATA turns it into a failure.
  void skip(std::string reason, bool missing_data = false) {
    skip_reason_ = std::move(reason);
    missing_data_ = missing_data;
  }

  int cases() const { return cases_; }
  int checks() const { return checks_; }
  const std::vector<std::string>& failures() const { return failures_; }
  const std::string& skip_reason() const { return skip_reason_; }
  bool missing_data() const { return missing_data_; }

 private:
  std::string current_ = "-";
  int cases_ = 0;
  int checks_ = 0;
  std::vector<std::string> failures_;
  std::string skip_reason_;
  bool missing_data_ = false;
};

using Check = std::function<void(const std::filesystem::path& unit, Report& report)>;

struct Handler {
  std::string pattern;  // relative to the root; '*' matches within one path component
  Check check;
};
inline std::vector<Handler>& handlers() {
  static std::vector<Handler> all;
  return all;
}
/// static const Register check_it("core/log_bon.json", [](const auto& path, Report& report) { ... });
struct Register {
  Register(std::string pattern, Check check) { handlers().push_back({std::move(pattern), std::move(check)}); }
};

/// A number that may be written as "inf", "-inf" or "nan".
inline double number(const Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (text == "inf") return INFINITY;
    if (text == "-inf") return -INFINITY;
    return NAN;
  }
  return value.get<double>();
}
inline std::vector<double> numbers(const Json& values) {
  std::vector<double> out;
  for (const auto& value : values) out.push_back(number(value));
  return out;
}
Json read_json(const std::filesystem::path& path);
std::vector<Json> read_json_lines(const std::filesystem::path& path);
}  // namespace vbon::test
