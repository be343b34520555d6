// Small random causal language models of every kind, for tests that need no file.
#pragma once
#include <string>
#include <vector>

#include "vbon/core/random.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/policy/causal_lm_policy.hpp"

namespace vbon::test {
/// Kinds of models: families, and members that use an option of theirs.
inline const std::vector<std::string>& tiny_kinds() {
  static const std::vector<std::string> kinds = {"llama", "llama_biased", "llama_long",      "qwen2",      "qwen3",
                                                 "gpt2",  "neox",         "neox_sequential", "llama_gelu", "gemma"};
  return kinds;
}

inline model::Shape tiny_shape(const std::string& kind) {
  model::Shape s;
  s.vocab = 37;
  s.width = 24;
  s.layers = 2;
  s.heads = 4;
  s.kv_heads = 2;
  s.head_dim = 6;
  s.inner = 40;
  s.context = 64;
  s.eos = {1};
  s.bos = 0;
  std::string family = "llama";
  if (kind == "llama_biased") s.qkv_bias = s.attention_out_bias = s.mlp_bias = s.tied = true;
  if (kind == "llama_gelu") s.activation = model::Activation::gelu_tanh;
  if (kind == "qwen2") {
    family = kind;
    s.qkv_bias = s.tied = true;
  }
  if (kind == "qwen3") {
    family = kind;
    s.qk_norm = true;
    s.head_dim = 8;
  }
  if (kind == "gpt2") {
    family = kind;
    s.kv_heads = s.heads;
    s.qkv_bias = s.attention_out_bias = s.mlp_bias = s.tied = s.scale_by_layer = true;
    s.activation = model::Activation::gelu_tanh;
  }
  if (kind == "gemma") {
    family = kind;
    s.tied = true;
    s.head_dim = 10;
    s.activation = model::Activation::gelu_tanh;
  }
  if (kind.starts_with("neox")) {
    family = "gpt_neox";
    s.kv_heads = s.heads;
    s.qkv_bias = s.attention_out_bias = s.mlp_bias = true;
    s.activation = model::Activation::gelu_exact;
    s.residual = kind == "neox" ? model::Residual::parallel : model::Residual::sequential;
  }
  model::apply_family(model::find_family(family), s);
  if (s.position == model::Position::rotary) s.rope.dim = family == "gpt_neox" ? 2 : s.head_dim;
  if (kind == "llama_long") {
    s.rope.scaling = model::RopeScaling::llama3;
    s.rope.factor = 8;
    s.rope.original_context = 16;
  }
  return s;
}

/// Weights of about unit gain, norms near one: a law that is neither flat nor a point.
inline model::CausalLm tiny_model(model::Shape shape, std::uint64_t seed = 1) {
  model::CausalLm model(std::move(shape));
  const RngKey key{seed, 7};
  auto& parameters = model.parameters();
  for (std::size_t i = 0; i < parameters.list().size(); ++i) {
    const auto& p = parameters.list()[i];
    const bool norm = p.name.find("norm") != p.name.npos || p.name.find("ln_") != p.name.npos;
    const bool vector = p.shape.size() == 1;
    const double scale = vector ? 0.1 : 1.5 / std::sqrt(static_cast<double>(p.cols));
    for (Index k = 0; k < p.size(); ++k)
      parameters.values()[p.offset + k] = static_cast<float>((norm && !p.name.ends_with("bias") ? 1.0 : 0.0) +
                                                             scale * key.fold(i).normal(static_cast<std::uint64_t>(k)));
  }
  model.parameters_changed();
  return model;
}
inline model::CausalLm tiny_model(const std::string& kind, std::uint64_t seed = 1) {
  return tiny_model(tiny_shape(kind), seed);
}
inline policy::CausalLmPolicy<> tiny_policy(const std::string& kind = "llama", std::uint64_t seed = 1) {
  return {tiny_model(kind, seed), nullptr};
}

/// The log-probabilities that the forest reads.
inline std::vector<double> log_probs(model::CausalLm& model, const model::Forest& forest) {
  std::vector<double> out(static_cast<std::size_t>(forest.reads()));
  model.log_prob(forest, {}, out);
  return out;
}

/// Random tokens.
inline std::vector<TokenId> random_tokens(Index count, Index vocabulary, std::uint64_t seed) {
  std::vector<TokenId> tokens;
  for (Index i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>(RngKey{seed, 3}.below(static_cast<std::uint64_t>(i), vocabulary)));
  return tokens;
}
/// `count` prompts of different lengths, ids 10, 11, ...
inline std::vector<Prompt> tiny_prompts(Index count, Index vocabulary = 37) {
  std::vector<Prompt> prompts;
  for (Index i = 0; i < count; ++i)
    prompts.push_back({.id = static_cast<std::uint64_t>(10 + i),
                       .text = {},
                       .tokens = random_tokens(2 + 3 * i % 7, vocabulary, 100 + static_cast<std::uint64_t>(i))});
  return prompts;
}
}  // namespace vbon::test
