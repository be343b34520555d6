// vbon/model/family/gpt2.hpp
//
// GPT-2: layer norm, learned positions, plain MLP, biases everywhere, the head tied to the embedding.
// Checkpoints store linear weights [in, out] and q, k, v in one tensor.
#pragma once
#include "vbon/model/family/concept.hpp"

namespace vbon::model {
struct Gpt2 {
  static constexpr std::string_view name = "gpt2";
  static constexpr std::string_view gguf_name = "gpt2";
  static constexpr std::string_view prefix = "transformer.";
  static constexpr Norm norm = Norm::layer;
  static constexpr Position position = Position::learned;
  static constexpr Mlp mlp = Mlp::plain;
  static constexpr Activation activation = Activation::gelu_tanh;
  static constexpr QkvStorage qkv = QkvStorage::stacked;
  static constexpr bool conv1d = true;
  static constexpr bool gguf_rotary_pairs = false;
  static constexpr bool gguf_rope_freqs = false;
  static constexpr bool gguf_says_residual = false;
  static constexpr bool gguf_attention_bias = true;
  static constexpr bool gguf_tied_head = true;
  static constexpr bool biased = true;
  static constexpr bool scale_embedding = false;
  static constexpr bool norm_from_one = false;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s;
    s.vocab = config.integer({"vocab_size"});
    s.width = config.integer({"n_embd", "hidden_size"});
    s.layers = config.integer({"n_layer", "num_hidden_layers"});
    s.heads = s.kv_heads = config.integer({"n_head", "num_attention_heads"});
    require<ConfigError>(s.heads >= 1, config.source(), ": n_head >= 1 expected, got ", s.heads);
    require<ConfigError>(s.width % s.heads == 0, config.source(), ": n_head ", s.heads, " does not divide n_embd ", s.width);
    s.head_dim = s.width / s.heads;
    require<ConfigError>(s.width < (Index{1} << 31), config.source(), ": n_embd below 2^31 expected, got ", s.width);
    s.inner = config.integer_or({"n_inner"}, 4 * s.width);
    s.context = config.integer({"n_positions", "n_ctx", "max_position_embeddings"});
    s.norm_eps = config.number_or({"layer_norm_epsilon"}, 1e-5);
    s.activation = read_activation(config, {"activation_function"}, "gelu_new");
    s.tied = config.flag_or({"tie_word_embeddings"}, true);
    s.qkv_bias = s.attention_out_bias = s.mlp_bias = true;
    s.scale_by_head_dim = config.flag_or({"scale_attn_weights"}, true);
    s.scale_by_layer = config.flag_or({"scale_attn_by_inverse_layer_idx"}, false);
    require<ConfigError>(!config.flag_or({"add_cross_attention"}, false), config.source(),
                         ": add_cross_attention is not supported");
    read_common(config, s);
    return s;
  }

  template <class = void>
  static Json config(const Shape& s) {
    Json c = write_common(s, name, "GPT2");
    if (s.labels == 0) c["architectures"] = {"GPT2LMHeadModel"};
    c["n_embd"] = s.width;
    c["n_layer"] = s.layers;
    c["n_head"] = s.heads;
    c["n_inner"] = s.inner;
    c["n_positions"] = s.context;
    c["layer_norm_epsilon"] = s.norm_eps;
    c["activation_function"] = activation_name(s.activation);
    c["scale_attn_weights"] = s.scale_by_head_dim;
    c["scale_attn_by_inverse_layer_idx"] = s.scale_by_layer;
    return c;
  }

  template <class = void>
  static std::string tensor_name(Slot slot, Index layer) {
    const std::string block = "transformer.h." + std::to_string(layer) + ".";
    switch (slot) {
      case Slot::token_embedding:
        return "transformer.wte.weight";
      case Slot::position_embedding:
        return "transformer.wpe.weight";
      case Slot::attention_norm:
        return block + "ln_1.weight";
      case Slot::attention_norm_bias:
        return block + "ln_1.bias";
      case Slot::qkv:
        return block + "attn.c_attn.weight";
      case Slot::qkv_bias:
        return block + "attn.c_attn.bias";
      case Slot::attention_out:
        return block + "attn.c_proj.weight";
      case Slot::attention_out_bias:
        return block + "attn.c_proj.bias";
      case Slot::mlp_norm:
        return block + "ln_2.weight";
      case Slot::mlp_norm_bias:
        return block + "ln_2.bias";
      case Slot::up:
        return block + "mlp.c_fc.weight";
      case Slot::up_bias:
        return block + "mlp.c_fc.bias";
      case Slot::down:
        return block + "mlp.c_proj.weight";
      case Slot::down_bias:
        return block + "mlp.c_proj.bias";
      case Slot::final_norm:
        return "transformer.ln_f.weight";
      case Slot::final_norm_bias:
        return "transformer.ln_f.bias";
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
