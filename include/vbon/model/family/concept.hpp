// vbon/model/family/concept.hpp
//
// A family of causal language models: the choices its members share, how its config.json is read and
// written, and how its checkpoints name and store tensors. Adding a family is one header like this asks
// for and one entry in model/registry.hpp; the blocks that compute are shared.
#pragma once
#include <concepts>
#include <string>
#include <string_view>

#include "vbon/model/config.hpp"
#include "vbon/model/shape.hpp"
#include "vbon/model/slot.hpp"

namespace vbon::model {
template <class F>
concept Family = requires(const ConfigReader& config, const Shape& shape, Slot slot, Index layer) {
  { F::name } -> std::convertible_to<std::string_view>;       // model_type of config.json
  { F::gguf_name } -> std::convertible_to<std::string_view>;  // general.architecture of a GGUF file
  { F::prefix } -> std::convertible_to<std::string_view>;     // tensor names may lack it
  { F::norm } -> std::convertible_to<Norm>;
  { F::position } -> std::convertible_to<Position>;
  { F::mlp } -> std::convertible_to<Mlp>;
  { F::activation } -> std::convertible_to<Activation>;  // where a GGUF file does not say
  { F::qkv } -> std::convertible_to<QkvStorage>;
  { F::conv1d } -> std::convertible_to<bool>;               // linear weights are stored [in, out]
  { F::gguf_rotary_pairs } -> std::convertible_to<bool>;    // GGUF files hold q and k with rotated entries in pairs
  { F::gguf_rope_freqs } -> std::convertible_to<bool>;      // they may hold divisors of the rotary frequencies
  { F::gguf_says_residual } -> std::convertible_to<bool>;   // they say whether attention and MLP stand in parallel
  { F::gguf_attention_bias } -> std::convertible_to<bool>;  // they may hold biases of q, k, v and the attention's output
  { F::gguf_tied_head } -> std::convertible_to<bool>;       // they may leave out a head that is the embedding
  { F::biased } -> std::convertible_to<bool>;               // every linear map of a block has a bias
  { F::scale_embedding } -> std::convertible_to<bool>;      // embeddings are multiplied by sqrt(C)
  { F::norm_from_one } -> std::convertible_to<bool>;        // norms multiply by 1 + w; GGUF files hold 1 + w
  { F::shape(config) } -> std::same_as<Shape>;              // family choices are added by the caller
  { F::config(shape) } -> std::same_as<Json>;
  { F::tensor_name(slot, layer) } -> std::same_as<std::string>;
};

/// A family as a value, for code that is not a template.
struct FamilyInfo {
  std::string_view name, gguf_name, prefix;
  Norm norm;
  Position position;
  Mlp mlp;
  Activation activation;
  QkvStorage qkv;
  bool conv1d, gguf_rotary_pairs, gguf_rope_freqs, gguf_says_residual, gguf_attention_bias, gguf_tied_head, biased,
      scale_embedding, norm_from_one;
  Shape (*shape)(const ConfigReader&);
  Json (*config)(const Shape&);
  std::string (*tensor_name)(Slot, Index);
};

template <Family F>
FamilyInfo family_info() {
  return {F::name,
          F::gguf_name,
          F::prefix,
          F::norm,
          F::position,
          F::mlp,
          F::activation,
          F::qkv,
          F::conv1d,
          F::gguf_rotary_pairs,
          F::gguf_rope_freqs,
          F::gguf_says_residual,
          F::gguf_attention_bias,
          F::gguf_tied_head,
          F::biased,
          F::scale_embedding,
          F::norm_from_one,
          &F::shape,
          &F::config,
          &F::tensor_name};
}

/// What a family lacks: a slot that none of its checkpoints has.
[[noreturn]] inline void no_such_tensor(std::string_view family, Slot slot) {
  throw ConfigError(message("family ", family, " has no tensor for slot ", static_cast<int>(slot)));
}
}  // namespace vbon::model
