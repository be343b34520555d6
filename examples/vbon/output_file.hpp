// A file of JSON lines that a command adds to, prompt by prompt, and goes on with when it is given again.
#pragma once
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/io/file_lock.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::program {
/// Keeps every other program away from the file for as long as the handle lives; creates it where it is not there.
/// @throws ConfigError for what is no file, RunError where it cannot be opened or another program writes it
inline io::FileHandle hold_output(const std::filesystem::path& path) {
  std::error_code unknown;
  require<ConfigError>(!std::filesystem::exists(path, unknown) || std::filesystem::is_regular_file(path, unknown), "--out ",
                       path.string(), " is no file; choose another");
  io::FileHandle file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  require<RunError>(file.is_open(), "cannot open ", path.string(), ": ", std::strerror(errno));
  require<RunError>(io::lock_file(file), "another program is writing ", path.string(),
                    "; wait for it or choose another --out");
  return file;
}

/// Calls visit(row, where) for every line that an earlier start of the command left in its file.
/// @param command   "vbon decode", for messages
/// @param settings  what each line must have been made with
/// @throws FormatError for a file of another kind; ConfigError for other settings, naming what differs
template <class Visit>
void read_held(const std::filesystem::path& path, std::string_view command, const io::Json& settings, const Visit& visit) {
  bool any = false;
  const io::MappedFile file(path);
  io::parse_jsonl(file.text(), path.string(),
                  [&](const io::Json& row, std::size_t line) {
                    const std::string where = message(path.string(), " line ", line);
                    const io::Json* made = io::json_find(row, "settings");
                    require<FormatError>(made != nullptr && made->is_object(), where, " was not written by ", command,
                                         "; choose another --out");
                    for (const io::Json* one : {&settings, made})
                      for (const auto& [key, unused] : one->items()) {
                        const io::Json was = made->value(key, io::Json()), is = settings.value(key, io::Json());
                        require<ConfigError>(was == is, where, " was made with ", key, " = ", was.dump(),
                                             ", this command has ", key, " = ", is.dump(),
                                             "; use the same setting or another --out");
                      }
                    visit(row, where);
                    any = true;
                  },
                  {.allow_cut_last_line = true});
  // A last line that a kill cut off is going to be removed: not without a look at what it is.
  const std::string_view ours = R"({"prompt":")", start = file.text().substr(0, ours.size());
  require<FormatError>(any || ours.starts_with(start), path.string(), " was not written by ", command,
                       "; choose another --out");
}

/// @throws ConfigError where the line was made for another prompt than this one
inline void require_same_prompt(const io::Json& row, const std::string& text, std::size_t number, const std::string& where) {
  const io::Json prompt = text;  // compared as it is written: what is no UTF-8 was replaced
  require<ConfigError>(io::to_json_line(prompt) == io::to_json_line(row.value("prompt", io::Json())), where,
                       " answers another prompt than prompt ", number, " of this command ('", io::excerpt(text),
                       "'); choose another --out");
}
}  // namespace vbon::program
