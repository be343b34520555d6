// vbon/model/family/qwen.hpp
//
// Qwen2 and Qwen3 (arXiv 2407.10671, 2505.09388): Llama's blocks. Qwen2 has biases on q, k and v only;
// Qwen3 has none of them but normalises every head of q and k before the rotation. GGUF files keep the
// rows of q and k in the order of the original checkpoint.
#pragma once
#include "vbon/model/family/llama.hpp"

namespace vbon::model {
namespace detail {
/// These families slide their attention window over nothing unless told; a window that cuts is refused.
template <class = void>
Shape qwen_shape(const ConfigReader& config) {
  Shape s = Llama::shape(config);
  s.qkv_bias = s.attention_out_bias = s.mlp_bias = false;
  if (config.flag_or({"use_sliding_window"}, false)) {
    const Index window = config.integer_or({"sliding_window"}, s.context);
    require<ConfigError>(window >= s.context, config.source(), ": sliding_window ", window, " below the context of ",
                         s.context, " tokens is not supported; set use_sliding_window to false");
  }
  return s;
}
}  // namespace detail

struct Qwen2 : Llama {
  static constexpr std::string_view name = "qwen2";
  static constexpr std::string_view gguf_name = "qwen2";
  static constexpr bool gguf_rotary_pairs = false;
  static constexpr bool gguf_rope_freqs = false;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s = detail::qwen_shape(config);
    s.qkv_bias = true;
    return s;
  }
  template <class = void>
  static Json config(const Shape& s) {
    Json c = config_as(s, name, "Qwen2");
    c.erase("attention_bias");
    c.erase("mlp_bias");
    c["use_sliding_window"] = false;
    return c;
  }
};

struct Qwen3 : Llama {
  static constexpr std::string_view name = "qwen3";
  static constexpr std::string_view gguf_name = "qwen3";
  static constexpr bool gguf_rotary_pairs = false;
  static constexpr bool gguf_rope_freqs = false;
  static constexpr bool gguf_attention_bias = false;

  template <class = void>
  static Shape shape(const ConfigReader& config) {
    Shape s = detail::qwen_shape(config);
    s.head_dim = config.integer_or({"head_dim"}, 128);
    s.rope = read_rope(config, s.head_dim, s.context);
    s.qkv_bias = s.attention_out_bias = config.flag_or({"attention_bias"}, false);
    s.qk_norm = true;
    return s;
  }
  template <class = void>
  static Json config(const Shape& s) {
    Json c = config_as(s, name, "Qwen3");
    c.erase("mlp_bias");
    c["use_sliding_window"] = false;
    return c;
  }
};
}  // namespace vbon::model
