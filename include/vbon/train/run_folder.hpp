// vbon/train/run_folder.hpp
//
// The folder of a run. run.json holds the settings that decide the result and whether the run is finished, so
// the same command on an unfinished run resumes it, and a finished run or other settings are refused by name.
#pragma once
#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/train/checkpoint.hpp"

namespace vbon::train {
class RunFolder {
 public:
  /// @param settings   what decides the result: one level of names and values
  /// @param overwrite  true: an earlier run in this folder is removed
  /// @throws ConfigError (finished, other settings, foreign folder), RunError (in use, I/O)
  RunFolder(std::filesystem::path path, const io::Json& settings, bool overwrite)
      : path_(std::move(path)), settings_(settings) {
    std::error_code failure;
    const bool present = std::filesystem::exists(path_ / "run.json", failure);
    require<ConfigError>(!std::filesystem::exists(path_) || std::filesystem::is_directory(path_), path_.string(),
                         " is no folder; choose another --out");
    require<ConfigError>(present || !std::filesystem::exists(path_) || std::filesystem::is_empty(path_), path_.string(),
                         " holds files but no run (run.json is missing); choose another --out");
    io::make_folder(path_);
    lock();
    if (present && overwrite)
      clear();
    else if (present)
      compare();
    if (!resumed_) save(false);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// True when an unfinished run with the same settings was found.
  bool resumed() const { return resumed_; }
  void mark_finished() { save(true); }

 private:
  void lock() {
    lock_ = detail::open_file(path_ / "run.lock", O_RDWR | O_CREAT);
    require<RunError>(lock_.is_open(), "cannot open ", (path_ / "run.lock").string(), ": ", std::strerror(errno));
    require<RunError>(::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0, "another program is working in ", path_.string(),
                      "; wait for it or choose another --out");
  }
  void compare() {
    const auto held = io::read_json(path_ / "run.json");
    const io::Json before = held.value("settings", io::Json::object());
    for (const io::Json& one : {settings_, before})
      for (const auto& [key, unused] : one.items()) {
        const io::Json was = before.value(key, io::Json()), is = settings_.value(key, io::Json());
        require<ConfigError>(was == is, "the run in ", path_.string(), " was started with ", key, " = ", was.dump(),
                             ", this command has ", key, " = ", is.dump(),
                             "; use the same setting, another --out, or --overwrite");
      }
    require<ConfigError>(!held.value("finished", false), "the run in ", path_.string(),
                         " is finished; choose another --out, or --overwrite to do it again");
    resumed_ = true;
  }
  void clear() {
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (entry.path().filename() != "run.lock") std::filesystem::remove_all(entry.path());
  }
  void save(bool finished) const {
    const io::Json run = {{"settings", settings_}, {"finished", finished}};
    io::write_file_atomically(path_ / "run.json", run.dump(2) + "\n");
  }

  std::filesystem::path path_;
  io::Json settings_;
  bool resumed_ = false;
  io::FileHandle lock_;
};
}  // namespace vbon::train
