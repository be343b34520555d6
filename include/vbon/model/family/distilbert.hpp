// vbon/model/family/distilbert.hpp
//
// DistilBERT: BERT's blocks without token types, and a relu map under the classifier. Source: Sanh et
// al., arXiv 1910.01108.
#pragma once
#include <string>
#include <string_view>

#include "vbon/model/config.hpp"
#include "vbon/model/encoder_shape.hpp"
#include "vbon/model/family/bert.hpp"

namespace vbon::model {
struct DistilBert {
  static constexpr std::string_view name = "distilbert";
  static constexpr std::string_view prefix = "distilbert.";
  static constexpr std::string_view class_name = "DistilBert";  // "DistilBertModel", "DistilBertForSequenceClassification"

  template <class = void>
  static EncoderShape shape(const ConfigReader& config) {
    return {.vocabulary = config.integer({"vocab_size"}),
            .positions = config.integer({"max_position_embeddings"}),
            .types = 0,
            .width = config.integer({"dim"}),
            .layers = config.integer({"n_layers"}),
            .heads = config.integer({"n_heads"}),
            .intermediate = config.integer({"hidden_dim"}),
            .norm_epsilon = 1e-12,
            .activation = read_activation(config, {"activation"}, "gelu"),
            .head_activation = HeadActivation::relu,
            .pad_id = config.token_or({"pad_token_id"}, 0)};
  }

  template <class = void>
  static std::string tensor_name(EncoderSlot slot, Index layer) {
    const std::string block = "transformer.layer." + std::to_string(layer) + '.';
    switch (slot) {
      case EncoderSlot::word_table:
        return "embeddings.word_embeddings";
      case EncoderSlot::position_table:
        return "embeddings.position_embeddings";
      case EncoderSlot::type_table:
        return {};
      case EncoderSlot::embedding_norm:
        return "embeddings.LayerNorm";
      case EncoderSlot::query:
        return block + "attention.q_lin";
      case EncoderSlot::key:
        return block + "attention.k_lin";
      case EncoderSlot::value:
        return block + "attention.v_lin";
      case EncoderSlot::attention_output:
        return block + "attention.out_lin";
      case EncoderSlot::attention_norm:
        return block + "sa_layer_norm";
      case EncoderSlot::up:
        return block + "ffn.lin1";
      case EncoderSlot::down:
        return block + "ffn.lin2";
      case EncoderSlot::output_norm:
        return block + "output_layer_norm";
      case EncoderSlot::head_dense:
        return "pre_classifier";
      case EncoderSlot::head_output:
        return "classifier";
    }
    return {};
  }
};
}  // namespace vbon::model
