// vbon/io/write_gguf.hpp
//
// Writes GGUF version 3: metadata, then tensors as F32, F16, BF16, Q8_0 or Q4_0, converted on the way to disk. A
// crash leaves no half-written file.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "vbon/core/block_format.hpp"
#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/write_safetensors.hpp"

namespace vbon::io {
/// Keys and values in the order in which they are added.
class GgufMetadata {
 public:
  /// A flag, a number of the type given, text, or a list of numbers or texts.
  /// @throws ConfigError when the key was added before
  template <class T>
  void add(const std::string& key, const T& value) {
    require<ConfigError>(std::find(keys_.begin(), keys_.end(), key) == keys_.end(), "GgufMetadata: the key \"", key,
                         "\" was added before");
    keys_.push_back(key);
    put_text(key);
    if constexpr (requires { value.begin(); } && !std::is_convertible_v<T, std::string_view>) {
      using Element = std::decay_t<decltype(*value.begin())>;
      put_number(static_cast<std::uint32_t>(GgufType::array));
      put_number(static_cast<std::uint32_t>(type_of<Element>()));
      put_number(static_cast<std::uint64_t>(value.size()));
      for (const auto& element : value) put_value(element);
    } else {
      put_number(static_cast<std::uint32_t>(type_of<T>()));
      put_value(value);
    }
  }
  std::uint64_t count() const { return keys_.size(); }
  const std::string& encoded() const { return encoded_; }

 private:
  template <class T>
  static constexpr GgufType type_of() {
    if constexpr (std::is_convertible_v<T, std::string_view>)
      return GgufType::string;
    else if constexpr (std::is_same_v<T, bool>)
      return GgufType::boolean;
    else if constexpr (std::is_floating_point_v<T>)
      return sizeof(T) == 4 ? GgufType::f32 : GgufType::f64;
    else {
      static_assert(std::is_integral_v<T>, "GGUF holds flags, numbers, text, and lists of them");
      constexpr GgufType unsigned_types[] = {GgufType::u8, GgufType::u16, GgufType::u32, GgufType::u64};
      constexpr GgufType signed_types[] = {GgufType::i8, GgufType::i16, GgufType::i32, GgufType::i64};
      constexpr int size = std::countr_zero(sizeof(T));
      return std::is_signed_v<T> ? signed_types[size] : unsigned_types[size];
    }
  }
  template <class T>
  void put_number(T value) {
    encoded_ += as_text(std::as_bytes(std::span(&value, 1)));
  }
  template <class = void>
  void put_text(std::string_view text) {
    put_number(static_cast<std::uint64_t>(text.size()));
    encoded_ += text;
  }
  template <class T>
  void put_value(const T& value) {
    if constexpr (std::is_convertible_v<T, std::string_view>)
      put_text(value);
    else if constexpr (std::is_same_v<T, bool>)
      put_number(static_cast<std::uint8_t>(value));
    else
      put_number(value);
  }

  std::vector<std::string> keys_;
  std::string encoded_;
};

/// Floats that are there already, or made when their turn comes.
struct GgufTensorToWrite {
  std::string name;
  std::vector<Index> shape;  // row-major
  std::span<const float> values = {};
  BlockType type = BlockType::f32;                  // one with an encoder
  std::function<void(std::span<float>)> make = {};  // used instead of values: fills what is kept while it is written
};

namespace detail {
template <class = void>
std::string writable_types() {
  std::string names;
  for (const BlockFormat& format : block_formats)
    if (format.encode != nullptr) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}
template <class = void>
std::uint64_t stored_bytes(const GgufTensorToWrite& tensor) {
  CheckedSize size = 1;
  for (const Index n : tensor.shape) size = size * n;
  require<ShapeError>(size.valid() && tensor.shape.size() <= 4 &&
                          (tensor.make ? tensor.values.empty() : size.value() == tensor.values.size()),
                      "write_gguf: tensor \"", tensor.name, "\": shape ", shape_text(tensor.shape), " does not fit its ",
                      tensor.values.size(), " values");
  const BlockFormat& format = block_format(tensor.type);
  require<ConfigError>(format.encode != nullptr, "write_gguf: tensor \"", tensor.name, "\": the type ", format.name,
                       " cannot be written; known: ", writable_types());
  require<ShapeError>(tensor.shape.empty() || tensor.shape.back() % static_cast<Index>(format.elements) == 0,
                      "write_gguf: tensor \"", tensor.name, "\": rows of ", tensor.shape.empty() ? 0 : tensor.shape.back(),
                      " values are no multiple of the ", format.elements, " of a ", format.name, " block");
  return size.value() / format.elements * format.bytes;
}
template <class = void>
void write_values(AtomicFile& file, const GgufTensorToWrite& tensor) {
  if (tensor.make) {
    const BlockFormat& format = block_format(tensor.type);
    std::vector<float> made(stored_bytes(tensor) / format.bytes * format.elements);
    tensor.make(made);
    return write_values(file, {.name = tensor.name, .shape = tensor.shape, .values = made, .type = tensor.type});
  }
  if (tensor.type == BlockType::f32) return file.write(std::as_bytes(tensor.values));
  if (tensor.type == BlockType::f16) return write_narrow(file, tensor.values, float_to_half);
  if (tensor.type == BlockType::bf16) return write_narrow(file, tensor.values, float_to_bfloat16);
  const BlockFormat& format = block_format(tensor.type);
  std::vector<std::uint8_t> block(format.bytes);
  for (std::size_t at = 0; at < tensor.values.size(); at += format.elements) {
    format.encode(tensor.values.data() + at, block.data());
    file.write(std::as_bytes(std::span(block)));
  }
}
}  // namespace detail

/// Writes one file; tensors keep their order.
/// @throws ShapeError when shape and values differ or rows do not fill blocks, ConfigError for a type that
///         cannot be written or a name twice, RunError when the disk is full (the old file then still stands)
template <class = void>
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                std::span<const GgufTensorToWrite> tensors) {
  constexpr std::uint64_t alignment = 32;
  std::string header = "GGUF";
  const auto put = [&](auto value) { header += as_text(std::as_bytes(std::span(&value, 1))); };
  const auto padding = [](std::uint64_t size) { return std::string((alignment - size % alignment) % alignment, '\0'); };
  put(std::uint32_t{3});
  put(static_cast<std::uint64_t>(tensors.size()));
  put(metadata.count());
  header += metadata.encoded();
  std::uint64_t offset = 0;
  std::vector<std::string_view> names;
  for (const auto& tensor : tensors) {
    require<ConfigError>(std::find(names.begin(), names.end(), tensor.name) == names.end(),
                         "write_gguf: two tensors are named \"", tensor.name, "\"");
    names.push_back(tensor.name);
    const std::uint64_t bytes = detail::stored_bytes(tensor);
    put(static_cast<std::uint64_t>(tensor.name.size()));
    header += tensor.name;
    put(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto n = tensor.shape.rbegin(); n != tensor.shape.rend(); ++n) put(static_cast<std::uint64_t>(*n));
    put(static_cast<std::uint32_t>(tensor.type));
    put(offset);
    offset += bytes + padding(bytes).size();
  }
  header += padding(header.size());

  AtomicFile file(path);
  file.write(header);
  for (const auto& tensor : tensors) {
    detail::write_values(file, tensor);
    file.write(padding(detail::stored_bytes(tensor)));
  }
  file.commit();
}
}  // namespace vbon::io
