// vbon/model/family/gemma.hpp
//
// Gemma (arXiv 2403.08295): Llama's blocks with a head size of its own, a GELU in the gated MLP, embeddings multiplied by
// sqrt(C), norms that multiply by 1 + w, and the head tied to the embedding. Gemma 2 and 3 have a norm behind each part of
// a block too and attend in windows: their checkpoints have another model_type and are refused.
#pragma once
#include "vbon/model/family/llama.hpp"

namespace vbon::model {
struct Gemma : Llama {
  static constexpr std::string_view name = "gemma";
  static constexpr std::string_view gguf_name = "gemma";
  static constexpr Activation activation = Activation::gelu_tanh;
  static constexpr bool gguf_rotary_pairs = false;
  static constexpr bool gguf_rope_freqs = false;
  static constexpr bool scale_embedding = true;
  static constexpr bool norm_from_one = true;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s = Llama::shape(config);
    s.head_dim = config.integer_or({"head_dim"}, 256);
    s.rope = read_rope(config, s.head_dim, s.context);
    s.tied = config.flag_or({"tie_word_embeddings"}, true);
    // Early checkpoints say hidden_act "gelu" and mean the one by tanh.
    s.activation = Activation::gelu_tanh;
    for (const char* key : {"hidden_act", "hidden_activation"}) {
      const std::string said = config.text_or({key}, "gelu_pytorch_tanh");
      if (said != "gelu_pytorch_tanh" && said != "gelu_new" && said != "gelu")
        config.unknown(key, said, "gelu_pytorch_tanh, gelu");
    }
    return s;
  }
  template <class = void>
  static Json config(const Shape& s) {
    Json c = config_as(s, name, "Gemma");
    c.erase("mlp_bias");
    c["hidden_act"] = c["hidden_activation"] = "gelu_pytorch_tanh";
    return c;
  }
};
}  // namespace vbon::model
