// vbon/io/mapped_file.hpp
//
// A whole file as read-only memory, without a copy: pages come in when they are touched and need no swap.
// The file must not shrink while it is mapped.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/io/byte_reader.hpp"

namespace vbon::io {
/// An open file descriptor, closed with its owner.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileHandle() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

class MappedFile {
 public:
  MappedFile() = default;
  /// @throws RunError when the path is absent, unreadable or no regular file
  explicit MappedFile(const std::filesystem::path& path) : path_(path) {
    // Not blocking: a pipe without a writer would keep the program here for ever, before it is known for a pipe.
    const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file.is_open()) throw RunError(message("cannot open ", path.string(), ": ", std::strerror(errno)));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0)
      throw RunError(message("cannot stat ", path.string(), ": ", std::strerror(errno)));
    require<RunError>(!S_ISDIR(status.st_mode), "cannot read ", path.string(), ": it is a folder, a file was expected");
    require<RunError>(S_ISREG(status.st_mode), "cannot read ", path.string(),
                      ": it is no regular file (a pipe or a device); write the content to a file and give that");
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ == 0) return;  // mmap refuses an empty range
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) throw RunError(message("cannot map ", path.string(), ": ", std::strerror(errno)));
    data_ = data;
  }
  MappedFile(MappedFile&& other) noexcept
      : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }

  Bytes bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  std::string_view text() const { return as_text(bytes()); }
  const std::filesystem::path& path() const { return path_; }
  /// Gives back the memory of the pages that were touched; they come back when they are touched again.
  void forget() const {
    if (data_ != nullptr) ::madvise(data_, size_, MADV_DONTNEED);
  }

 private:
  std::filesystem::path path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};
}  // namespace vbon::io
