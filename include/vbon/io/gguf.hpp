// vbon/io/gguf.hpp
//
// Reads GGUF, versions 2 and 3: metadata (typed keys and values) and tensors, mapped and not copied. All is
// checked when the file is opened; arrays stay in the file until asked for, so a hostile count costs nothing.
// Source: the GGUF description of the ggml project.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/block_format.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/io/byte_reader.hpp"
#include "vbon/io/mapped_file.hpp"
#include "vbon/io/utf8.hpp"

namespace vbon::io {
/// The numbers are those of the file format.
enum class GgufType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
inline constexpr std::string_view gguf_type_names[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                                       "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};
constexpr std::string_view gguf_type_name(GgufType type) { return gguf_type_names[static_cast<std::size_t>(type)]; }

/// One value in place. A string's payload is its characters, a number's its bytes, an array's all elements.
struct GgufValue {
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;  // of an array
  std::uint64_t count = 1;          // elements of an array
  Bytes payload;
};

struct GgufTensor {
  std::string name;
  BlockType type = BlockType::f32;
  std::vector<Index> shape;  // row-major, as other tools give it: the file's dimensions reversed
  Index size = 1;            // elements
  std::uint64_t offset = 0;  // in the file [bytes]
  Bytes bytes;               // in the mapped file
};

class GgufFile {
 public:
  /// @throws RunError when the file cannot be read, FormatError naming the byte, key or tensor
  template <class = void>
  static GgufFile open(const std::filesystem::path& path) {
    return GgufFile(MappedFile(path));
  }

  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  std::string path() const { return file_.path().string(); }

  /// In the order of the file.
  const std::vector<std::string>& keys() const { return keys_; }
  bool has(const std::string& key) const { return metadata_.contains(key); }
  template <class = void>
  const GgufValue& value(const std::string& key) const {
    const auto found = metadata_.find(key);
    require<FormatError>(found != metadata_.end(), path(), ": the key \"", key, "\" is missing; convert the model again");
    return found->second;
  }
  /// A number, flag or string. Integers convert to each other where the value fits, F32 and F64 too.
  /// @throws FormatError when the key is missing or of another type
  template <class T>
  T get(const std::string& key) const {
    return convert<T>(key, value(key));
  }
  template <class T>
  T get_or(const std::string& key, T otherwise) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? std::move(otherwise) : convert<T>(key, found->second);
  }
  template <class T>
  std::optional<T> find(const std::string& key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? std::nullopt : std::optional<T>(convert<T>(key, found->second));
  }
  /// An array of numbers or flags, converted as by get().
  template <class T>
  std::vector<T> numbers(const std::string& key) const {
    const GgufValue& array = array_of(key);
    const std::size_t stride = width(array.element);
    require<FormatError>(stride > 0, path(), ": key \"", key, "\" is an array of ", gguf_type_name(array.element),
                         ", numbers were expected");
    std::vector<T> all;
    all.reserve(array.count);
    for (std::uint64_t i = 0; i < array.count; ++i)
      all.push_back(convert<T>(key, {array.element, {}, 1, array.payload.subspan(i * stride, stride)}));
    return all;
  }
  /// An array of strings, which live as long as the file.
  template <class = void>
  std::vector<std::string_view> strings(const std::string& key) const {
    const GgufValue& array = array_of(key);
    require<FormatError>(array.element == GgufType::string, path(), ": key \"", key, "\" is an array of ",
                         gguf_type_name(array.element), ", strings were expected");
    std::vector<std::string_view> all;
    all.reserve(array.count);
    ByteReader reader(array.payload, path() + ": key \"" + key + "\"");
    for (std::uint64_t i = 0; i < array.count; ++i) all.push_back(string(reader, "a string"));
    return all;
  }

  /// In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return index_.contains(name); }
  /// @throws FormatError when there is no such tensor
  template <class = void>
  const GgufTensor& tensor(const std::string& name) const {
    const auto found = index_.find(name);
    require<FormatError>(found != index_.end(), path(), ": there is no tensor \"", name, "\"");
    return tensors_[found->second];
  }
  /// Decodes a tensor of any type as floats, on this thread (kernel::dequantize uses all of them).
  /// @throws FormatError when it is absent, ShapeError when out has another size
  template <class = void>
  void read_f32(const std::string& name, std::span<float> out) const {
    const GgufTensor& from = tensor(name);
    require<ShapeError>(static_cast<Index>(out.size()) == from.size, path(), ": tensor \"", name, "\" has ", from.size,
                        " values, which do not fill ", out.size());
    const BlockFormat& format = block_format(from.type);
    decode_blocks(format, from.bytes.data(), from.bytes.size() / format.bytes, out.data());
  }
  /// The same for a part of it: whole blocks, from value `first` on.
  template <class = void>
  void read_f32(const std::string& name, Index first, std::span<float> out) const {
    const GgufTensor& from = tensor(name);
    const BlockFormat& format = block_format(from.type);
    const auto elements = static_cast<Index>(format.elements), count = static_cast<Index>(out.size());
    require<ShapeError>(
        first >= 0 && first % elements == 0 && count % elements == 0 && count <= from.size && first <= from.size - count,
        path(), ": tensor \"", name, "\" has ", from.size, " values in blocks of ", elements, ", of which ", count,
        " from value ", first, " on are no part");
    decode_blocks(format, from.bytes.data() + static_cast<std::size_t>(first / elements) * format.bytes,
                  static_cast<std::size_t>(count / elements), out.data());
  }
  /// Gives back the memory of the pages that were read.
  void forget() const { file_.forget(); }

 private:
  static constexpr std::uint32_t max_dims = 4;
  static constexpr int max_array_depth = 4;

  template <class = void>
  explicit GgufFile(MappedFile file) : file_(std::move(file)) {
    ByteReader reader(file_.bytes(), path());
    require<FormatError>(as_text(reader.take(4, "the magic")) == "GGUF", path(),
                         ": byte 0: the magic \"GGUF\" was expected");
    version_ = reader.number<std::uint32_t>("the version");
    if (version_ != 0 && (version_ & 0xffffu) == 0)
      reader.fail_at(4, "the file is big-endian, only little-endian files are supported");
    if (version_ != 2 && version_ != 3) reader.fail_at(4, "version ", version_, " is not supported, only 2 and 3 are");
    const auto tensor_count = reader.number<std::uint64_t>("the tensor count");
    const auto key_count = reader.number<std::uint64_t>("the key count");
    // The counts are only believed entry by entry: each entry takes bytes, which run out.
    for (std::uint64_t i = 0; i < key_count; ++i) read_key(reader);
    read_alignment();
    for (std::uint64_t i = 0; i < tensor_count; ++i) read_tensor(reader);
    locate_tensors(reader);
  }

  template <class = void>
  static std::string_view string(ByteReader& reader, std::string_view what) {
    return as_text(reader.take(reader.number<std::uint64_t>(what), what));
  }
  template <class = void>
  static std::string_view name(ByteReader& reader, std::string_view what) {
    const std::uint64_t at = reader.position();
    const std::string_view text = string(reader, what);
    if (!is_utf8(text)) reader.fail_at(at, what, " is not UTF-8");
    return text;
  }
  template <class = void>
  static GgufType value_type(ByteReader& reader) {
    const std::uint64_t at = reader.position();
    const auto type = reader.number<std::uint32_t>("a value type");
    if (type >= std::size(gguf_type_names)) reader.fail_at(at, "unknown value type ", type);
    return static_cast<GgufType>(type);
  }
  /// Bytes of one number; 0 for strings and arrays.
  static std::size_t width(GgufType type) {
    switch (type) {
      case GgufType::u8:
      case GgufType::i8:
      case GgufType::boolean:
        return 1;
      case GgufType::u16:
      case GgufType::i16:
        return 2;
      case GgufType::u32:
      case GgufType::i32:
      case GgufType::f32:
        return 4;
      case GgufType::u64:
      case GgufType::i64:
      case GgufType::f64:
        return 8;
      default:
        return 0;
    }
  }
  template <class = void>
  static void skip_elements(ByteReader& reader, GgufType type, std::uint64_t count, int depth) {
    if (width(type) > 0) return reader.skip(CheckedSize(count) * width(type), "an array");
    for (std::uint64_t i = 0; i < count; ++i) {
      if (type == GgufType::string) {
        string(reader, "a string");
      } else {
        if (depth >= max_array_depth) reader.fail("arrays nested deeper than ", max_array_depth, " levels");
        const GgufType inner = value_type(reader);
        skip_elements(reader, inner, reader.number<std::uint64_t>("an array's length"), depth + 1);
      }
    }
  }
  template <class = void>
  void read_key(ByteReader& reader) {
    const std::uint64_t at = reader.position();
    std::string key(name(reader, "a key"));
    GgufValue value;
    value.type = value_type(reader);
    if (value.type == GgufType::array) {
      value.element = value_type(reader);
      value.count = reader.number<std::uint64_t>("an array's length");
      const std::uint64_t begin = reader.position();
      skip_elements(reader, value.element, value.count, 1);
      value.payload = file_.bytes().subspan(begin, reader.position() - begin);
    } else if (value.type == GgufType::string) {
      value.payload = as_bytes(string(reader, "a string value"));
    } else {
      value.payload = reader.take(width(value.type), "a value");
      if (value.type == GgufType::boolean && std::to_integer<unsigned>(value.payload[0]) > 1)
        reader.fail_at(reader.position() - 1, "key \"", key, "\": a flag must be 0 or 1");
    }
    keys_.push_back(key);
    if (!metadata_.emplace(std::move(key), value).second) reader.fail_at(at, "the key \"", keys_.back(), "\" stands twice");
  }
  template <class = void>
  void read_alignment() {
    if (!has("general.alignment")) return;
    alignment_ = get<std::uint32_t>("general.alignment");
    require<FormatError>(std::has_single_bit(alignment_), path(),
                         ": key \"general.alignment\": a power of two was expected, got ", alignment_);
  }
  template <class = void>
  void read_tensor(ByteReader& reader) {
    const std::uint64_t at = reader.position();
    GgufTensor tensor;
    tensor.name = name(reader, "a tensor name");
    const auto fail = [&](const auto&... parts) { reader.fail_at(at, "tensor \"", tensor.name, "\": ", parts...); };
    const auto dims = reader.number<std::uint32_t>("the number of dimensions");
    if (dims > max_dims) fail(dims, " dimensions, at most ", max_dims, " are known");
    CheckedSize size = 1;
    for (std::uint32_t d = 0; d < dims; ++d) {
      const auto n = reader.number<std::uint64_t>("a dimension");
      size = size * n;
      // Bounding each dimension too keeps one that is huge beside a zero from passing as a size.
      if (!size.fits(max_elements) || n > max_elements)
        fail("the product of its dimensions exceeds ", max_elements, " elements");
      tensor.shape.push_back(static_cast<Index>(n));
    }
    const auto type = reader.number<std::uint32_t>("a tensor type");
    const BlockFormat* format = find_block_format(type);
    if (format == nullptr) fail("tensor type ", type, " is not supported; known: ", known_types());
    tensor.type = format->type;
    if (dims > 0 && tensor.shape[0] % static_cast<Index>(format->elements) != 0)
      fail("rows of ", tensor.shape[0], " values are no multiple of the ", format->elements, " of a ", format->name,
           " block");
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    tensor.size = static_cast<Index>(size.value());
    tensor.offset = reader.number<std::uint64_t>("a tensor offset");
    if (tensor.offset % alignment_ != 0) fail("offset ", tensor.offset, " is no multiple of the alignment ", alignment_);
    if (!index_.emplace(tensor.name, tensors_.size()).second) fail("the name stands twice");
    tensors_.push_back(std::move(tensor));
  }
  /// Turns offsets into bytes of the file, and refuses tensors that share bytes.
  template <class = void>
  void locate_tensors(const ByteReader& reader) {
    const CheckedSize data = CheckedSize(reader.position()).aligned_to(alignment_);
    std::vector<const GgufTensor*> order;
    for (GgufTensor& tensor : tensors_) {
      const BlockFormat& format = block_format(tensor.type);
      const std::uint64_t bytes = static_cast<std::uint64_t>(tensor.size) / format.elements * format.bytes;
      const CheckedSize begin = data + tensor.offset;
      require<FormatError>((begin + bytes).fits(file_.bytes().size()) || (bytes == 0 && begin.valid()), path(),
                           ": tensor \"", tensor.name, "\": its ", bytes, " bytes at offset ", tensor.offset,
                           " end behind the file of ", file_.bytes().size(), " bytes");
      tensor.offset = begin.value();
      if (bytes == 0) continue;
      tensor.bytes = file_.bytes().subspan(tensor.offset, bytes);
      order.push_back(&tensor);
    }
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < order.size(); ++i)
      require<FormatError>(order[i - 1]->offset + order[i - 1]->bytes.size() <= order[i]->offset, path(), ": tensors \"",
                           order[i - 1]->name, "\" and \"", order[i]->name, "\" overlap at byte ", order[i]->offset);
  }
  template <class = void>
  static std::string known_types() {
    std::string names;
    for (const BlockFormat& format : block_formats) names.append(names.empty() ? "" : ", ").append(format.name);
    return names;
  }

  template <class = void>
  const GgufValue& array_of(const std::string& key) const {
    const GgufValue& array = value(key);
    require<FormatError>(array.type == GgufType::array, path(), ": key \"", key, "\" is ", gguf_type_name(array.type),
                         ", an array was expected");
    return array;
  }
  template <class T>
  T convert(const std::string& key, const GgufValue& from) const {
    const auto fail = [&](std::string_view expected) {
      throw FormatError(
          message(path(), ": key \"", key, "\" is ", gguf_type_name(from.type), ", ", expected, " was expected"));
    };
    if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view>) {
      if (from.type != GgufType::string) fail("a string");
      return T(as_text(from.payload));
    } else if constexpr (std::is_same_v<T, bool>) {
      if (from.type != GgufType::boolean) fail("a flag");
      return from.payload[0] != std::byte{0};
    } else {
      const auto as = [&]<class Stored>(Stored) -> T {
        const auto number = load_unaligned<Stored>(from.payload.data());
        if constexpr (std::is_integral_v<T>) {
          if constexpr (std::is_integral_v<Stored>) {
            if (!std::in_range<T>(number)) fail(message("a value that fits (it is ", +number, ")"));
          } else {
            fail("an integer");
          }
        }
        return static_cast<T>(number);
      };
      switch (from.type) {
        case GgufType::u8:
          return as(std::uint8_t{});
        case GgufType::i8:
          return as(std::int8_t{});
        case GgufType::u16:
          return as(std::uint16_t{});
        case GgufType::i16:
          return as(std::int16_t{});
        case GgufType::u32:
          return as(std::uint32_t{});
        case GgufType::i32:
          return as(std::int32_t{});
        case GgufType::u64:
          return as(std::uint64_t{});
        case GgufType::i64:
          return as(std::int64_t{});
        case GgufType::f32:
          return as(float{});
        case GgufType::f64:
          return as(double{});
        default:
          break;
      }
      fail("a number");
      return {};
    }
  }

  static constexpr std::uint64_t max_elements = std::uint64_t{1} << 48;

  MappedFile file_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
  std::vector<std::string> keys_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t> index_;
};
}  // namespace vbon::io
