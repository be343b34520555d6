// vbon/model/registry.hpp
//
// The families of causal language models, by name. Adding one: its include and its entry here.
#pragma once
#include <string>
#include <tuple>

#include "vbon/core/registry.hpp"
#include "vbon/model/family/concept.hpp"
#include "vbon/model/family/gemma.hpp"
#include "vbon/model/family/gpt2.hpp"
#include "vbon/model/family/gpt_neox.hpp"
#include "vbon/model/family/llama.hpp"
#include "vbon/model/family/qwen.hpp"

namespace vbon::model {
using Families = std::tuple<Llama, Qwen2, Qwen3, Gpt2, GptNeox, Gemma>;

/// The family whose config.json has this model_type.
/// @throws ConfigError, listing the known ones
template <class = void>
FamilyInfo find_family(std::string_view model_type) {
  FamilyInfo info{};
  with_name<Families>("model_type", model_type, [&]<class F>(const F&) { info = family_info<F>(); });
  return info;
}

/// The family whose GGUF files have this general.architecture.
/// @throws ConfigError, listing the known ones
template <class = void>
FamilyInfo find_gguf_family(std::string_view architecture, std::string_view source) {
  FamilyInfo info{};
  std::string known;
  bool found = false;
  for_each_entry<Families>([&]<class F>(const F&) {
    known += (known.empty() ? "" : ", ") + std::string(F::gguf_name);
    if (F::gguf_name == architecture) {
      info = family_info<F>();
      found = true;
    }
  });
  require<ConfigError>(found, source, ": unknown architecture '", architecture, "'; known: ", known);
  return info;
}

/// Copies the choices every member of a family shares into a shape.
template <class = void>
void apply_family(const FamilyInfo& info, Shape& shape) {
  shape.family = info.name;
  shape.norm = info.norm;
  shape.position = info.position;
  shape.mlp = info.mlp;
  shape.scale_embedding = info.scale_embedding;
  shape.norm_from_one = info.norm_from_one;
}

/// The shape a config.json describes, held against itself.
/// @throws ConfigError naming the file and the entry
template <class = void>
Shape read_shape(const ConfigReader& config) {
  require<ConfigError>(config.has({"model_type"}), config.source(),
                       ": model_type is missing; known: ", known_names<Families>());
  const std::string type = config.text({"model_type"});
  const FamilyInfo info = [&] {
    try {
      return find_family(type);
    } catch (const ConfigError& error) {
      throw ConfigError(message(config.source(), ": ", error.what()));
    }
  }();
  Shape shape = info.shape(config);
  apply_family(info, shape);
  check(shape, config.source());
  return shape;
}
}  // namespace vbon::model
