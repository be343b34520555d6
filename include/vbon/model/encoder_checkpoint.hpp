// vbon/model/encoder_checkpoint.hpp
//
// Encoders in Hugging Face folders: config.json and safetensors, one file or sharded, F32, F16 or BF16, in
// the names of today or of older checkpoints (LayerNorm.gamma and beta, with or without the family's
// prefix; position_ids and cls.* are passed over). Saving writes the same folder back.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/io/json.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/io/write_safetensors.hpp"
#include "vbon/model/config.hpp"
#include "vbon/model/encoder.hpp"
#include "vbon/model/encoder_registry.hpp"
#include "vbon/model/new_head.hpp"

namespace vbon::model {
/// A tensor that came with a checkpoint and is not computed with (BERT's pooler under a mean).
struct UnusedTensor {
  std::string name;
  std::vector<Index> shape;
  std::vector<float> values;
};

namespace detail {
/// The name under which a file holds a parameter, if any.
template <class = void>
std::optional<std::string> stored_name(const io::ShardedSafetensors& file, const std::string& name,
                                       std::string_view prefix) {
  const std::string bare = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  for (const std::string& candidate : {name, bare, std::string(prefix) + bare}) {
    if (file.contains(candidate)) return candidate;
    const std::size_t dot = candidate.rfind('.');
    const std::string older = candidate.substr(0, dot) + (candidate.ends_with(".weight") ? ".gamma" : ".beta");
    if (candidate.find("LayerNorm.") != candidate.npos && file.contains(older)) return older;
  }
  return std::nullopt;
}

/// Outputs of the classification head, from the config or, where it is silent, from the file; 0: no head.
template <class = void>
Index read_labels(const ConfigReader& config, const io::ShardedSafetensors& file, const EncoderNames& names) {
  Shape common;
  read_common(config, common);
  if (common.labels > 0 || config.has({"architectures"})) return common.labels;
  const std::string output = names.tensor(EncoderSlot::head_output, 0) + ".weight";
  return file.contains(output) && !file.info(output).shape.empty() ? file.info(output).shape[0] : 0;
}
}  // namespace detail

/// The shape that a folder's config.json describes, with the labels of the head in its weights.
/// @throws ConfigError for an unknown family or impossible sizes, FormatError for more layers than there are tensors
template <class = void>
EncoderShape read_encoder_shape(const ConfigReader& config, const io::ShardedSafetensors& file) {
  const EncoderFamily family = find_encoder_family(config.text({"model_type"}));
  EncoderShape shape = family.shape(config);
  shape.labels = detail::read_labels(config, file, family.names);
  // A config that promises more layers than the file has tensors must not make us reserve them.
  require<FormatError>(shape.layers <= static_cast<Index>(file.names().size()), config.source(), ": ", shape.layers,
                       " layers promised, but the weights hold only ", file.names().size(), " tensors");
  check(shape, config.source());
  return shape;
}

/// How a file names each tensor of an encoder, without reading any.
/// @param new_head  the output map of the head, and an inner one that is not there, are not looked for: ""
/// @throws FormatError naming a tensor that is missing or has another shape than the config says
template <class = void>
std::vector<std::string> find_tensors(const io::ShardedSafetensors& file, const Encoder& encoder, bool new_head = false) {
  const auto belongs_to = [&](const Parameter& p, EncoderSlot slot) {
    return p.name.starts_with(encoder.names().tensor(slot, 0) + '.');
  };
  std::vector<std::string> stored;
  for (const Parameter& p : encoder.parameters().list()) {
    auto name = detail::stored_name(file, p.name, encoder.names().prefix);
    if (new_head && (belongs_to(p, EncoderSlot::head_output) || (!name && belongs_to(p, EncoderSlot::head_dense)))) {
      stored.emplace_back();
      continue;
    }
    require<FormatError>(name.has_value(), file.path(), ": the tensor \"", p.name, "\" ", io::shape_text(p.shape),
                         " is missing");
    const auto& shape = file.info(*name).shape;
    require<FormatError>(shape == p.shape, file.path(), ": tensor \"", *name, "\" has shape ", io::shape_text(shape),
                         ", config.json asks for ", io::shape_text(p.shape));
    stored.push_back(*name);
  }
  return stored;
}

struct EncoderCheckpoint {
  Encoder encoder;
  Json config;                       // as it was read
  std::vector<UnusedTensor> unused;  // written back by save

  /// Reads FOLDER/config.json and the weights beside it.
  /// @param config_name  another config file of the folder
  /// @param head         a head to make where there is none; a replaced one keeps its inner map
  /// @param precision    of the products of its linear maps
  /// @throws RunError for a missing file, ConfigError for an unknown family or impossible sizes, FormatError
  ///         naming a tensor that is missing or has another shape than the config says
  template <class = void>
  static EncoderCheckpoint load(const std::filesystem::path& folder, std::string_view config_name = "config.json",
                                const NewHead& head = {}, kernel::Precision precision = kernel::Precision::float32) {
    const auto path = folder / config_name;
    Json json = io::read_json(path);
    const ConfigReader config(json, path.string());
    const EncoderFamily family = find_encoder_family(config.text({"model_type"}));
    const auto file = io::ShardedSafetensors::open(folder);
    EncoderShape shape = read_encoder_shape(config, file);
    const bool new_head = head.wanted(shape.labels);
    if (new_head) {
      shape.labels = head.labels;
      write_classifier(json, std::string(family.class_name) + "ForSequenceClassification", shape.labels);
    }
    if (const auto more = detail::stored_name(file, family.names.tensor(EncoderSlot::query, shape.layers) + ".weight",
                                              family.names.prefix))
      throw FormatError(message(file.path(), ": tensor \"", *more, "\" contradicts ", path.string(), ", which says ",
                                shape.layers, " layers"));
    EncoderCheckpoint checkpoint{Encoder(shape, family.names), json, {}};
    checkpoint.encoder.set_precision(precision);
    checkpoint.read(file, config, new_head ? &head : nullptr);
    return checkpoint;
  }

  /// Writes FOLDER/config.json and FOLDER/model.safetensors, or shards of it.
  /// @param dtype  f32, f16 or bf16
  /// @throws RunError when the folder cannot be written, ConfigError for another dtype
  template <class = void>
  void save(const std::filesystem::path& folder, io::Dtype dtype = io::Dtype::f32,
            std::uint64_t shard_bytes = 5'000'000'000) const {
    io::make_folder(folder);
    std::vector<io::TensorToWrite> tensors;
    for (const Parameter& p : encoder.parameters().list())
      tensors.push_back(
          {p.name, p.shape, {encoder.parameters().data() + p.offset, static_cast<std::size_t>(p.size())}, dtype});
    for (const UnusedTensor& tensor : unused) tensors.push_back({tensor.name, tensor.shape, tensor.values, dtype});
    io::write_safetensors_folder(folder, tensors, shard_bytes);
    Json written = config;
    const char* spelling = written.contains("torch_dtype") ? "torch_dtype" : "dtype";
    written[spelling] = dtype == io::Dtype::f32 ? "float32" : dtype == io::Dtype::f16 ? "float16" : "bfloat16";
    io::write_file_atomically(folder / "config.json", written.dump(2) + '\n');
  }

 private:
  template <class = void>
  void read(const io::ShardedSafetensors& file, const ConfigReader& described, const NewHead* new_head) {
    Parameters<>& parameters = encoder.parameters();
    // All shapes are right before any memory is taken.
    const std::vector<std::string> stored = find_tensors(file, encoder, new_head != nullptr);
    parameters.values();
    for (std::size_t i = 0; i < stored.size(); ++i) {
      const auto number = static_cast<Index>(i);
      if (stored[i].empty())
        initialize_head(described, parameters[number].name, new_head->key.fold(i), parameters.value(number));
      else
        file.read_f32(stored[i], parameters.value(number));
      file.forget();  // the file must not stand in memory beside its copy
    }
    encoder.parameters_changed();
    if (encoder.shape().labels > 0) return;
    for (const char* name : {"pooler.dense.weight", "pooler.dense.bias"}) {
      if (!file.contains(name)) continue;
      UnusedTensor tensor{name, file.info(name).shape, std::vector<float>(static_cast<std::size_t>(file.info(name).size))};
      file.read_f32(name, {tensor.values.data(), static_cast<Index>(tensor.values.size())});
      unused.push_back(std::move(tensor));
    }
  }
};
}  // namespace vbon::model
