// vbon/io/write_safetensors.hpp
//
// Writes safetensors files that other tools load: the same tensors always give the same bytes, values are
// converted on the way to disk (no second copy of a model), and a crash leaves no half-written file.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "vbon/core/half.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/safetensors.hpp"

namespace vbon::io {
/// One tensor to write: floats that are stored as F32, F16 or BF16, there already or made when their turn comes, or
/// bytes of any dtype as they are.
struct TensorToWrite {
  std::string name;
  std::vector<Index> shape;
  std::span<const float> values = {};
  Dtype dtype = Dtype::f32;
  Bytes bytes = {};                                 // used instead of values when not empty
  std::function<void(std::span<float>)> make = {};  // likewise: fills values that are kept while they are written
};

namespace detail {
template <class = void>
std::uint64_t stored_bytes(const TensorToWrite& tensor) {
  CheckedSize size = 1;
  for (const Index n : tensor.shape) size = size * n;
  const bool raw = !tensor.bytes.empty();
  const auto bytes = size * dtype_format(tensor.dtype).bytes;
  require<ShapeError>(bytes.valid() && (raw           ? bytes.value() == tensor.bytes.size()
                                        : tensor.make ? tensor.values.empty()
                                                      : size.value() == tensor.values.size()),
                      "write_safetensors: tensor \"", tensor.name, "\": shape ", shape_text(tensor.shape),
                      " does not fit its ", raw ? tensor.bytes.size() : tensor.values.size(), raw ? " bytes" : " values");
  require<ConfigError>(raw || tensor.dtype == Dtype::f32 || tensor.dtype == Dtype::f16 || tensor.dtype == Dtype::bf16,
                       "write_safetensors: tensor \"", tensor.name, "\": floats are stored as F32, F16 or BF16, not as ",
                       dtype_format(tensor.dtype).name);
  return bytes.value();
}
/// Appends floats to a file in 16 bits each, a block at a time.
template <class Narrow>
void write_narrow(AtomicFile& file, std::span<const float> values, const Narrow& narrow) {
  std::uint16_t block[4096];
  for (std::size_t at = 0; at < values.size();) {
    const std::size_t count = std::min(std::size(block), values.size() - at);
    for (std::size_t i = 0; i < count; ++i) block[i] = narrow(values[at + i]);
    file.write(std::as_bytes(std::span(block, count)));
    at += count;
  }
}
template <class = void>
void write_values(AtomicFile& file, const TensorToWrite& tensor) {
  if (!tensor.bytes.empty()) return file.write(tensor.bytes);
  if (tensor.make) {
    std::vector<float> made(stored_bytes(tensor) / dtype_format(tensor.dtype).bytes);
    tensor.make(made);
    return write_values(file, {.name = tensor.name, .shape = tensor.shape, .values = made, .dtype = tensor.dtype});
  }
  if (tensor.dtype == Dtype::f16) return write_narrow(file, tensor.values, float_to_half);
  if (tensor.dtype == Dtype::bf16) return write_narrow(file, tensor.values, float_to_bfloat16);
  file.write(std::as_bytes(tensor.values));
}
}  // namespace detail

using TensorMetadata = std::map<std::string, std::string>;
/// What loaders of the Hugging Face ecosystem ask for.
template <class = void>
TensorMetadata torch_metadata() {
  return {{"format", "pt"}};
}

/// Writes one file. Wider types come first, then names in order, so that every tensor is aligned.
/// @throws ShapeError when shape and values differ, ConfigError for a type that floats cannot take or a name
///         twice, RunError when the disk is full (the old file then still stands)
template <class = void>
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const TensorMetadata& metadata = torch_metadata()) {
  std::vector<const TensorToWrite*> order;
  for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const auto a_bytes = dtype_format(a->dtype).bytes, b_bytes = dtype_format(b->dtype).bytes;
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });
  // In the order of the tensors, which Json would sort.
  std::string header = "{";
  if (!metadata.empty()) header += message("\"__metadata__\":", Json(metadata).dump());
  std::uint64_t offset = 0;
  Json names = Json::object();
  for (const auto* tensor : order) {
    require<ConfigError>(!names.contains(tensor->name), "write_safetensors: two tensors are named \"", tensor->name, "\"");
    names[tensor->name] = true;
    const std::uint64_t end = offset + detail::stored_bytes(*tensor);
    header +=
        message(header.size() > 1 ? "," : "", Json(tensor->name).dump(), ":{\"dtype\":\"", dtype_format(tensor->dtype).name,
                "\",\"shape\":", Json(tensor->shape).dump(), ",\"data_offsets\":[", offset, ",", end, "]}");
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();

  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const auto* tensor : order) detail::write_values(file, *tensor);
  file.commit();
}

namespace detail {
/// Removes what an earlier save of another size left: shards, their index where one file took their place, and the one
/// file that would hide the shards.
/// @param count  of the shards that stay; 0: one file
template <class = void>
void remove_other_shards(const std::filesystem::path& folder, std::size_t count) {
  char ending[32];
  std::snprintf(ending, sizeof ending, "-of-%05zu.safetensors", count);
  std::error_code ignored;
  std::vector<std::filesystem::path> stale;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    // model-00001-of-00005.safetensors
    if (name.size() == 32 && name.starts_with("model-") && name.substr(11, 4) == "-of-" && name.ends_with(".safetensors") &&
        (count == 0 || !name.ends_with(ending)))
      stale.push_back(entry.path());
  }
  stale.push_back(folder / (count == 0 ? "model.safetensors.index.json" : "model.safetensors"));
  for (const auto& path : stale) std::filesystem::remove(path, ignored);
}
}  // namespace detail

/// Writes FOLDER/model.safetensors, or numbered shards with an index where the tensors need more than
/// `shard_bytes` [bytes]. Tensors keep their order; a tensor is never split.
/// @throws as write_safetensors
template <class = void>
void write_safetensors_folder(const std::filesystem::path& folder, std::span<const TensorToWrite> tensors,
                              std::uint64_t shard_bytes = 5'000'000'000, const TensorMetadata& metadata = torch_metadata()) {
  make_folder(folder);
  std::vector<std::pair<std::size_t, std::size_t>> shards;  // [begin, end) into tensors
  std::uint64_t total = 0, in_shard = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::uint64_t bytes = detail::stored_bytes(tensors[i]);
    if (shards.empty() || in_shard + bytes > shard_bytes) shards.emplace_back(i, i), in_shard = 0;
    shards.back().second = i + 1;
    in_shard += bytes;
    total += bytes;
  }
  if (shards.size() <= 1) {
    write_safetensors(folder / "model.safetensors", tensors, metadata);
    detail::remove_other_shards(folder, 0);
    return;
  }

  Json weight_map = Json::object();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, shards.size());
    const auto part = tensors.subspan(shards[s].first, shards[s].second - shards[s].first);
    write_safetensors(folder / name, part, metadata);
    for (const TensorToWrite& tensor : part) {
      require<ConfigError>(!weight_map.contains(tensor.name), "write_safetensors: two tensors are named \"", tensor.name,
                           "\"");
      weight_map[tensor.name] = name;
    }
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_file_atomically(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  detail::remove_other_shards(folder, shards.size());
}
}  // namespace vbon::io
