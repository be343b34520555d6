// vbon/model/save.hpp
//
// A model as a Hugging Face folder: config.json, generation_config.json and safetensors, with the names and
// the storage of the family's own checkpoints, so that transformers loads it. Of an adapted model the merged
// weights are written; the model stays as it is. Tensors that are merged or stored in another order are made one
// by one, so that no second copy of the model is.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "vbon/io/atomic_file.hpp"
#include "vbon/io/write_safetensors.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/registry.hpp"

namespace vbon::model {
struct SaveOptions {
  io::Dtype dtype = io::Dtype::f32;           // f32, f16 or bf16
  std::uint64_t shard_bytes = 5'000'000'000;  // larger checkpoints are split
};

namespace detail {
/// Gives one tensor to write its values in the order in which a format stores them: those of the model, or made when
/// their turn comes where they are merged with an adapter or rearranged.
template <class ToWrite>
void set_values(ToWrite& tensor, const CausalLm& model, std::size_t number, const Arrangement& form) {
  const Parameters<>& parameters = model.parameters();
  const View<const float> values = parameters.value(static_cast<Index>(number));
  const LoraAdapter* adapter = model.adapter();
  if (adapter && !adapter->find(static_cast<Index>(number))) adapter = nullptr;
  if (adapter == nullptr && form.how == Arrange::plain) {
    tensor.values = values.span();
    return;
  }
  tensor.make = [number, values, adapter, &form](std::span<float> stored) {
    View<const float> matrix = values;
    Tensor<float> merged;
    if (adapter != nullptr) {
      merged = Tensor<float>(values.rows(), values.cols());
      std::copy(values.begin(), values.end(), merged.data());
      adapter->merge(static_cast<Index>(number), merged);
      matrix = merged.view();
    }
    arrange_back(form, matrix, View<float>(stored.data(), matrix.rows(), matrix.cols()));
  };
}
}  // namespace detail

/// @throws ConfigError for another dtype or what config.json has no entry for, RunError when the disk is full
template <class = void>
void save_causal_lm(const CausalLm& model, const std::filesystem::path& folder, const SaveOptions& options = {}) {
  require_config_says(model.shape().rope);
  const Rope said = read_shape(ConfigReader(model.config(), "config.json")).rope;
  require<ConfigError>(model.shape().position != Position::rotary || said.dim == model.shape().rope.dim,
                       "this model rotates ", model.shape().rope.dim, " of ", model.shape().head_dim,
                       " entries of a head, and config.json of its family has no entry for that; save it as a GGUF file");
  const Parameters<>& parameters = model.parameters();
  std::vector<io::TensorToWrite> tensors;
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& p = parameters.list()[i];
    io::TensorToWrite& tensor = tensors.emplace_back();
    tensor = {.name = p.name, .shape = p.shape, .dtype = options.dtype};
    detail::set_values(tensor, model, i, model.network().stored[i].arrangement);
  }
  io::write_safetensors_folder(folder, tensors, options.shard_bytes);

  const std::string dtype = options.dtype == io::Dtype::bf16  ? "bfloat16"
                            : options.dtype == io::Dtype::f16 ? "float16"
                                                              : "float32";
  Json config = model.config();
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype;
  io::write_file_atomically(folder / "config.json", config.dump(2) + "\n");

  const Shape& s = model.shape();
  if (s.labels > 0) return;
  Json generation = Json::object();
  if (s.bos >= 0) generation["bos_token_id"] = s.bos;
  if (s.pad >= 0) generation["pad_token_id"] = s.pad;
  if (!s.eos.empty()) generation["eos_token_id"] = s.eos;
  io::write_file_atomically(folder / "generation_config.json", generation.dump(2) + "\n");
}
}  // namespace vbon::model
