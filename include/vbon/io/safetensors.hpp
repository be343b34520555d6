// vbon/io/safetensors.hpp
//
// Reads the safetensors format: eight bytes of header length, a JSON header, then the data. The file is
// mapped, not copied; the header must describe every data byte exactly once, so nothing hides in a file.
// Source: the format description of the safetensors project.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/half.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/io/byte_reader.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/mapped_file.hpp"

namespace vbon::io {
enum class Dtype { boolean, u8, i8, f8_e5m2, f8_e4m3, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };
struct DtypeFormat {
  Dtype dtype;
  std::string_view name;
  std::size_t bytes;
};
inline constexpr DtypeFormat dtype_formats[] = {
    {Dtype::boolean, "BOOL", 1},    {Dtype::u8, "U8", 1},   {Dtype::i8, "I8", 1},   {Dtype::f8_e5m2, "F8_E5M2", 1},
    {Dtype::f8_e4m3, "F8_E4M3", 1}, {Dtype::i16, "I16", 2}, {Dtype::u16, "U16", 2}, {Dtype::f16, "F16", 2},
    {Dtype::bf16, "BF16", 2},       {Dtype::i32, "I32", 4}, {Dtype::u32, "U32", 4}, {Dtype::f32, "F32", 4},
    {Dtype::f64, "F64", 8},         {Dtype::i64, "I64", 8}, {Dtype::u64, "U64", 8}};
constexpr const DtypeFormat& dtype_format(Dtype dtype) { return dtype_formats[static_cast<std::size_t>(dtype)]; }

struct TensorInfo {
  Dtype dtype = Dtype::f32;
  std::vector<Index> shape;  // [] is one element
  Index size = 1;            // elements
  Bytes bytes;               // in the mapped file; need not be aligned
};

/// "[2, 3]", for messages.
template <class = void>
std::string shape_text(const std::vector<Index>& shape) {
  std::string text = "[";
  for (const Index n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

class SafetensorsFile {
 public:
  /// @throws RunError when the file cannot be read, FormatError naming the byte or the tensor
  template <class = void>
  static SafetensorsFile open(const std::filesystem::path& path) {
    return SafetensorsFile(MappedFile(path));
  }

  /// All names, sorted.
  template <class = void>
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, info] : tensors_) all.push_back(name);
    return all;
  }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  /// @throws FormatError when there is no such tensor
  template <class = void>
  const TensorInfo& info(const std::string& name) const {
    const auto found = tensors_.find(name);
    require<FormatError>(found != tensors_.end(), path(), ": there is no tensor \"", name, "\"");
    return found->second;
  }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::string path() const { return file_.path().string(); }

  /// Copies a tensor of any numeric type as floats.
  /// @throws FormatError when it is absent or F8, ShapeError when out has another size
  template <class = void>
  void read_f32(const std::string& name, View<float> out) const {
    read_as<float>(name, out.span());
  }
  /// The same for a part of it: the values from `first` on.
  template <class = void>
  void read_f32(const std::string& name, Index first, View<float> out) const {
    read_as<float>(name, out.span(), first);
  }
  /// Copies a tensor of any integer type.
  /// @throws FormatError when it is absent or no integer, ShapeError when out has another size
  template <class = void>
  void read_i64(const std::string& name, std::span<std::int64_t> out) const {
    const Dtype dtype = info(name).dtype;
    require<FormatError>(dtype != Dtype::f16 && dtype != Dtype::bf16 && dtype != Dtype::f32 && dtype != Dtype::f64, path(),
                         ": tensor \"", name, "\" is ", dtype_format(dtype).name, ", integers were expected");
    read_as<std::int64_t>(name, out);
  }
  /// The floats in place, where the tensor is F32 and aligned; else an empty view.
  template <class = void>
  View<const float> view_f32(const std::string& name) const {
    const TensorInfo& tensor = info(name);
    if (tensor.dtype != Dtype::f32 || reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(float) != 0) return {};
    return {reinterpret_cast<const float*>(tensor.bytes.data()), tensor.size};
  }
  /// Gives back the memory of the pages that were read.
  void forget() const { file_.forget(); }

 private:
  template <class = void>
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {
    read_header();
  }

  template <class = void>
  void read_header() {
    ByteReader reader(file_.bytes(), path());
    const auto length = reader.number<std::uint64_t>("the header length");
    const std::string_view header = as_text(reader.take(length, "the header"));
    if (!header.starts_with('{')) reader.fail_at(8, "the header is no JSON object");
    const Json json = parse_json(header, path() + ": header");
    const Bytes data = reader.take(reader.remaining(), "the data");
    for (const auto& [name, entry] : json.items()) {
      if (name == "__metadata__") {
        require<FormatError>(entry.is_object(), path(), ": __metadata__ is no object");
        for (const auto& [key, value] : entry.items())
          metadata_[key] = json_as<std::string>(value, path() + ": __metadata__ \"" + key + "\"");
      } else {
        tensors_.emplace(name, read_entry(name, entry, data));
      }
    }
    check_coverage(data);
  }

  template <class = void>
  TensorInfo read_entry(const std::string& name, const Json& entry, Bytes data) const {
    const std::string where = path() + ": tensor \"" + name + "\"";
    TensorInfo tensor;
    const auto type = json_get<std::string>(entry, "dtype", where);
    const auto* format =
        std::find_if(std::begin(dtype_formats), std::end(dtype_formats), [&](const auto& f) { return f.name == type; });
    require<FormatError>(format != std::end(dtype_formats), where, ": unknown dtype \"", type, "\"");
    tensor.dtype = format->dtype;

    const Json* shape = json_find(entry, "shape");
    require<FormatError>(shape != nullptr && shape->is_array(), where, ": the field \"shape\" must be a list");
    CheckedSize size = 1;
    for (const Json& dim : *shape) {
      tensor.shape.push_back(static_cast<Index>(json_as<std::int64_t>(dim, where + ": field \"shape\"")));
      size = size * tensor.shape.back();
    }
    const Json* offsets = json_find(entry, "data_offsets");
    require<FormatError>(offsets != nullptr && offsets->is_array() && offsets->size() == 2, where,
                         ": the field \"data_offsets\" must be a list of two numbers");
    const auto begin = json_as<std::uint64_t>((*offsets)[0], where + ": field \"data_offsets\"");
    const auto end = json_as<std::uint64_t>((*offsets)[1], where + ": field \"data_offsets\"");
    require<FormatError>(begin <= end && end <= data.size(), where, ": data_offsets [", begin, ", ", end, "] leave the ",
                         data.size(), " bytes of data");
    const CheckedSize bytes = size * format->bytes;
    require<FormatError>(bytes.valid() && bytes.value() == end - begin, where, ": shape ", shape_text(tensor.shape), " of ",
                         format->name, " does not fill the ", end - begin, " bytes of its data_offsets");
    tensor.size = static_cast<Index>(size.value());
    tensor.bytes = data.subspan(begin, end - begin);
    return tensor;
  }

  /// Every data byte belongs to exactly one tensor.
  template <class = void>
  void check_coverage(Bytes data) const {
    std::vector<const std::pair<const std::string, TensorInfo>*> order;
    for (const auto& entry : tensors_) order.push_back(&entry);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
      return std::pair(a->second.bytes.data(), a->second.bytes.size()) <
             std::pair(b->second.bytes.data(), b->second.bytes.size());
    });
    const std::byte* covered = data.data();
    for (const auto* entry : order) {
      require<FormatError>(entry->second.bytes.data() == covered, path(), ": tensor \"", entry->first,
                           "\" begins at data byte ", entry->second.bytes.data() - data.data(),
                           ", but the one before it ends at ", covered - data.data());
      covered += entry->second.bytes.size();
    }
    require<FormatError>(covered == data.data() + data.size(), path(), ": data byte ", covered - data.data(), ": ",
                         data.data() + data.size() - covered, " bytes belong to no tensor");
  }

  /// @param first  of the values to read; nothing: all, and `out` has their number
  template <class To>
  void read_as(const std::string& name, std::span<To> out, std::optional<Index> first = {}) const {
    const TensorInfo& tensor = info(name);
    const auto count = static_cast<Index>(out.size());
    const bool fits = first ? *first >= 0 && count <= tensor.size && *first <= tensor.size - count : count == tensor.size;
    require<ShapeError>(fits, path(), ": tensor \"", name, "\" has shape ", shape_text(tensor.shape),
                        ", which does not fill ", count, " values", first ? message(" from value ", *first, " on") : "");
    const auto convert = [&]<class From>(From, auto widen) {
      if (out.empty()) return;
      const std::byte* at = tensor.bytes.data() + static_cast<std::size_t>(first.value_or(0)) * sizeof(From);
      if constexpr (std::is_same_v<From, To>) {
        std::memcpy(out.data(), at, out.size_bytes());
      } else {
        for (To& value : out) value = static_cast<To>(widen(load_unaligned<From>(at))), at += sizeof(From);
      }
    };
    const auto same = [](auto value) { return value; };
    switch (tensor.dtype) {
      case Dtype::f32:
        return convert(float{}, same);
      case Dtype::f16:
        return convert(std::uint16_t{}, half_to_float);
      case Dtype::bf16:
        return convert(std::uint16_t{}, bfloat16_to_float);
      case Dtype::f64:
        return convert(double{}, same);
      case Dtype::i64:
        return convert(std::int64_t{}, same);
      case Dtype::u64:
        return convert(std::uint64_t{}, same);
      case Dtype::i32:
        return convert(std::int32_t{}, same);
      case Dtype::u32:
        return convert(std::uint32_t{}, same);
      case Dtype::i16:
        return convert(std::int16_t{}, same);
      case Dtype::u16:
        return convert(std::uint16_t{}, same);
      case Dtype::i8:
        return convert(std::int8_t{}, same);
      case Dtype::u8:
      case Dtype::boolean:
        return convert(std::uint8_t{}, same);
      case Dtype::f8_e5m2:
      case Dtype::f8_e4m3:
        break;
    }
    throw FormatError(message(path(), ": tensor \"", name, "\" is ", dtype_format(tensor.dtype).name,
                              ", which is not supported; convert it to F32, F16 or BF16"));
  }

  MappedFile file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};
}  // namespace vbon::io
