// vbon/policy/save_gguf.hpp
//
// A policy as one GGUF file, model and tokenizer, which llama.cpp loads.
#pragma once
#include <algorithm>
#include <filesystem>

#include "vbon/model/save_gguf.hpp"
#include "vbon/policy/causal_lm_policy.hpp"
#include "vbon/text/write_gguf_tokenizer.hpp"

namespace vbon::policy {
/// @param type  of the matrices: f32, f16, bf16 or q8_0; vectors stay F32
/// @throws ConfigError for what GGUF files cannot say of this model or tokenizer, RunError when the disk is full
template <Device D>
void save_gguf(const CausalLmPolicy<D>& policy, const std::filesystem::path& path, BlockType type) {
  require<ConfigError>(policy.has_tokenizer(),
                       "save_gguf: a GGUF file holds its tokenizer, but this model's checkpoint came without "
                       "tokenizer.json; save the model as a folder instead");
  const text::Tokenizer& tokenizer = policy.tokenizer();
  io::GgufMetadata metadata;
  text::add_gguf_tokenizer(metadata, tokenizer, policy.shape().vocab);
  // A response may end with a token that is not the tokenizer's own end token.
  for (const TokenId end : policy.sampler.eos)
    if (tokenizer.eos() != end) {
      metadata.add(tokenizer.eos() ? "tokenizer.ggml.eot_token_id" : "tokenizer.ggml.eos_token_id",
                   static_cast<std::uint32_t>(end));
      break;  // there is one key only
    }
  model::save_gguf(policy.model(), path, type, std::move(metadata));
}
}  // namespace vbon::policy
