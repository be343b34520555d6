// vbon/model/save_gguf.hpp
//
// A causal language model as GGUF metadata and tensors, under the names and in the order that llama.cpp and
// read_shape() expect. The keys are the same for every architecture; what a family's GGUF files have no key for is
// refused. Like save.hpp it writes the merged weights of an adapted model, tensor by tensor.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "vbon/io/write_gguf.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/save.hpp"

namespace vbon::model {
namespace detail {
/// GGUF files give these by the architecture's name alone.
template <class = void>
void require_gguf_says(const Shape& s, const FamilyInfo& family) {
  const auto can = [&](bool fits, const auto&... what) {
    require<ConfigError>(fits, "save_gguf: GGUF files of the architecture ", family.gguf_name, " cannot say ", what...,
                         "; save the model as a folder instead");
  };
  can(s.labels == 0, "that the head gives ", s.labels, " scores");
  can(s.activation == family.activation, "that the activation is ", activation_name(s.activation), " (theirs is ",
      activation_name(family.activation), ")");
  can(s.scale_by_head_dim && !s.scale_by_layer, "that attention scores are scaled by the layer, or not by the head size");
  can(!family.biased || (s.qkv_bias && s.attention_out_bias && s.mlp_bias), "that linear maps have no bias");
  can(family.gguf_attention_bias || !(s.qkv_bias || s.attention_out_bias), "that attention has biases");
  can(s.rope.scaling != RopeScaling::llama3 || family.gguf_rope_freqs, "that the rotary scaling is llama3");
  can(s.rope.divisor.empty() || family.gguf_rope_freqs, "divisors of the rotary frequencies");
}

/// What llama.cpp shows as the type of a file.
template <class = void>
std::uint32_t gguf_file_type(BlockType type) {
  switch (type) {
    case BlockType::f32:
      return 0;
    case BlockType::f16:
      return 1;
    case BlockType::q4_0:
      return 2;
    case BlockType::q8_0:
      return 7;
    case BlockType::bf16:
      return 32;
    default:
      throw ConfigError(message("save_gguf: the type ", block_format(type).name,
                                " cannot be written; known: ", io::detail::writable_types()));
  }
}

/// Vectors and the positions stay F32, as llama.cpp expects; rows that do not fill blocks are stored as F16.
inline BlockType gguf_type_of(const StoredTensor& stored, const Parameter& p, BlockType wanted) {
  if (p.shape.size() == 1 || stored.slot == Slot::position_embedding) return BlockType::f32;
  const auto block = static_cast<Index>(block_format(wanted).elements);
  return p.cols % block == 0 ? wanted : BlockType::f16;
}
}  // namespace detail

/// Adds what read_shape() asks for.
/// @throws ConfigError for what GGUF files of the family cannot say, naming it, or a type that cannot be written
template <class = void>
void add_gguf_shape(io::GgufMetadata& metadata, const Shape& s, BlockType type) {
  const FamilyInfo family = find_family(s.family);
  detail::require_gguf_says(s, family);
  const std::string architecture(family.gguf_name);
  const auto size = [&](const char* key, Index value) {
    metadata.add(architecture + "." + key, static_cast<std::uint32_t>(value));
  };
  const auto real = [&](const char* key, double value) {
    metadata.add(architecture + "." + key, static_cast<float>(value));
  };
  metadata.add("general.architecture", architecture);
  metadata.add("general.type", "model");
  metadata.add("general.file_type", detail::gguf_file_type(type));
  metadata.add("general.quantization_version", std::uint32_t{2});
  size("vocab_size", s.vocab);
  size("context_length", s.context);
  size("embedding_length", s.width);
  size("block_count", s.layers);
  size("feed_forward_length", s.inner);
  size("attention.head_count", s.heads);
  size("attention.head_count_kv", s.kv_heads);
  size("attention.key_length", s.head_dim);
  size("attention.value_length", s.head_dim);
  real(s.norm == Norm::rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", s.norm_eps);
  if (s.position == Position::rotary) {
    size("rope.dimension_count", s.rope.dim);
    real("rope.freq_base", s.rope.theta);
    if (s.rope.scaling == RopeScaling::linear) {
      metadata.add(architecture + ".rope.scaling.type", "linear");
      real("rope.scaling.factor", s.rope.factor);
    }
  }
  if (family.gguf_says_residual) metadata.add(architecture + ".use_parallel_residual", s.residual == Residual::parallel);
}

/// Writes one file: the shape and the tensors, after whatever stands in `metadata` (a tokenizer).
/// @throws as add_gguf_shape; RunError when the disk is full
template <class = void>
void save_gguf(const CausalLm& model, const std::filesystem::path& path, BlockType type, io::GgufMetadata metadata = {}) {
  const Shape& s = model.shape();
  add_gguf_shape(metadata, s, type);
  std::vector<io::GgufTensorToWrite> tensors;
  const std::vector<float> divisor = s.rope.scaling == RopeScaling::llama3 ? llama3_divisor(s.rope) : s.rope.divisor;
  if (!divisor.empty())
    tensors.push_back({.name = "rope_freqs.weight", .shape = {static_cast<Index>(divisor.size())}, .values = divisor});
  const auto add = [&](std::size_t i, Slot slot) {
    const StoredTensor& stored = model.network().stored[i];
    const Parameter& p = model.parameters().list()[i];
    io::GgufTensorToWrite& tensor = tensors.emplace_back();
    tensor.name = gguf_tensor_name(slot, stored.layer);
    tensor.shape = p.shape.size() == 1 ? p.shape : std::vector<Index>{p.rows, p.cols};  // never transposed
    tensor.type = detail::gguf_type_of(stored, p, type);
    detail::set_values(tensor, model, i, stored.gguf_arrangement);
  };
  const auto& stored = model.network().stored;
  for (std::size_t i = 0; i < stored.size(); ++i) add(i, stored[i].slot);
  if (s.tied && !model.family().gguf_tied_head)  // the embedding once more, as the head
    for (std::size_t i = 0; i < stored.size(); ++i)
      if (stored[i].slot == Slot::token_embedding) add(i, Slot::head);
  io::write_gguf(path, metadata, tensors);
}
}  // namespace vbon::model
