// vbon/model/family/roberta.hpp
//
// RoBERTa: BERT's blocks; positions count from pad_id + 1 and pass over pad tokens, and the classifier
// has a tanh map of its own instead of BERT's pooler. Source: Liu et al., arXiv 1907.11692.
#pragma once
#include <string>
#include <string_view>

#include "vbon/model/encoder_shape.hpp"
#include "vbon/model/family/bert.hpp"

namespace vbon::model {
struct Roberta {
  static constexpr std::string_view name = "roberta";
  static constexpr std::string_view prefix = "roberta.";
  static constexpr std::string_view class_name = "Roberta";  // "RobertaModel", "RobertaForSequenceClassification"

  template <class = void>
  static EncoderShape shape(const ConfigReader& config) {
    EncoderShape shape = Bert::shape(config);
    shape.pad_id = config.token_or({"pad_token_id"}, 1);
    shape.positions_skip_pad = true;
    return shape;
  }

  template <class = void>
  static std::string tensor_name(EncoderSlot slot, Index layer) {
    if (slot == EncoderSlot::head_dense) return "classifier.dense";
    if (slot == EncoderSlot::head_output) return "classifier.out_proj";
    return Bert::tensor_name(slot, layer);
  }
};
}  // namespace vbon::model
