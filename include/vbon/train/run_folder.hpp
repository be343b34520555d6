// vbon/train/run_folder.hpp
//
// The folder of a run. run.json holds the settings that decide the result and whether the run is finished, so
// the same command on an unfinished run resumes it, and a finished run or other settings are refused by name.
// A run may be killed at any moment: before run.json stands, inside a write, or between the last file and the
// mark; each of these folders is one that the same command goes on with.
#pragma once
#include <fcntl.h>

#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/file_lock.hpp"
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
    require<ConfigError>(!std::filesystem::exists(path_) || std::filesystem::is_directory(path_), path_.string(),
                         " is no folder; choose another --out");
    require<ConfigError>(std::filesystem::exists(path_ / "run.json") || !holds_results(path_), path_.string(),
                         " holds files but no run (run.json is missing); choose another --out");
    io::make_folder(path_);
    lock();
    const bool present = std::filesystem::exists(path_ / "run.json");  // asked under the lock
    if (present && overwrite)
      clear();
    else if (present)
      compare();
    remove_unfinished_writes();
    if (!resumed_) save(false);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  /// A run that an error ends before it left anything leaves no settings that the corrected command would meet.
  ~RunFolder() {
    if (resumed_ || std::uncaught_exceptions() <= exceptions_ || holds_results(path_)) return;
    std::error_code ignored;
    std::filesystem::remove(path_ / "run.json", ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  /// True when an unfinished run with the same settings was found.
  bool resumed() const { return resumed_; }
  void mark_finished() { save(true); }

 private:
  void lock() {
    lock_ = detail::open_file(path_ / "run.lock", O_RDWR | O_CREAT);
    require<RunError>(lock_.is_open(), "cannot open ", (path_ / "run.lock").string(), ": ", std::strerror(errno));
    require<RunError>(io::lock_file(lock_), "another program is working in ", path_.string(),
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
    const bool finished = held.value("finished", false);
    if (finished) CheckpointStore(path_).remove();  // a kill right after the mark leaves them
    require<ConfigError>(!finished, "the run in ", path_.string(),
                         " is finished; choose another --out, or --overwrite to do it again");
    resumed_ = true;
  }
  /// run.json goes last: until then the folder is that of a run.
  void clear() {
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (const auto name = entry.path().filename(); name != "run.lock" && name != "run.json")
        std::filesystem::remove_all(entry.path());
    std::filesystem::remove(path_ / "run.json");
  }
  /// True when a file stands there beside the lock and the settings, whole or half written. Throws nothing.
  static bool holds_results(const std::filesystem::path& folder) {
    std::error_code failure;
    std::filesystem::directory_iterator entry(folder, failure);
    for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
      const auto& path = entry->path();
      const bool settings = path.filename() == "run.json" || io::AtomicFile::is_temporary_of(path, "run.json");
      if (!settings && path.filename() != "run.lock") return true;
    }
    return false;
  }
  /// Under the lock nobody else writes here, so every temporary file is one that a kill left behind.
  void remove_unfinished_writes() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(path_, std::filesystem::directory_options::skip_permission_denied))
      if (io::AtomicFile::is_temporary(entry.path())) found.push_back(entry.path());
    std::error_code ignored;
    for (const auto& path : found) std::filesystem::remove(path, ignored);
  }
  void save(bool finished) const {
    const io::Json run = {{"settings", settings_}, {"finished", finished}};
    io::write_file_atomically(path_ / "run.json", run.dump(2) + "\n");
  }

  std::filesystem::path path_;
  io::Json settings_;
  bool resumed_ = false;
  int exceptions_ = std::uncaught_exceptions();
  io::FileHandle lock_;
};
}  // namespace vbon::train
