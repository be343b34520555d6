// vbon/io/byte_reader.hpp
//
// The one way in which this library reads binary files: a cursor over bytes that gives nothing away before
// its length is checked, and that names the file and the byte when a check fails. All numbers in the
// formats we read are little-endian, as is every machine we run on.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "vbon/core/error.hpp"
#include "vbon/io/checked.hpp"

namespace vbon::io {
static_assert(std::endian::native == std::endian::little, "file formats are read in place on little-endian machines");

using Bytes = std::span<const std::byte>;

inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

/// Copies a plain value out of bytes that need not be aligned.
template <class T>
requires std::is_trivially_copyable_v<T> T load_unaligned(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

class ByteReader {
 public:
  /// @param bytes  must outlive the reader
  /// @param name   the file, for messages
  ByteReader(Bytes bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return bytes_.size() - position_; }

  /// The next `count` bytes.
  /// @throws FormatError when fewer are left, or count is invalid
  template <class = void>
  Bytes take(CheckedSize count, std::string_view what) {
    if (!count.fits(remaining())) {
      if (count.valid()) fail(what, " needs ", count.value(), " bytes, but the file has only ", remaining(), " left");
      fail("the size of ", what, " exceeds 64 bits");
    }
    const Bytes part = bytes_.subspan(position_, count.value());
    position_ += count.value();
    return part;
  }
  template <class T>
  requires std::is_arithmetic_v<T> T number(std::string_view what) {
    return load_unaligned<T>(take(sizeof(T), what).data());
  }
  void skip(CheckedSize count, std::string_view what) { take(count, what); }

  /// Throws FormatError that names the file and the current byte.
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(position_, parts...);
  }
  template <class... Parts>
  [[noreturn]] void fail_at(std::uint64_t position, const Parts&... parts) const {
    throw FormatError(message(name_, ": byte ", position, ": ", parts...));
  }

 private:
  Bytes bytes_;
  std::string name_;
  std::uint64_t position_ = 0;
};
}  // namespace vbon::io
