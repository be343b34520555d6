// vbon/train/checkpoint.hpp
//
// Two slots of equal size, written in turn: while one is being overwritten the other stays good, and a write
// that was cut short is told by its checksum. Both slots get their disk space before training starts, so a
// disk that fills up later cannot stop a checkpoint.
//
//   slot: "VBONCKP1", sequence, bytes of JSON, bytes of arrays, checksum  (5 x 8 bytes)  JSON  arrays (float32)
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/mapped_file.hpp"

namespace vbon::train {
namespace detail {
/// Order-dependent 64-bit checksum in four lanes, fast enough to hide behind the disk. It tells torn writes
/// and flipped bits; it is no defence against forgery. How the bytes are cut into pieces does not count: arrays are
/// written one by one and read in blocks.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    total_ += bytes.size();
    if (held_ > 0) {
      const std::size_t part = std::min(block - held_, bytes.size());
      std::copy_n(bytes.data(), part, rest_.data() + held_);
      held_ += part;
      bytes = bytes.subspan(part);
      if (held_ < block) return;
      mix_block(rest_.data());
    }
    for (; bytes.size() >= block; bytes = bytes.subspan(block)) mix_block(bytes.data());
    held_ = bytes.size();
    std::copy_n(bytes.data(), held_, rest_.data());
  }
  std::uint64_t value() const {
    Checksum all = *this;
    std::fill(all.rest_.begin() + static_cast<std::ptrdiff_t>(held_), all.rest_.end(), std::byte{0});
    if (held_ > 0) all.mix_block(all.rest_.data());
    std::uint64_t h = total_;
    for (const std::uint64_t lane : all.lanes_) {
      h = (h ^ lane) * 0x9E3779B97F4A7C15ULL;
      h ^= h >> 29;
    }
    return h;
  }

 private:
  static constexpr std::size_t block = 32;  // a word of eight bytes for each lane

  void mix_block(const std::byte* bytes) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes, block);
    for (std::size_t lane = 0; lane < 4; ++lane)
      lanes_[lane] = std::rotl((lanes_[lane] ^ words[lane]) * 0x9E3779B97F4A7C15ULL, 31);
  }

  std::array<std::uint64_t, 4> lanes_ = {1, 2, 3, 4};
  std::array<std::byte, block> rest_ = {};  // the first held_ bytes wait for a whole block
  std::size_t held_ = 0;
  std::uint64_t total_ = 0;
};

inline io::FileHandle open_file(const std::filesystem::path& path, int flags) {
  return io::FileHandle(::open(path.c_str(), flags | O_CLOEXEC, 0666));
}

inline std::string in_megabytes(std::uint64_t bytes) { return message((bytes + 999'999) / 1'000'000, " MB"); }
}  // namespace detail

/// What a checkpoint holds besides a few words of JSON: named runs of floats, written from and read into place.
using CheckpointArrays = std::vector<std::span<float>>;

class CheckpointStore {
 public:
  static constexpr std::size_t header_bytes = 40;
  static constexpr std::size_t json_room = 1 << 16;  // the space kept for the JSON part

  explicit CheckpointStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path slot(int i) const { return folder_ / message("checkpoint.", i); }

  /// Takes the disk space of both slots.
  /// @throws RunError disk_full, with what is needed and what is there
  template <class = void>
  void reserve(const CheckpointArrays& arrays) {
    const std::uint64_t size = header_bytes + json_room + bytes_of(arrays);
    for (int i = 0; i < 2; ++i) {
      const io::FileHandle file = detail::open_file(slot(i), O_RDWR | O_CREAT);
      require<RunError>(file.is_open(), "cannot open ", slot(i).string(), ": ", std::strerror(errno));
      const int failure = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size));
      if (failure == 0) continue;
      std::error_code ignored;
      const auto space = std::filesystem::space(folder_, ignored);
      for (int k = 0; k < 2; ++k)
        if (!held(k)) std::filesystem::remove(slot(k), ignored);
      throw RunError(message("no room for checkpoints in ", folder_.string(), " (", std::strerror(failure), "): two of ",
                             detail::in_megabytes(size), " are kept, ", detail::in_megabytes(space.available),
                             " are free; free space or choose another --out"),
                     ErrorCode{"no_space"});
    }
  }

  /// Writes the next checkpoint over the older slot and returns once it is on the disk.
  /// @throws RunError; the newer slot stays as it was
  template <class = void>
  void write(const io::Json& about, const CheckpointArrays& arrays) {
    const auto newest = newest_slot();
    const int target = newest ? 1 - newest->first : 0;
    const std::uint64_t sequence = newest ? newest->second.sequence + 1 : 1;
    const std::string json = about.dump();
    require<RunError>(json.size() <= json_room, "checkpoint: ", json.size(), " bytes of JSON, at most ", json_room, " fit");
    detail::Checksum checksum;
    checksum.add(std::as_bytes(std::span(json)));
    for (const auto& array : arrays) checksum.add(std::as_bytes(array));
    const std::array<std::uint64_t, 5> header = {magic, sequence, json.size(), bytes_of(arrays), checksum.value()};
    const io::FileHandle file = detail::open_file(slot(target), O_WRONLY | O_CREAT);
    require<RunError>(file.is_open(), "cannot open ", slot(target).string(), ": ", std::strerror(errno));
    std::uint64_t written = 0;
    write_all(file, std::as_bytes(std::span(header)), target, written);
    write_all(file, std::as_bytes(std::span(json)), target, written);
    for (const auto& array : arrays) write_all(file, std::as_bytes(array), target, written);
    require<RunError>(::fdatasync(file.get()) == 0, "cannot write ", slot(target).string(), ": ", std::strerror(errno));
    checked_[static_cast<std::size_t>(target)] = sequence;
  }

  /// Reads the newest checkpoint that is whole into the arrays; nothing when there is none.
  /// @throws ShapeError when the checkpoint belongs to a policy of another size
  template <class = void>
  std::optional<io::Json> read(const CheckpointArrays& arrays) {
    std::vector<std::pair<int, Header>> found;
    for (int i = 0; i < 2; ++i)
      if (const auto header = header_of(i)) found.emplace_back(i, *header);
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.second.sequence > b.second.sequence; });
    for (const auto& [i, header] : found) {
      require<ShapeError>(header.array_bytes == bytes_of(arrays), slot(i).string(), ": holds ", header.array_bytes,
                          " bytes of parameters and moments, ", bytes_of(arrays), " expected; it belongs to another model");
      if (auto about = read_slot(i, header, arrays)) return about;
    }
    return std::nullopt;
  }

  void remove() {
    std::error_code ignored;
    for (int i = 0; i < 2; ++i) std::filesystem::remove(slot(i), ignored);
  }

 private:
  static constexpr std::uint64_t piece = std::uint64_t{32} << 20;  // that is written at once
  static constexpr std::uint64_t magic = 0x31504B434E4F4256ULL;    // "VBONCKP1", little-endian
  struct Header {
    std::uint64_t sequence, json_bytes, array_bytes, checksum;
  };

  static std::uint64_t bytes_of(const CheckpointArrays& arrays) {
    std::uint64_t bytes = 0;
    for (const auto& array : arrays) bytes += array.size_bytes();
    return bytes;
  }
  bool held(int i) const { return header_of(i).has_value(); }

  /// The header of a slot whose sizes fit its file.
  std::optional<Header> header_of(int i) const {
    const io::FileHandle file = detail::open_file(slot(i), O_RDONLY);
    std::array<std::uint64_t, 5> raw{};
    struct stat info {};
    if (!file.is_open() || ::fstat(file.get(), &info) != 0 ||
        ::read(file.get(), raw.data(), header_bytes) != static_cast<ssize_t>(header_bytes))
      return std::nullopt;
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (raw[0] != magic || raw[2] > json_room || raw[3] > size || header_bytes + raw[2] + raw[3] > size) return std::nullopt;
    return Header{raw[1], raw[2], raw[3], raw[4]};
  }
  /// The slot a next write must spare: the newest whole one. Checksums are read once, later writes are known good.
  template <class = void>
  std::optional<std::pair<int, Header>> newest_slot() {
    std::optional<std::pair<int, Header>> newest;
    for (int i = 0; i < 2; ++i) {
      const auto header = header_of(i);
      if (!header || (newest && newest->second.sequence > header->sequence)) continue;
      if (checked_[static_cast<std::size_t>(i)] != header->sequence) {
        if (!whole(i, *header)) continue;
        checked_[static_cast<std::size_t>(i)] = header->sequence;
      }
      newest.emplace(i, *header);
    }
    return newest;
  }
  template <class = void>
  bool whole(int i, const Header& header) const {
    const io::FileHandle file = detail::open_file(slot(i), O_RDONLY);
    if (!file.is_open() || ::lseek(file.get(), header_bytes, SEEK_SET) < 0) return false;
    detail::Checksum checksum;
    std::vector<std::byte> json(header.json_bytes), block(std::size_t{1} << 22);
    if (!read_all(file, json)) return false;
    checksum.add(json);
    for (std::uint64_t left = header.array_bytes; left > 0;) {
      const auto part = std::span(block).first(std::min<std::uint64_t>(left, block.size()));
      if (!read_all(file, part)) return false;
      checksum.add(part);
      left -= part.size();
    }
    return checksum.value() == header.checksum;
  }
  template <class = void>
  std::optional<io::Json> read_slot(int i, const Header& header, const CheckpointArrays& arrays) {
    if (!whole(i, header)) return std::nullopt;  // before anything is overwritten
    checked_[static_cast<std::size_t>(i)] = header.sequence;
    const io::FileHandle file = detail::open_file(slot(i), O_RDONLY);
    if (!file.is_open() || ::lseek(file.get(), header_bytes, SEEK_SET) < 0) return std::nullopt;
    std::string json(header.json_bytes, ' ');
    bool ok = read_all(file, std::as_writable_bytes(std::span(json)));
    for (const auto& array : arrays) ok = ok && read_all(file, std::as_writable_bytes(array));
    require<RunError>(ok, "cannot read ", slot(i).string());
    return io::parse_json(json, slot(i).string());
  }
  static bool read_all(const io::FileHandle& file, std::span<std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::read(file.get(), bytes.data(), std::min<std::size_t>(bytes.size(), std::size_t{1} << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// @param written  bytes before these
  template <class = void>
  void write_all(const io::FileHandle& file, std::span<const std::byte> bytes, int target, std::uint64_t& written) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(file.get(), bytes.data(), std::min<std::size_t>(bytes.size(), piece - written % piece));
      if (n < 0 && errno == EINTR) continue;
      bool ok = n > 0;
      if (ok) {
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        written += static_cast<std::uint64_t>(n);
        ok = written % piece != 0 || let_go(file, written);
      }
      require<RunError>(ok, ErrorCode{"no_space"}, "cannot write ", slot(target).string(), ": ", std::strerror(errno),
                        "; the checkpoint before it is whole: free space and run the same command again");
    }
  }
  /// A piece that is full goes to the disk while the next is copied, and the memory of the one before it is given back: a
  /// checkpoint as large as the model would otherwise take as much memory again, which costs more time than the disk.
  /// False with errno where the disk failed: fdatasync() would not tell again.
  static bool let_go([[maybe_unused]] const io::FileHandle& file, [[maybe_unused]] std::uint64_t written) {
#if defined(__linux__)
    const auto end = static_cast<off64_t>(written), size = static_cast<off64_t>(piece);
    const auto wish = [&](off64_t begin, unsigned flags) {  // a file system may not know it
      return ::sync_file_range(file.get(), begin, size, flags) == 0 || (errno != EIO && errno != ENOSPC && errno != EDQUOT);
    };
    if (!wish(end - size, SYNC_FILE_RANGE_WRITE)) return false;
    if (end < 2 * size) return true;
    if (!wish(end - 2 * size, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER))
      return false;
    ::posix_fadvise(file.get(), end - 2 * size, size, POSIX_FADV_DONTNEED);
#endif
    return true;
  }

  std::filesystem::path folder_;
  std::array<std::uint64_t, 2> checked_ = {};
};
}  // namespace vbon::train
