// vbon/model/family/gpt_neox.hpp
//
// GPT-NeoX and Pythia (arXiv 2204.06745, 2304.01373): layer norm, rotary positions on a part of each
// head, plain MLP, attention and MLP in parallel or in sequence. One tensor holds q, k and v head by head.
#pragma once
#include "vbon/model/family/concept.hpp"

namespace vbon::model {
struct GptNeox {
  static constexpr std::string_view name = "gpt_neox";
  static constexpr std::string_view gguf_name = "gptneox";
  static constexpr std::string_view prefix = "gpt_neox.";
  static constexpr Norm norm = Norm::layer;
  static constexpr Position position = Position::rotary;
  static constexpr Mlp mlp = Mlp::plain;
  static constexpr Activation activation = Activation::gelu_exact;
  static constexpr QkvStorage qkv = QkvStorage::by_head;
  static constexpr bool conv1d = false;
  static constexpr bool gguf_rotary_pairs = false;
  static constexpr bool gguf_rope_freqs = false;
  static constexpr bool gguf_says_residual = true;
  static constexpr bool gguf_attention_bias = true;
  static constexpr bool gguf_tied_head = false;
  static constexpr bool biased = true;
  static constexpr bool scale_embedding = false;
  static constexpr bool norm_from_one = false;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s;
    s.vocab = config.integer({"vocab_size"});
    s.width = config.integer({"hidden_size"});
    s.layers = config.integer({"num_hidden_layers"});
    s.heads = s.kv_heads = config.integer({"num_attention_heads"});
    require<ConfigError>(s.heads >= 1, config.source(), ": num_attention_heads >= 1 expected, got ", s.heads);
    require<ConfigError>(s.width % s.heads == 0, config.source(), ": num_attention_heads ", s.heads,
                         " does not divide hidden_size ", s.width);
    s.head_dim = s.width / s.heads;
    s.inner = config.integer({"intermediate_size"});
    s.context = config.integer_or({"max_position_embeddings"}, 2048);
    s.norm_eps = config.number_or({"layer_norm_eps"}, 1e-5);
    s.activation = read_activation(config, {"hidden_act"}, "gelu");
    s.tied = config.flag_or({"tie_word_embeddings"}, false);
    s.qkv_bias = s.attention_out_bias = config.flag_or({"attention_bias"}, true);
    s.mlp_bias = true;
    s.residual = config.flag_or({"use_parallel_residual"}, true) ? Residual::parallel : Residual::sequential;
    s.rope = read_rope(config, s.head_dim, s.context, 0.25);
    read_common(config, s);
    return s;
  }

  template <class = void>
  static Json config(const Shape& s) {
    Json c = write_common(s, name, "GPTNeoX");
    c["hidden_size"] = s.width;
    c["num_hidden_layers"] = s.layers;
    c["num_attention_heads"] = s.heads;
    c["intermediate_size"] = s.inner;
    c["max_position_embeddings"] = s.context;
    c["layer_norm_eps"] = s.norm_eps;
    c["hidden_act"] = activation_name(s.activation);
    c["attention_bias"] = s.qkv_bias;
    c["use_parallel_residual"] = s.residual == Residual::parallel;
    write_rope(s.rope, c);
    c["rotary_emb_base"] = s.rope.theta;
    c["rotary_pct"] = static_cast<double>(s.rope.dim) / static_cast<double>(s.head_dim);
    return c;
  }

  template <class = void>
  static std::string tensor_name(Slot slot, Index layer) {
    const std::string block = "gpt_neox.layers." + std::to_string(layer) + ".";
    switch (slot) {
      case Slot::token_embedding:
        return "gpt_neox.embed_in.weight";
      case Slot::attention_norm:
        return block + "input_layernorm.weight";
      case Slot::attention_norm_bias:
        return block + "input_layernorm.bias";
      case Slot::qkv:
        return block + "attention.query_key_value.weight";
      case Slot::qkv_bias:
        return block + "attention.query_key_value.bias";
      case Slot::attention_out:
        return block + "attention.dense.weight";
      case Slot::attention_out_bias:
        return block + "attention.dense.bias";
      case Slot::mlp_norm:
        return block + "post_attention_layernorm.weight";
      case Slot::mlp_norm_bias:
        return block + "post_attention_layernorm.bias";
      case Slot::up:
        return block + "mlp.dense_h_to_4h.weight";
      case Slot::up_bias:
        return block + "mlp.dense_h_to_4h.bias";
      case Slot::down:
        return block + "mlp.dense_4h_to_h.weight";
      case Slot::down_bias:
        return block + "mlp.dense_4h_to_h.bias";
      case Slot::final_norm:
        return "gpt_neox.final_layer_norm.weight";
      case Slot::final_norm_bias:
        return "gpt_neox.final_layer_norm.bias";
      case Slot::head:
        return "embed_out.weight";
      case Slot::score:
        return "score.weight";
      default:
        no_such_tensor(name, slot);
    }
  }
};
}  // namespace vbon::model
