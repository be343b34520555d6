// vbon/model/family/bert.hpp
//
// BERT: learned positions from 0, token types, post-norm blocks, a tanh pooler under the classifier.
// Source: Devlin et al., arXiv 1810.04805. Tensor names as in Hugging Face checkpoints.
#pragma once
#include <string>
#include <string_view>

#include "vbon/model/config.hpp"
#include "vbon/model/encoder_shape.hpp"

namespace vbon::model {
struct Bert {
  static constexpr std::string_view name = "bert";
  static constexpr std::string_view prefix = "bert.";
  static constexpr std::string_view class_name = "Bert";  // "BertModel", "BertForSequenceClassification"

  template <class = void>
  static EncoderShape shape(const ConfigReader& config) {
    const auto positions = config.text_or({"position_embedding_type"}, "absolute");
    if (positions != "absolute") config.unknown("position_embedding_type", positions, "absolute");
    require<ConfigError>(!config.flag_or({"is_decoder"}, false), config.source(),
                         ": is_decoder is true, an encoder was expected");
    return {.vocabulary = config.integer({"vocab_size"}),
            .positions = config.integer({"max_position_embeddings"}),
            .types = config.integer_or({"type_vocab_size"}, 2),
            .width = config.integer({"hidden_size"}),
            .layers = config.integer({"num_hidden_layers"}),
            .heads = config.integer({"num_attention_heads"}),
            .intermediate = config.integer({"intermediate_size"}),
            .norm_epsilon = config.number_or({"layer_norm_eps"}, 1e-12),
            .activation = read_activation(config, {"hidden_act"}, "gelu"),
            .head_activation = HeadActivation::tanh,
            .pad_id = config.token_or({"pad_token_id"}, 0)};
  }

  template <class = void>
  static std::string tensor_name(EncoderSlot slot, Index layer) {
    const std::string block = "encoder.layer." + std::to_string(layer) + '.';
    switch (slot) {
      case EncoderSlot::word_table:
        return "embeddings.word_embeddings";
      case EncoderSlot::position_table:
        return "embeddings.position_embeddings";
      case EncoderSlot::type_table:
        return "embeddings.token_type_embeddings";
      case EncoderSlot::embedding_norm:
        return "embeddings.LayerNorm";
      case EncoderSlot::query:
        return block + "attention.self.query";
      case EncoderSlot::key:
        return block + "attention.self.key";
      case EncoderSlot::value:
        return block + "attention.self.value";
      case EncoderSlot::attention_output:
        return block + "attention.output.dense";
      case EncoderSlot::attention_norm:
        return block + "attention.output.LayerNorm";
      case EncoderSlot::up:
        return block + "intermediate.dense";
      case EncoderSlot::down:
        return block + "output.dense";
      case EncoderSlot::output_norm:
        return block + "output.LayerNorm";
      case EncoderSlot::head_dense:
        return "bert.pooler.dense";
      case EncoderSlot::head_output:
        return "classifier";
    }
    return {};
  }
};
}  // namespace vbon::model
