// vbon/model/gguf_config.hpp
//
// The shape of a causal language model from the metadata of a GGUF file. The keys are the same for every
// architecture, under its name.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "vbon/io/gguf.hpp"
#include "vbon/model/registry.hpp"

namespace vbon::model {
/// @throws FormatError naming the missing or mistyped key, ConfigError for what is not supported
template <class = void>
Shape read_shape(const io::GgufFile& file) {
  const std::string source = file.path();
  const std::string architecture = file.get<std::string>("general.architecture");
  const FamilyInfo family = find_gguf_family(architecture, source);
  const auto key = [&](std::string_view name) { return architecture + "." + std::string(name); };

  Shape s;
  apply_family(family, s);
  s.activation = family.activation;
  s.width = file.get<Index>(key("embedding_length"));
  s.layers = file.get<Index>(key("block_count"));
  s.heads = file.get<Index>(key("attention.head_count"));
  require<ConfigError>(s.heads >= 1, source, ": ", key("attention.head_count"), " >= 1 expected, got ", s.heads);
  s.kv_heads = file.get_or<Index>(key("attention.head_count_kv"), s.heads);
  require<ConfigError>(file.has(key("attention.key_length")) || s.width % s.heads == 0, source, ": ", s.heads,
                       " heads do not divide the width ", s.width);
  s.head_dim = file.get_or<Index>(key("attention.key_length"), s.width / s.heads);
  require<ConfigError>(file.get_or<Index>(key("attention.value_length"), s.head_dim) == s.head_dim, source,
                       ": keys and values of different length are not supported");
  s.inner = file.get<Index>(key("feed_forward_length"));
  s.context = file.get<Index>(key("context_length"));
  s.norm_eps =
      file.get<double>(key(s.norm == Norm::rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"));

  const io::GgufTensor& embedding = file.tensor("token_embd.weight");
  require<FormatError>(embedding.shape.size() == 2, source, ": tensor \"token_embd.weight\" of two dimensions expected");
  s.vocab = file.get_or<Index>(key("vocab_size"), embedding.shape[0]);
  s.tied = !file.contains("output.weight");
  s.qk_norm = file.contains(gguf_tensor_name(Slot::q_norm, 0));
  const Slot qkv_bias = family.qkv == QkvStorage::separate ? Slot::q_bias : Slot::qkv_bias;
  s.qkv_bias = file.contains(gguf_tensor_name(qkv_bias, 0));
  s.attention_out_bias = file.contains(gguf_tensor_name(Slot::attention_out_bias, 0));
  s.mlp_bias = file.contains(gguf_tensor_name(Slot::down_bias, 0));
  if (file.get_or<bool>(key("use_parallel_residual"), false)) s.residual = Residual::parallel;

  if (s.position == Position::rotary) {
    s.rope.theta = file.get_or<double>(key("rope.freq_base"), 10000);
    s.rope.dim = file.get_or<Index>(key("rope.dimension_count"), s.head_dim);
    const std::string scaling = file.get_or<std::string>(key("rope.scaling.type"), "none");
    require<ConfigError>(scaling == "none" || scaling == "linear", source, ": ", key("rope.scaling.type"), " '", scaling,
                         "' is unknown; known: none, linear");
    if (scaling == "linear") {
      s.rope.scaling = RopeScaling::linear;
      s.rope.factor = file.get<double>(key("rope.scaling.factor"));
    }
    if (file.contains("rope_freqs.weight")) {
      s.rope.divisor.resize(static_cast<std::size_t>(file.tensor("rope_freqs.weight").size));
      file.read_f32("rope_freqs.weight", s.rope.divisor);
    }
  }
  const auto token = [&](const char* name) { return file.get_or<TokenId>(std::string("tokenizer.ggml.") + name, -1); };
  s.bos = token("bos_token_id");
  s.pad = token("padding_token_id");
  if (const TokenId end = token("eos_token_id"); end >= 0) s.eos = {end};
  for (const char* name : {"eot_token_id", "eom_token_id"})
    if (const TokenId end = token(name); end >= 0 && std::find(s.eos.begin(), s.eos.end(), end) == s.eos.end())
      s.eos.push_back(end);
  check(s, source);
  return s;
}
}  // namespace vbon::model
