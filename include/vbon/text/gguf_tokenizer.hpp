// vbon/text/gguf_tokenizer.hpp
//
// The tokenizer inside a GGUF file, put in the terms of tokenizer.json. The file names only its
// pre-tokenizer; the patterns behind the names stand here.
// Source: the vocabulary code of llama.cpp, for the meaning of the names and of the token types.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/text/tokenizer_parts.hpp"

namespace vbon::text {
namespace detail {
inline constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt4o_pattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct GgufPreTokenizer {
  std::string_view name;
  std::string_view pattern;  // empty: GPT-2's own
  bool digits = false;       // each digit by itself first
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};
inline constexpr GgufPreTokenizer gguf_pre_tokenizers[] = {{"gpt-2", {}},
                                                           {"gpt2", {}},
                                                           {"mpt", {}},
                                                           {"olmo", {}},
                                                           {"phi-2", {}},
                                                           {"jais", {}},
                                                           {"trillion", {}},
                                                           {"roberta-bpe", {}},
                                                           {"gigachat", {}},
                                                           {"smollm", {}, true},
                                                           {"starcoder", {}, true},
                                                           {"refact", {}, true},
                                                           {"command-r", {}, true},
                                                           {"codeshell", {}, true},
                                                           {"exaone", {}, true},
                                                           {"minerva-7b", {}, true},
                                                           {"llama-bpe", llama3_pattern, false, true, true},
                                                           {"llama3", llama3_pattern, false, true, true},
                                                           {"llama-v3", llama3_pattern, false, true, true},
                                                           {"falcon3", llama3_pattern, false, true, true},
                                                           {"pixtral", llama3_pattern, false, true, true},
                                                           {"dbrx", llama3_pattern},
                                                           {"smaug-bpe", llama3_pattern},
                                                           {"qwen2", qwen2_pattern},
                                                           {"stablelm2", qwen2_pattern},
                                                           {"deepseek-r1-qwen", qwen2_pattern},
                                                           {"hunyuan", qwen2_pattern},
                                                           {"megrez", qwen2_pattern},
                                                           {"gpt-4o", gpt4o_pattern},
                                                           {"llama4", gpt4o_pattern, false, true, true}};

/// The kinds of `tokenizer.ggml.token_type`.
enum GgufTokenType {
  gguf_normal = 1,
  gguf_unknown = 2,
  gguf_control = 3,
  gguf_user_defined = 4,
  gguf_unused = 5,
  gguf_byte = 6
};

template <class Json = io::Json>
Json byte_level_part(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}
template <class Json = io::Json>
Json pre_tokenizer_part(const GgufPreTokenizer& pre) {
  Json first;
  if (!pre.pattern.empty())
    first = {{"type", "Split"}, {"pattern", {{"Regex", pre.pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  else if (pre.digits)
    first = {{"type", "Digits"}, {"individual_digits", true}};
  else
    return byte_level_part<Json>(true);
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({first, byte_level_part<Json>(pre.pattern.empty())})}};
}

template <class Json = io::Json>
void read_gguf_bpe(const io::GgufFile& file, TokenizerParts& parts, bool& add_bos) {
  const auto name = file.has("tokenizer.ggml.pre") ? file.get<std::string>("tokenizer.ggml.pre") : std::string();
  const auto* pre = std::find_if(std::begin(gguf_pre_tokenizers), std::end(gguf_pre_tokenizers),
                                 [&](const auto& p) { return p.name == name; });
  if (pre == std::end(gguf_pre_tokenizers)) {
    std::string known;
    for (const auto& p : gguf_pre_tokenizers) known.append(known.empty() ? "" : ", ").append(p.name);
    throw FormatError(message(parts.where, ": key \"tokenizer.ggml.pre\": ",
                              name.empty()
                                  ? "missing, so that nothing says how text is divided; write the name into the file"
                                  : "the pre-tokenizer \"" + name + "\" is not known",
                              "; known: ", known));
  }
  add_bos = pre->add_bos;
  parts.settings["pre_tokenizer"] = pre_tokenizer_part<Json>(*pre);
  parts.settings["decoder"] = byte_level_part<Json>(true);
  parts.settings["model"]["ignore_merges"] = pre->ignore_merges;
  for (const std::string_view merge : file.strings("tokenizer.ggml.merges")) {
    // The first character may itself be a space in files of other tools, so the dividing one is looked for behind it.
    const std::size_t space = merge.find(' ', 1);
    require<FormatError>(space != merge.npos && io::is_utf8(merge), parts.where, ": key \"tokenizer.ggml.merges\": entry ",
                         parts.merges.size(), " is not two tokens with a space between");
    parts.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

/// SentencePiece BPE stores scores instead of merges: every way to make a token of two tokens is a merge,
/// the better scored token first.
/// @param score  of a token by its id
template <class = void>
std::vector<Bpe::MergePair> merges_of_scores(const std::vector<Vocabulary::Entry>& vocab, const std::vector<float>& score) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (const auto& [token, id] : vocab) ids.emplace(token, static_cast<std::size_t>(id));
  std::vector<std::tuple<float, std::size_t, std::size_t, Bpe::MergePair>> found;
  for (const auto& [token, id] : vocab) {
    if (token.size() > 1024) continue;  // a real token is short; all divisions of a huge one would take for ever
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left != ids.end() && right != ids.end())
        found.emplace_back(-score[static_cast<std::size_t>(id)], left->second, right->second,
                           Bpe::MergePair{left->first, right->first});
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a), std::get<2>(a)) <
           std::tie(std::get<0>(b), std::get<1>(b), std::get<2>(b));
  });
  std::vector<Bpe::MergePair> merges;
  for (const auto& merge : found) merges.push_back(std::get<3>(merge));
  return merges;
}

/// What stands for a space in SentencePiece tokens.
inline constexpr std::string_view sentencepiece_space = "\xE2\x96\x81";
/// The normalizer of SentencePiece BPE: spaces become their mark, and a text begins with one.
template <class Json = io::Json>
Json sentencepiece_normalizer(bool space_prefix) {
  Json steps = Json::array();
  if (space_prefix) steps.push_back({{"type", "Prepend"}, {"prepend", sentencepiece_space}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", sentencepiece_space}});
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

template <class Json = io::Json>
void read_gguf_sentencepiece(const io::GgufFile& file, TokenizerParts& parts, bool& add_bos) {
  add_bos = true;
  const auto scores = file.numbers<float>("tokenizer.ggml.scores");
  require<FormatError>(scores.size() == parts.vocab.size(), parts.where, ": key \"tokenizer.ggml.scores\": ", scores.size(),
                       " scores for ", parts.vocab.size(), " tokens");
  parts.merges = merges_of_scores(parts.vocab, scores);
  const bool prefix = file.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
  Json undo = Json::array({{{"type", "Replace"}, {"pattern", {{"String", sentencepiece_space}}}, {"content", " "}},
                           {{"type", "ByteFallback"}},
                           {{"type", "Fuse"}}});
  if (prefix) undo.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  parts.settings["normalizer"] = sentencepiece_normalizer<Json>(prefix);
  parts.settings["decoder"] = {{"type", "Sequence"}, {"decoders", undo}};
  Json& model = parts.settings["model"];
  model["byte_fallback"] = true;
  model["fuse_unk"] = true;
}
}  // namespace detail

/// Reads the parts of the tokenizer in a GGUF file, which must outlive them.
/// @throws FormatError naming the key: a tokenizer or pre-tokenizer that is not known, lists that do not fit
template <class Json = io::Json>
TokenizerParts read_tokenizer_parts(const io::GgufFile& file) {
  TokenizerParts parts;
  parts.where = file.path();
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  const auto types = file.has("tokenizer.ggml.token_type") ? file.numbers<std::int32_t>("tokenizer.ggml.token_type")
                                                           : std::vector<std::int32_t>(tokens.size(), detail::gguf_normal);
  require<FormatError>(types.size() == tokens.size(), parts.where, ": key \"tokenizer.ggml.token_type\": ", types.size(),
                       " types for ", tokens.size(), " tokens");
  Json added = Json::array();
  parts.vocab.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    require<FormatError>(io::is_utf8(tokens[id]), parts.where, ": key \"tokenizer.ggml.tokens\": entry ", id,
                         " is not UTF-8");
    parts.vocab.emplace_back(tokens[id], static_cast<std::int64_t>(id));
    if (types[id] == detail::gguf_control || types[id] == detail::gguf_user_defined)
      added.push_back({{"id", id},
                       {"content", tokens[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", types[id] == detail::gguf_control}});
  }
  const auto role = [&](const char* key, std::string& text, bool needed = true) {
    const auto id = file.find<std::uint32_t>(key);
    if (!id) return;
    require<FormatError>(*id < tokens.size() || !needed, parts.where, ": key \"", key, "\": there is no token ", *id);
    if (*id < tokens.size()) text = tokens[*id];
  };
  role("tokenizer.ggml.bos_token_id", parts.special.bos);
  role("tokenizer.ggml.eos_token_id", parts.special.eos);
  role("tokenizer.ggml.padding_token_id", parts.special.pad, false);
  role("tokenizer.ggml.unknown_token_id", parts.special.unk, false);
  parts.chat_template = file.get_or<std::string>("tokenizer.chat_template", "");

  parts.settings = {{"version", "1.0"}, {"added_tokens", added}, {"model", {{"type", "BPE"}}}};
  const auto model = file.get<std::string>("tokenizer.ggml.model");
  require<FormatError>(model == "gpt2" || model == "llama", parts.where, ": key \"tokenizer.ggml.model\": the tokenizer \"",
                       model, "\" is not supported; known: gpt2, llama");
  bool add_bos = false;
  model == "gpt2" ? detail::read_gguf_bpe<Json>(file, parts, add_bos)
                  : detail::read_gguf_sentencepiece<Json>(file, parts, add_bos);
  if (model == "llama" && !parts.special.unk.empty()) parts.settings["model"]["unk_token"] = parts.special.unk;

  // Tokens at the ends of every text, as the file wants them.
  Json single = Json::array(), pair = Json::array(), known = Json::object();
  const auto put = [&](const std::string& token, int type) {
    const auto id = std::find(tokens.begin(), tokens.end(), token) - tokens.begin();
    known[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    const Json piece = {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
    if (type == 0) single.push_back(piece);
    pair.push_back(piece);
  };
  const bool bos = file.get_or<bool>("tokenizer.ggml.add_bos_token", add_bos) && !parts.special.bos.empty();
  const bool eos = file.get_or<bool>("tokenizer.ggml.add_eos_token", false) && !parts.special.eos.empty();
  for (const int type : {0, 1}) {
    if (bos) put(parts.special.bos, type);
    const Json sequence = {{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}};
    if (type == 0) single.push_back(sequence);
    pair.push_back(sequence);
    if (eos) put(parts.special.eos, type);
  }
  if (bos || eos)
    parts.settings["post_processor"] = {
        {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", known}};
  return parts;
}
}  // namespace vbon::text
