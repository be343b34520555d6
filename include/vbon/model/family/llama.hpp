// vbon/model/family/llama.hpp
//
// Llama (arXiv 2302.13971, 2307.09288): RMS norm, rotary positions, gated MLP, grouped key/value heads.
// SmolLM2, TinyLlama and the Llama 3 line are members. config() and the names also serve the families
// that differ in one choice only (qwen.hpp).
#pragma once
#include "vbon/model/family/concept.hpp"

namespace vbon::model {
struct Llama {
  static constexpr std::string_view name = "llama";
  static constexpr std::string_view gguf_name = "llama";
  static constexpr std::string_view prefix = "model.";
  static constexpr Norm norm = Norm::rms;
  static constexpr Position position = Position::rotary;
  static constexpr Mlp mlp = Mlp::gated;
  static constexpr Activation activation = Activation::silu;
  static constexpr QkvStorage qkv = QkvStorage::separate;
  static constexpr bool conv1d = false;
  static constexpr bool gguf_rotary_pairs = true;
  static constexpr bool gguf_rope_freqs = true;
  static constexpr bool gguf_says_residual = false;
  static constexpr bool gguf_attention_bias = true;
  static constexpr bool gguf_tied_head = true;
  static constexpr bool biased = false;
  static constexpr bool scale_embedding = false;
  static constexpr bool norm_from_one = false;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s;
    s.vocab = config.integer({"vocab_size"});
    s.width = config.integer({"hidden_size"});
    s.layers = config.integer({"num_hidden_layers"});
    s.heads = config.integer({"num_attention_heads"});
    require<ConfigError>(s.heads >= 1, config.source(), ": num_attention_heads >= 1 expected, got ", s.heads);
    s.kv_heads = config.integer_or({"num_key_value_heads"}, s.heads);
    require<ConfigError>(config.has({"head_dim"}) || s.width % s.heads == 0, config.source(), ": num_attention_heads ",
                         s.heads, " does not divide hidden_size ", s.width);
    s.head_dim = config.integer_or({"head_dim"}, s.width / s.heads);
    s.inner = config.integer({"intermediate_size"});
    s.context = config.integer_or({"max_position_embeddings"}, 2048);
    s.norm_eps = config.number_or({"rms_norm_eps"}, 1e-6);
    s.activation = read_activation(config, {"hidden_act"}, "silu");
    s.tied = config.flag_or({"tie_word_embeddings"}, false);
    s.qkv_bias = s.attention_out_bias = config.flag_or({"attention_bias"}, false);
    s.mlp_bias = config.flag_or({"mlp_bias"}, false);
    s.rope = read_rope(config, s.head_dim, s.context);
    read_common(config, s);
    return s;
  }

  template <class = void>
  static Json config(const Shape& s) {
    return config_as(s, name, "Llama");
  }

  /// The config of a member under another model type and class name.
  template <class = void>
  static Json config_as(const Shape& s, std::string_view model_type, std::string_view class_prefix) {
    Json c = write_common(s, model_type, class_prefix);
    c["hidden_size"] = s.width;
    c["num_hidden_layers"] = s.layers;
    c["num_attention_heads"] = s.heads;
    c["num_key_value_heads"] = s.kv_heads;
    c["head_dim"] = s.head_dim;
    c["intermediate_size"] = s.inner;
    c["max_position_embeddings"] = s.context;
    c["rms_norm_eps"] = s.norm_eps;
    c["hidden_act"] = activation_name(s.activation);
    c["attention_bias"] = s.attention_out_bias;
    c["mlp_bias"] = s.mlp_bias;
    write_rope(s.rope, c);
    return c;
  }

  template <class = void>
  static std::string tensor_name(Slot slot, Index layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    switch (slot) {
      case Slot::token_embedding:
        return "model.embed_tokens.weight";
      case Slot::attention_norm:
        return block + "input_layernorm.weight";
      case Slot::q:
        return block + "self_attn.q_proj.weight";
      case Slot::q_bias:
        return block + "self_attn.q_proj.bias";
      case Slot::k:
        return block + "self_attn.k_proj.weight";
      case Slot::k_bias:
        return block + "self_attn.k_proj.bias";
      case Slot::v:
        return block + "self_attn.v_proj.weight";
      case Slot::v_bias:
        return block + "self_attn.v_proj.bias";
      case Slot::q_norm:
        return block + "self_attn.q_norm.weight";
      case Slot::k_norm:
        return block + "self_attn.k_norm.weight";
      case Slot::attention_out:
        return block + "self_attn.o_proj.weight";
      case Slot::attention_out_bias:
        return block + "self_attn.o_proj.bias";
      case Slot::mlp_norm:
        return block + "post_attention_layernorm.weight";
      case Slot::gate:
        return block + "mlp.gate_proj.weight";
      case Slot::gate_bias:
        return block + "mlp.gate_proj.bias";
      case Slot::up:
        return block + "mlp.up_proj.weight";
      case Slot::up_bias:
        return block + "mlp.up_proj.bias";
      case Slot::down:
        return block + "mlp.down_proj.weight";
      case Slot::down_bias:
        return block + "mlp.down_proj.bias";
      case Slot::final_norm:
        return "model.norm.weight";
      case Slot::head:
        return "lm_head.weight";
      case Slot::score:
        return "score.weight";
      default:
        no_such_tensor(name, slot);
    }
  }
};
}  // namespace vbon::model
