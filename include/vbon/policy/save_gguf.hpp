// vbon/policy/save_gguf.hpp
//
// A policy as one GGUF file, model and tokenizer, which llama.cpp loads.
#pragma once
#include <filesystem>

#include "vbon/model/save_gguf.hpp"
#include "vbon/policy/causal_lm_policy.hpp"
#include "vbon/text/write_gguf_tokenizer.hpp"

namespace vbon::policy {
/// @param type  of the matrices: f32, f16, bf16, q8_0 or q4_0; vectors stay F32
/// @throws ConfigError for what GGUF files cannot say of this model or tokenizer (more than three ends, say), RunError when
/// the disk is full
template <Device D>
void save_gguf(const CausalLmPolicy<D>& policy, const std::filesystem::path& path, BlockType type) {
  require<ConfigError>(policy.has_tokenizer(),
                       "save_gguf: a GGUF file holds its tokenizer, but this model's checkpoint came without "
                       "tokenizer.json; save the model as a folder instead");
  const text::Tokenizer& tokenizer = policy.tokenizer();
  io::GgufMetadata metadata;
  text::add_gguf_tokenizer(metadata, tokenizer, policy.shape().vocab, policy.sampler.eos);
  model::save_gguf(policy.model(), path, type, std::move(metadata));
}
}  // namespace vbon::policy
