// vbon/model/encoder_registry.hpp
//
// The encoder families, by the model_type of their config.json. Adding one: its include and its entry here.
#pragma once
#include <string_view>
#include <tuple>

#include "vbon/core/registry.hpp"
#include "vbon/model/config.hpp"
#include "vbon/model/encoder_shape.hpp"
#include "vbon/model/family/bert.hpp"
#include "vbon/model/family/distilbert.hpp"
#include "vbon/model/family/roberta.hpp"

namespace vbon::model {
using EncoderFamilies = std::tuple<Bert, DistilBert, Roberta>;

/// A family as a value.
struct EncoderFamily {
  EncoderShape (*shape)(const ConfigReader&) = nullptr;
  EncoderNames names;
  std::string_view class_name;  // how transformers' classes begin
};

/// @throws ConfigError, listing the known ones
template <class = void>
EncoderFamily find_encoder_family(std::string_view model_type) {
  EncoderFamily family;
  with_name<EncoderFamilies>("encoder model_type", model_type, [&]<class F>(const F&) {
    family = {&F::shape, {F::prefix, &F::tensor_name}, F::class_name};
  });
  return family;
}
}  // namespace vbon::model
