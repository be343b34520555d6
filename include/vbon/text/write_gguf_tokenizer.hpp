// vbon/text/write_gguf_tokenizer.hpp
//
// Puts a BPE tokenizer into the metadata of a GGUF file: a byte-level one under the name of its pre-tokenizer, a
// SentencePiece one with a score for each token in place of the merges.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/write_gguf.hpp"
#include "vbon/text/gguf_tokenizer.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::text {
namespace detail {
/// The name under which GGUF files know how a byte-level BPE tokenizer divides a text, or nothing.
template <class = void>
const GgufPreTokenizer* find_gguf_pre_tokenizer(const Tokenizer& tokenizer) {
  const io::Json& settings = tokenizer.settings();
  const io::Json* part = io::json_find(settings, "pre_tokenizer");
  if (part == nullptr || settings["model"]["type"] != "BPE" || io::json_find(settings, "normalizer") != nullptr)
    return nullptr;
  const bool ignore_merges = io::json_get_or<bool>(settings["model"], "ignore_merges", false, "model");
  const auto* found = std::find_if(std::begin(gguf_pre_tokenizers), std::end(gguf_pre_tokenizers), [&](const auto& known) {
    return pre_tokenizer_part(known) == *part && known.ignore_merges == ignore_merges;
  });
  return found == std::end(gguf_pre_tokenizers) ? nullptr : found;
}

/// Scores from which the merges of a SentencePiece BPE tokenizer follow; empty where none give just these merges.
template <class = void>
std::vector<float> sentencepiece_scores(const Tokenizer& tokenizer, Index size) {
  std::vector<Vocabulary::Entry> vocab;
  std::unordered_map<std::string_view, std::size_t> ids;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id)
    if (const auto token = tokenizer.token(id); !token.empty()) {
      vocab.emplace_back(token, id);
      ids.emplace(token, static_cast<std::size_t>(id));
    }
  std::vector<float> score(static_cast<std::size_t>(size), 0.0f);
  float next = 0;
  std::vector<Bpe::MergePair> merges;
  for (const auto& [left, right] : tokenizer.merges()) {
    merges.emplace_back(tokenizer.token(left), tokenizer.token(right));
    const auto made = ids.find(std::string(tokenizer.token(left)) + std::string(tokenizer.token(right)));
    if (made == ids.end()) return {};
    if (score[made->second] == 0) score[made->second] = next -= 1;
  }
  if (merges_of_scores(vocab, score) != merges) return {};
  return score;
}

inline bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with(">");
}
}  // namespace detail

/// @param vocab_size  rows of the embedding; ids without a token get a placeholder that is never produced
/// @param ends        tokens that end a response, which may be others than the tokenizer's own end token; empty: that one
/// @throws ConfigError when GGUF has no name for the tokenizer's division into words, no row for one of its tokens, or no
/// key
///         for an end
template <class Json = io::Json>
void add_gguf_tokenizer(io::GgufMetadata& metadata, const Tokenizer& tokenizer, Index vocab_size,
                        std::span<const TokenId> ends = {}) {
  const Json& settings = tokenizer.settings();
  const Index size = vocab_size;
  const auto last = static_cast<TokenId>(tokenizer.vocab_size() - 1);
  require<ConfigError>(
      tokenizer.vocab_size() <= size, "add_gguf_tokenizer: token ", last, " ('", tokenizer.token(last),
      "') has no row in the model, which has ", size,
      "; a GGUF file needs a row for each token: take the token out of tokenizer.json or save the model as a "
      "folder");
  const auto* pre = detail::find_gguf_pre_tokenizer(tokenizer);
  const Json* normalizer = io::json_find(settings, "normalizer");
  const bool space_prefix = normalizer != nullptr && *normalizer == detail::sentencepiece_normalizer<Json>(true);
  std::vector<float> scores;
  if (pre == nullptr &&
      (space_prefix || (normalizer != nullptr && *normalizer == detail::sentencepiece_normalizer<Json>(false))))
    scores = detail::sentencepiece_scores(tokenizer, size);
  require<ConfigError>(pre != nullptr || !scores.empty(), "add_gguf_tokenizer: GGUF has no name for this tokenizer's ",
                       normalizer != nullptr ? "normalizer and merges" : "pre_tokenizer",
                       "; save the model as a folder instead");
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  for (TokenId id = 0; id < size; ++id) {
    const auto token = tokenizer.token(id);
    tokens.emplace_back(token.empty() ? "[PAD" + std::to_string(id) + "]" : std::string(token));
    types.push_back(token.empty()                                                     ? detail::gguf_unused
                    : pre == nullptr && detail::is_byte_token(token)                  ? detail::gguf_byte
                    : pre == nullptr && std::optional<TokenId>(id) == tokenizer.unk() ? detail::gguf_unknown
                                                                                      : detail::gguf_normal);
  }
  for (const AddedToken& added : tokenizer.added_tokens()) {
    auto& type = types[static_cast<std::size_t>(added.id)];
    if (type != detail::gguf_unknown) type = added.special ? detail::gguf_control : detail::gguf_user_defined;
  }

  metadata.add("tokenizer.ggml.model", pre != nullptr ? "gpt2" : "llama");
  metadata.add("tokenizer.ggml.pre", pre != nullptr ? pre->name : "default");
  metadata.add("tokenizer.ggml.tokens", tokens);
  metadata.add("tokenizer.ggml.token_type", types);
  if (pre != nullptr) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : tokenizer.merges())
      merges.push_back(std::string(tokenizer.token(left)) + " " + std::string(tokenizer.token(right)));
    metadata.add("tokenizer.ggml.merges", merges);
  } else {
    metadata.add("tokenizer.ggml.scores", scores);
    metadata.add("tokenizer.ggml.add_space_prefix", space_prefix);
  }
  const auto role = [&](const char* key, std::optional<TokenId> id) {
    if (id) metadata.add(key, static_cast<std::uint32_t>(*id));
  };
  role("tokenizer.ggml.bos_token_id", tokenizer.bos());
  std::optional<TokenId> end = tokenizer.eos();
  const auto is_end = [&](TokenId id) { return std::find(ends.begin(), ends.end(), id) != ends.end(); };
  if (!ends.empty() && !(end && is_end(*end))) end = ends.front();
  role("tokenizer.ggml.eos_token_id", end);
  std::vector<const char*> keys = {"tokenizer.ggml.eom_token_id", "tokenizer.ggml.eot_token_id"};  // taken from behind
  for (const TokenId other : ends) {
    if (other == *end) continue;
    require<ConfigError>(!keys.empty(),
                         "add_gguf_tokenizer: a GGUF file has keys for three tokens that end a response, and ",
                         "this model has ", ends.size(), "; save the model as a folder instead");
    role(keys.back(), other);
    keys.pop_back();
  }
  role("tokenizer.ggml.padding_token_id", tokenizer.pad());
  role("tokenizer.ggml.unknown_token_id", tokenizer.unk());
  const auto empty = tokenizer.encode("");  // only what the post-processor adds
  metadata.add("tokenizer.ggml.add_bos_token", !empty.empty() && tokenizer.bos() == empty.front());
  if (!tokenizer.chat_template().empty()) metadata.add("tokenizer.chat_template", tokenizer.chat_template());
}
}  // namespace vbon::text
