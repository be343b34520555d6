// vbon/io/jsonl.hpp
//
// JSON Lines: one JSON value per line, lines end with LF or CR LF. Only these end a line, so U+2028 and
// U+0085 may stand inside strings. Blank lines are passed over, a byte order mark at the start too; a key
// that stands twice in one object is an error.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/mapped_file.hpp"

namespace vbon::io {
struct JsonlOptions {
  bool allow_cut_last_line = false;  // pass over a last line without line end that is no JSON: a crash cut it
  JsonLimits limits = {};
};

/// Calls visit(value, line_number) for every line of a text, in order.
///
/// @param name  the file, for messages
/// @return      lines passed to visit
/// @throws FormatError naming file, line and byte of the line
template <class Visit>
std::size_t parse_jsonl(std::string_view text, std::string_view name, const Visit& visit, JsonlOptions options = {}) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::size_t visited = 0;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == line.npos) continue;
    Json value;
    try {
      value = parse_json(line, message(name, ": line ", number), options.limits);
    } catch (const FormatError&) {
      if (options.allow_cut_last_line && end == text.npos) break;
      throw;
    }
    visit(value, number);
    ++visited;
  }
  return visited;
}

/// parse_jsonl of a file.
/// @throws RunError when it cannot be read, FormatError as parse_jsonl
template <class Visit>
std::size_t read_jsonl(const std::filesystem::path& path, const Visit& visit, JsonlOptions options = {}) {
  const MappedFile file(path);
  return parse_jsonl(file.text(), path.string(), visit, options);
}

/// One line of JSON in UTF-8, without the line end.
template <class Value>
std::string to_json_line(const Value& value) {
  return value.dump(-1, ' ', false, Value::error_handler_t::replace);
}

/// Adds values to a JSON Lines file, each on disk before append() returns.
class JsonlWriter {
 public:
  /// Opens or creates the file; a last line that a crash cut off is removed.
  /// @throws RunError naming the path
  explicit JsonlWriter(const std::filesystem::path& path)
      : file_(path, [](std::string_view line) { return Json::accept(line); }) {}
  template <class Value>
  void append(const Value& value) {
    file_.append(to_json_line(value));
  }

 private:
  AppendFile file_;
};
}  // namespace vbon::io
