// vbon/text/write_gguf_tokenizer.hpp
//
// Puts a byte-level BPE tokenizer into the metadata of a GGUF file, under the name of its pre-tokenizer.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/write_gguf.hpp"
#include "vbon/text/gguf_tokenizer.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::text {
/// @param vocab_size  rows of the embedding; ids without a token get a placeholder that is never produced
/// @throws ConfigError when GGUF has no name for the tokenizer's division into words
inline void add_gguf_tokenizer(io::GgufMetadata& metadata, const Tokenizer& tokenizer, Index vocab_size) {
  const io::Json& settings = tokenizer.settings();
  const io::Json* part = io::json_find(settings, "pre_tokenizer");
  const bool ignore_merges = io::json_get_or<bool>(settings["model"], "ignore_merges", false, "model");
  const auto* pre =
      std::find_if(std::begin(detail::gguf_pre_tokenizers), std::end(detail::gguf_pre_tokenizers), [&](const auto& known) {
        return part != nullptr && detail::pre_tokenizer_part(known) == *part && known.ignore_merges == ignore_merges;
      });
  require<ConfigError>(
      pre != std::end(detail::gguf_pre_tokenizers) && settings["model"]["type"] == "BPE" &&
          io::json_find(settings, "normalizer") == nullptr,
      "add_gguf_tokenizer: GGUF has no name for this tokenizer's pre_tokenizer; save the model as a folder instead");
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  for (TokenId id = 0; id < std::max<Index>(vocab_size, tokenizer.vocab_size()); ++id) {
    const auto token = tokenizer.token(id);
    tokens.emplace_back(token.empty() ? "[PAD" + std::to_string(id) + "]" : std::string(token));
    types.push_back(token.empty() ? detail::gguf_unused : detail::gguf_normal);
  }
  for (const AddedToken& added : tokenizer.added_tokens())
    types[static_cast<std::size_t>(added.id)] = added.special ? detail::gguf_control : detail::gguf_user_defined;
  std::vector<std::string> merges;
  for (const auto& [left, right] : tokenizer.merges())
    merges.push_back(std::string(tokenizer.token(left)) + " " + std::string(tokenizer.token(right)));

  metadata.add("tokenizer.ggml.model", "gpt2");
  metadata.add("tokenizer.ggml.pre", pre->name);
  metadata.add("tokenizer.ggml.tokens", tokens);
  metadata.add("tokenizer.ggml.token_type", types);
  metadata.add("tokenizer.ggml.merges", merges);
  const auto role = [&](const char* key, std::optional<TokenId> id) {
    if (id) metadata.add(key, static_cast<std::uint32_t>(*id));
  };
  role("tokenizer.ggml.bos_token_id", tokenizer.bos());
  role("tokenizer.ggml.eos_token_id", tokenizer.eos());
  role("tokenizer.ggml.padding_token_id", tokenizer.pad());
  role("tokenizer.ggml.unknown_token_id", tokenizer.unk());
  const auto empty = tokenizer.encode("");  // only what the post-processor adds
  metadata.add("tokenizer.ggml.add_bos_token", !empty.empty() && tokenizer.bos() == empty.front());
  if (!tokenizer.chat_template().empty()) metadata.add("tokenizer.chat_template", tokenizer.chat_template());
}
}  // namespace vbon::text
