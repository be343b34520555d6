// vbon/model/classifier_kind.hpp
//
// Which kind of network the config.json of a sequence classifier describes.
#pragma once
#include "vbon/model/config.hpp"
#include "vbon/model/encoder_registry.hpp"
#include "vbon/model/registry.hpp"

namespace vbon::model {
enum class ClassifierKind { encoder, causal_lm };

/// @throws ConfigError for an unknown model_type, listing the known ones
template <class = void>
ClassifierKind classifier_kind(const ConfigReader& config) {
  const auto type = config.text({"model_type"});
  if (has_entry<EncoderFamilies>(type)) return ClassifierKind::encoder;
  require<ConfigError>(has_entry<Families>(type), config.source(), ": unknown model_type '", type,
                       "'; known: ", known_names<EncoderFamilies>(), ", ", known_names<Families>());
  return ClassifierKind::causal_lm;
}
}  // namespace vbon::model
