// vbon/io/atomic_file.hpp
//
// Files that survive a crash. AtomicFile writes beside the target and renames at the end, so a reader sees
// the old file or the new one and never a part. AppendFile adds whole lines and forces them to disk.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/io/mapped_file.hpp"

namespace vbon::io {
namespace detail {
/// Throws RunError for the current errno; where the disk is full it says how much was needed and what to do.
template <class = void>
[[noreturn]] void fail_write(const std::filesystem::path& path, std::uint64_t needed) {
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    throw RunError(message("cannot write ", path.string(), ": ", std::strerror(error), "; ", needed,
                           " more bytes are needed: free space there or choose another folder"),
                   {"no_space"});
  throw RunError(message("cannot write ", path.string(), ": ", std::strerror(error)));
}
template <class = void>
void write_all(const FileHandle& file, Bytes bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_write(path, bytes.size());
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}
inline void sync_folder(const std::filesystem::path& folder) {
  const FileHandle handle(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.is_open()) ::fsync(handle.get());  // some file systems cannot sync a folder; the rename still holds
}
}  // namespace detail

class AtomicFile {
 public:
  /// Opens a temporary file in the folder of `path`, which keeps its old content until commit().
  /// @throws RunError naming the path
  template <class = void>
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    temporary_ = path_.string() + std::string(mark) + std::to_string(::getpid());
    file_ = FileHandle(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file_.is_open()) detail::fail_write(path_, 0);
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (!committed_) ::unlink(temporary_.c_str());
  }

  /// True for the name that a write to some file in this folder would use until commit(): "<name>.tmp<digits>".
  template <class = void>
  static bool is_temporary(const std::filesystem::path& path) {
    return !final_name(path).empty();
  }
  /// True for the temporary of the file `name`.
  template <class = void>
  static bool is_temporary_of(const std::filesystem::path& path, std::string_view name) {
    return final_name(path) == name;
  }

  template <class = void>
  void write(Bytes bytes) {
    if (buffer_.size() + bytes.size() > buffer_limit) flush();
    if (bytes.size() >= buffer_limit)
      detail::write_all(file_, bytes, path_);
    else
      buffer_ += as_text(bytes);
  }
  template <class = void>
  void write(std::string_view text) {
    write(as_bytes(text));
  }

  /// Makes the new content durable and visible under the path.
  /// @throws RunError; the old content then still stands
  template <class = void>
  void commit() {
    flush();
    if (::fsync(file_.get()) != 0) detail::fail_write(path_, 0);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) detail::fail_write(path_, 0);
    committed_ = true;
    detail::sync_folder(path_.parent_path());
  }

 private:
  static constexpr std::size_t buffer_limit = 1 << 16;
  static constexpr std::string_view mark = ".tmp";

  /// The name before the mark; empty where the path is not that of a temporary.
  template <class = void>
  static std::string final_name(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    const auto digits = name.find_last_not_of("0123456789") + 1;
    if (digits == name.size() || !std::string_view(name).substr(0, digits).ends_with(mark)) return "";
    return name.substr(0, digits - mark.size());
  }
  template <class = void>
  void flush() {
    detail::write_all(file_, as_bytes(buffer_), path_);
    buffer_.clear();
  }

  std::filesystem::path path_;
  std::string temporary_;
  FileHandle file_;
  std::string buffer_;
  bool committed_ = false;
};

/// Replaces the content of a file in one step.
/// @throws RunError naming the path; the old content then still stands
template <class = void>
void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

/// Creates a folder and its parents.
/// @throws RunError naming the path
template <class = void>
void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require<RunError>(!error && std::filesystem::is_directory(folder), "cannot create the folder ", folder.string(), ": ",
                    error ? error.message() : "a file of that name is in the way", "; choose another");
}

/// Adds lines to a file. A last line without line end, as a crash leaves it, is completed when the file is
/// opened if `is_whole` says that nothing is missing, and else removed.
class AppendFile {
 public:
  /// @throws RunError naming the path
  template <class IsWhole>
  AppendFile(std::filesystem::path path, const IsWhole& is_whole) : path_(std::move(path)) {
    file_ = FileHandle(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (!file_.is_open()) detail::fail_write(path_, 0);
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    const std::string tail = unfinished_line(status.st_size);
    if (tail.empty()) return;
    if (is_whole(std::string_view(tail)))
      detail::write_all(file_, as_bytes("\n"), path_);
    else if (::ftruncate(file_.get(), status.st_size - static_cast<off_t>(tail.size())) != 0)
      detail::fail_write(path_, 0);
  }
  /// Writes `line` and a line end, and returns once both are on disk. Should the write fail half-way, the
  /// part is taken back, so the file still ends with a whole line.
  /// @throws RunError naming the path
  template <class = void>
  void append(std::string_view line) {
    const std::string text = std::string(line) + '\n';
    const off_t before = ::lseek(file_.get(), 0, SEEK_END);
    try {
      detail::write_all(file_, as_bytes(text), path_);
    } catch (const RunError&) {
      if (before >= 0 && ::ftruncate(file_.get(), before) != 0) throw;  // the next open repairs it
      throw;
    }
    if (::fsync(file_.get()) != 0 && errno != EINVAL) detail::fail_write(path_, text.size());
  }

 private:
  /// What stands behind the last line end.
  template <class = void>
  std::string unfinished_line(off_t size) const {
    std::string tail;
    char block[4096];
    for (off_t end = size; end > 0;) {
      const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(sizeof block));
      const auto count = static_cast<std::size_t>(end - begin);
      if (::pread(file_.get(), block, count, begin) != static_cast<ssize_t>(count)) detail::fail_write(path_, 0);
      const std::string_view part(block, count);
      const std::size_t line_end = part.rfind('\n');
      if (line_end != part.npos) return tail.insert(0, part.substr(line_end + 1));
      tail.insert(0, part);
      end = begin;
    }
    return tail;
  }

  std::filesystem::path path_;
  FileHandle file_;
};
}  // namespace vbon::io
