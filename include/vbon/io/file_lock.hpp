// vbon/io/file_lock.hpp
//
// An exclusive lock on an open file. The system ends it when its last descriptor closes, so no crash leaves one behind,
// but a child that the holder was starting when it was killed keeps its copy until it calls exec, whatever the
// descriptor's flags: milliseconds on a busy machine. So a lock that is taken is asked for again before it is refused.
#pragma once
#include <sys/file.h>

#include <chrono>
#include <ctime>

#include "vbon/io/mapped_file.hpp"

namespace vbon::io {
/// True once the file is locked; false when another still holds it after `patience`.
inline bool lock_file(const FileHandle& file, std::chrono::milliseconds patience = std::chrono::milliseconds(1000)) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= until) return false;
    const timespec pause{0, 5'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return true;
}
}  // namespace vbon::io
