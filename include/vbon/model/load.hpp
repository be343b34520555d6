// vbon/model/load.hpp
//
// From a file or folder to a model: a GGUF file, or a Hugging Face folder (config.json and safetensors,
// one file or sharded). Files are mapped, and stay so until every plain weight was asked for (source.hpp).
#pragma once
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "vbon/io/json.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/gguf_config.hpp"
#include "vbon/model/new_head.hpp"
#include "vbon/model/source.hpp"

namespace vbon::model {
inline bool is_gguf(const std::filesystem::path& path) { return path.extension() == ".gguf"; }

namespace detail {
template <class = void>
std::shared_ptr<const io::ShardedSafetensors> open_folder(const std::filesystem::path& folder) {
  return std::make_shared<const io::ShardedSafetensors>(io::ShardedSafetensors::open(folder));
}
template <class = void>
CausalLm assemble(const TensorSource& source, const Shape& shape, Json config,
                  kernel::Precision precision = kernel::Precision::float32) {
  Parameters<> parameters;
  Network network = load_network(source, find_family(shape.family), shape, parameters, precision);
  return CausalLm(shape, std::move(parameters), std::move(network), std::move(config));
}
}  // namespace detail

/// Loads from an open GGUF file; its config is written as the family's config.json would be.
/// @param precision  of the linear maps and the head
template <class = void>
CausalLm load_causal_lm(std::shared_ptr<const io::GgufFile> file, kernel::Precision precision = kernel::Precision::float32) {
  const Shape shape = read_shape(*file);
  return detail::assemble(tensor_source(std::move(file)), shape, find_family(shape.family).config(shape), precision);
}

/// Loads from a folder whose config may have another name.
/// @throws RunError when a file is missing, ConfigError and FormatError naming file, entry or tensor
template <class = void>
CausalLm load_causal_lm(const std::filesystem::path& folder, const std::filesystem::path& config_file,
                        kernel::Precision precision = kernel::Precision::float32) {
  Json config = io::read_json(config_file);
  const Shape shape = read_shape(ConfigReader(config, config_file.string()));
  return detail::assemble(tensor_source(detail::open_folder(folder)), shape, std::move(config), precision);
}

/// FOLDER/config.json.
/// @throws RunError when it is not there, naming what in the folder could be meant
template <class = void>
std::filesystem::path config_file(const std::filesystem::path& folder) {
  const auto config = folder / "config.json";
  std::error_code ignored;
  if (std::filesystem::exists(config, ignored)) return config;
  std::string remedy = "a .gguf file or a folder with config.json and safetensors is expected";
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (is_gguf(entry.path())) files.push_back(entry.path().string());
  if (!files.empty()) remedy = message("give the file ", *std::min_element(files.begin(), files.end()));
  if (files.size() > 1) remedy += message(" or another of its ", files.size(), " .gguf files");
  if (std::filesystem::exists(folder / "model" / "config.json", ignored))  // the folder of a run
    remedy = message("give ", (folder / "model").string());
  throw RunError(message("load: ", folder.string(), " holds no config.json; ", remedy));
}

/// Loads a folder with a score head, which is made where `head` says so.
/// @param pad  the token that pads where config.json names none: transformers needs one to score a batch; -1: none
/// @throws RunError, ConfigError, FormatError as load_causal_lm; ConfigError for a new head without labels
template <class = void>
CausalLm load_scorer(const std::filesystem::path& folder, const NewHead& head, TokenId pad = -1) {
  const auto path = config_file(folder);
  Json config = io::read_json(path);
  const ConfigReader described(config, path.string());
  Shape shape = read_shape(described);
  TensorSource source = tensor_source(detail::open_folder(folder));
  if (shape.pad < 0 && pad >= 0) {
    shape.pad = pad;
    config["pad_token_id"] = pad;
  }
  if (head.wanted(shape.labels)) {
    shape.labels = head.labels;
    const FamilyInfo family = find_family(shape.family);
    write_classifier(config, family.config(shape).at("architectures").at(0).template get<std::string>(), shape.labels);
    // To the loader the new tensor is one of the file.
    const std::string name = family.tensor_name(Slot::score, -1);
    source.shape = [=, others = source.shape](const std::string& wanted) {
      return wanted == name ? std::optional(std::vector<Index>{shape.labels, shape.width}) : others(wanted);
    };
    Tensor<float> values(shape.labels, shape.width);
    initialize_head(described, name, head.key, values);
    source.stored = [=, others = source.stored](const std::string& wanted, Index cols) {
      return wanted == name ? std::nullopt : others(wanted, cols);
    };
    source.read = [=, others = source.read](const std::string& wanted, View<float> out) {
      wanted == name ? void(std::copy_n(values.data(), values.size(), out.data())) : others(wanted, out);
    };
  }
  require<ConfigError>(shape.labels > 0, folder.string(), " predicts tokens and no new score head was asked for");
  return detail::assemble(source, shape, config);
}

/// Loads from a GGUF file or a Hugging Face folder.
template <class = void>
CausalLm load_causal_lm(const std::filesystem::path& path, kernel::Precision precision = kernel::Precision::float32) {
  if (is_gguf(path)) return load_causal_lm(std::make_shared<const io::GgufFile>(io::GgufFile::open(path)), precision);
  require<RunError>(std::filesystem::is_directory(path), "load: ", path.string(),
                    std::filesystem::exists(path) ? ": a .gguf file or a folder with config.json and safetensors expected"
                                                  : ": no such file or folder");
  return load_causal_lm(path, config_file(path), precision);
}
}  // namespace vbon::model
