// vbon/model/load.hpp
//
// From a file or folder to a model: a GGUF file, or a Hugging Face folder (config.json and safetensors,
// one file or sharded). Files are mapped; the only copy is the flat parameter buffer.
#pragma once
#include <filesystem>
#include <string>
#include <utility>

#include "vbon/io/json.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/gguf_config.hpp"
#include "vbon/model/source.hpp"

namespace vbon::model {
inline bool is_gguf(const std::filesystem::path& path) { return path.extension() == ".gguf"; }

namespace detail {
inline CausalLm assemble(const TensorSource& source, const Shape& shape, Json config) {
  Parameters parameters;
  Network network = load_network(source, find_family(shape.family), shape, parameters);
  return CausalLm(shape, std::move(parameters), std::move(network), std::move(config));
}
}  // namespace detail

/// Loads from an open GGUF file; its config is written as the family's config.json would be.
inline CausalLm load_causal_lm(const io::GgufFile& file) {
  const Shape shape = read_shape(file);
  return detail::assemble(tensor_source(file), shape, find_family(shape.family).config(shape));
}

/// Loads from a folder whose config may have another name.
/// @throws RunError when a file is missing, ConfigError and FormatError naming file, entry or tensor
inline CausalLm load_causal_lm(const std::filesystem::path& folder, const std::filesystem::path& config_file) {
  Json config = io::read_json(config_file);
  const Shape shape = read_shape(ConfigReader(config, config_file.string()));
  const auto file = io::ShardedSafetensors::open(folder);
  return detail::assemble(tensor_source(file), shape, std::move(config));
}

/// Loads from a GGUF file or a Hugging Face folder.
inline CausalLm load_causal_lm(const std::filesystem::path& path) {
  if (is_gguf(path)) return load_causal_lm(io::GgufFile::open(path));
  require<RunError>(std::filesystem::is_directory(path), "load: ", path.string(),
                    std::filesystem::exists(path) ? ": a .gguf file or a folder with config.json and safetensors expected"
                                                  : ": no such file or folder");
  return load_causal_lm(path, path / "config.json");
}
}  // namespace vbon::model
