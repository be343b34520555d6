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
/// What a command keeps in its folder.
struct RunKind {
  std::string command;             // "align"; a folder of another command is left alone
  std::vector<std::string> files;  // files and folders it writes, run.json and run.lock apart: all that overwriting removes
};

class RunFolder {
 public:
  /// Looks at the folder and locks it. What stands there stays as it is until begin().
  ///
  /// @param settings   what decides the result: one level of names and values
  /// @param overwrite  true: begin() removes an earlier run of this kind
  /// @throws ConfigError (finished, other settings, another command's or a foreign folder), RunError (in use, I/O)
  template <class = void>
  RunFolder(std::filesystem::path path, RunKind kind, const io::Json& settings, bool overwrite)
      : path_(std::move(path)), kind_(std::move(kind)), settings_(settings) {
    require<ConfigError>(!path_.empty(), "--out is empty; name a folder");
    require<ConfigError>(!std::filesystem::exists(path_) || std::filesystem::is_directory(path_), path_.string(),
                         " is no folder; choose another --out");
    require<ConfigError>(std::filesystem::exists(path_ / "run.json") || !holds_results(path_), path_.string(),
                         " holds files but no run (run.json is missing); choose another --out");
    io::make_folder(path_);
    lock();
    if (!std::filesystem::exists(path_ / "run.json")) return;  // asked under the lock
    const io::Json held = own_run();
    if (overwrite)
      replaces_ = true;
    else
      compare(held);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  /// A run that an error ends before it left anything leaves no settings that the corrected command would meet.
  ~RunFolder() {
    if (!begun_ || resumed_ || std::uncaught_exceptions() <= exceptions_ || holds_results(path_)) return;
    std::error_code ignored;
    std::filesystem::remove(path_ / "run.json", ignored);
  }

  /// Call once all that the command needs was loaded: removes the earlier run that is to be replaced, and writes the
  /// settings. A command with a mistake in it ends before, and the earlier run stays.
  template <class = void>
  void begin() {
    if (replaces_) clear();
    remove_unfinished_writes();
    if (!resumed_) save(false);
    begun_ = true;
  }

  const std::filesystem::path& path() const { return path_; }
  /// True when an unfinished run with the same settings was found.
  bool resumed() const { return resumed_; }
  /// True when begin() removes an earlier run.
  bool replaces() const { return replaces_; }
  template <class = void>
  void mark_finished() {
    save(true);
  }

 private:
  template <class = void>
  void lock() {
    lock_ = detail::open_file(path_ / "run.lock", O_RDWR | O_CREAT);
    require<RunError>(lock_.is_open(), "cannot open ", (path_ / "run.lock").string(), ": ", std::strerror(errno));
    require<RunError>(io::lock_file(lock_), "another program is working in ", path_.string(),
                      "; wait for it or choose another --out");
  }
  /// run.json, where this command wrote it.
  template <class = void>
  io::Json own_run() const {
    const auto file = path_ / "run.json";
    io::Json held = io::read_json(file);
    const bool own = held.is_object() && held.contains("command") && held["command"].is_string() &&
                     held.contains("settings") && held["settings"].is_object() && held.contains("finished") &&
                     held["finished"].is_boolean();
    require<ConfigError>(own, file.string(), " is none that this program wrote; choose another --out");
    const auto command = held["command"].get<std::string>();
    require<ConfigError>(command == kind_.command, path_.string(), " holds a run of 'vbon ", command, "', not of 'vbon ",
                         kind_.command, "'; choose another --out");
    return held;
  }
  template <class = void>
  void compare(const io::Json& held) {
    const io::Json& before = held["settings"];
    // What both name comes first: a key that one of them lacks follows from another that differs.
    for (const bool both : {true, false})
      for (const io::Json& one : {settings_, before})
        for (const auto& [key, unused] : one.items()) {
          if (both && !(before.contains(key) && settings_.contains(key))) continue;
          const io::Json was = before.value(key, io::Json()), is = settings_.value(key, io::Json());
          require<ConfigError>(was == is, "the run in ", path_.string(), " was started with ", key, " = ", was.dump(),
                               ", this command has ", key, " = ", is.dump(),
                               "; use the same setting, another --out, or --overwrite");
        }
    const bool finished = held["finished"].get<bool>();
    if (finished) CheckpointStore(path_).remove();  // a kill right after the mark leaves them
    require<ConfigError>(!finished, "the run in ", path_.string(),
                         " is finished; choose another --out, or --overwrite to do it again");
    resumed_ = true;
  }
  /// run.json goes last: until then the folder is that of a run. Files of others stay.
  template <class = void>
  void clear() {
    for (const auto& name : kind_.files) std::filesystem::remove_all(path_ / name);
    CheckpointStore(path_).remove();
    std::filesystem::remove(path_ / "run.json");
  }
  /// True when a file stands there beside the lock and the settings, whole or half written. Throws nothing.
  template <class = void>
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
  template <class = void>
  void remove_unfinished_writes() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(path_, std::filesystem::directory_options::skip_permission_denied))
      if (io::AtomicFile::is_temporary(entry.path())) found.push_back(entry.path());
    std::error_code ignored;
    for (const auto& path : found) std::filesystem::remove(path, ignored);
  }
  template <class = void>
  void save(bool finished) const {
    const io::Json run = {{"command", kind_.command}, {"settings", settings_}, {"finished", finished}};
    io::write_file_atomically(path_ / "run.json", run.dump(2) + "\n");
  }

  std::filesystem::path path_;
  RunKind kind_;
  io::Json settings_;
  bool resumed_ = false, replaces_ = false, begun_ = false;
  int exceptions_ = std::uncaught_exceptions();
  io::FileHandle lock_;
};
}  // namespace vbon::train
