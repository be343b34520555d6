// vbon/text/tokenizer_parts.hpp
//
// What a tokenizer is made of before it is built, wherever it came from: small settings as JSON in the
// layout of tokenizer.json, and the two long lists apart.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/byte_bpe.hpp"
#include "vbon/text/vocabulary.hpp"

namespace vbon::text {
/// Roles of tokens, by name; empty where a model has none.
struct SpecialTokens {
  std::string bos, eos, pad, unk;
};

struct TokenizerParts {
  std::string where;                     // the file, for messages
  io::Json settings;                     // tokenizer.json without model.vocab and model.merges
  std::vector<Vocabulary::Entry> vocab;  // views of the source, which must live until the tokenizer is built
  std::vector<Bpe::MergePair> merges;    // likewise
  SpecialTokens special;
  std::string chat_template;             // empty where there is none
  io::Json config = io::Json::object();  // tokenizer_config.json
};

namespace detail {
template <class = void>
void read_vocab(const io::Json& model, TokenizerParts& parts) {
  const io::Json* vocab = io::json_find(model, "vocab");
  require<FormatError>(vocab != nullptr && vocab->is_object(), parts.where,
                       ": model: the field \"vocab\" must be an object");
  parts.vocab.reserve(vocab->size());
  for (auto entry = vocab->begin(); entry != vocab->end(); ++entry) {
    if (!entry->is_number_integer()) io::json_as<std::int64_t>(*entry, parts.where + ": vocab \"" + entry.key() + "\"");
    parts.vocab.emplace_back(entry.key(), entry->get<std::int64_t>());
  }
}
template <class = void>
void read_merges(const io::Json& model, TokenizerParts& parts) {
  const io::Json* merges = io::json_find(model, "merges");
  require<FormatError>(merges != nullptr && merges->is_array(), parts.where, ": model: the field \"merges\" must be a list");
  parts.merges.reserve(merges->size());
  for (const io::Json& merge : *merges) {
    const auto fail = [&] {
      throw FormatError(message(parts.where, ": merge ", parts.merges.size(), ": two tokens were expected, got ",
                                merge.dump(-1, ' ', true)));
    };
    if (merge.is_string()) {
      const std::string_view text = merge.get_ref<const std::string&>();
      const std::size_t space = text.find(' ');
      if (space == text.npos || text.find(' ', space + 1) != text.npos) fail();
      parts.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else {
      if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) fail();
      parts.merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    }
  }
}
/// A token that is given as text, or as an object with its text.
template <class = void>
std::string token_text(const io::Json& config, std::string_view key, const std::string& where) {
  const io::Json* token = io::json_find(config, key);
  if (token == nullptr) return {};
  if (token->is_object()) return io::json_get<std::string>(*token, "content", where);
  return io::json_as<std::string>(*token, where + ": field \"" + std::string(key) + "\"");
}
template <class = void>
void read_special(const io::Json& config, SpecialTokens& special, const std::string& where) {
  const auto set = [&](std::string& role, std::string_view key) {
    if (role.empty()) role = token_text(config, key, where);
  };
  set(special.bos, "bos_token");
  set(special.eos, "eos_token");
  set(special.pad, "pad_token");
  set(special.unk, "unk_token");
}
/// The template of tokenizer_config.json: text, or a list of named ones of which "default" is taken.
template <class = void>
std::string read_template(const io::Json& config, const std::string& where) {
  const io::Json* value = io::json_find(config, "chat_template");
  if (value == nullptr) return {};
  if (!value->is_array()) return io::json_as<std::string>(*value, where + ": field \"chat_template\"");
  for (const io::Json& named : *value)
    if (io::json_get<std::string>(named, "name", where) == "default")
      return io::json_get<std::string>(named, "template", where);
  return {};
}
/// Reads what stands beside a tokenizer.json.
template <class = void>
void read_companions(const std::filesystem::path& folder, TokenizerParts& parts) {
  namespace fs = std::filesystem;
  if (const auto path = folder / "tokenizer_config.json"; fs::exists(path)) {
    parts.config = io::read_json(path);
    require<FormatError>(parts.config.is_object(), path.string(), ": an object was expected");
    read_special(parts.config, parts.special, path.string());
    parts.chat_template = read_template(parts.config, path.string());
  }
  if (const auto path = folder / "special_tokens_map.json"; fs::exists(path))
    read_special(io::read_json(path), parts.special, path.string());
  if (const auto path = folder / "chat_template.jinja"; fs::exists(path)) parts.chat_template = io::MappedFile(path).text();
}
}  // namespace detail

/// Reads the parts of a parsed tokenizer.json, which must outlive them.
/// @throws FormatError naming the field
template <class = void>
TokenizerParts read_tokenizer_parts(const io::Json& file, std::string where) {
  TokenizerParts parts;
  parts.where = std::move(where);
  require<FormatError>(file.is_object(), parts.where, ": an object was expected");
  const io::Json* model = io::json_find(file, "model");
  require<FormatError>(model != nullptr && model->is_object(), parts.where, ": the field \"model\" must be an object");
  parts.settings = io::Json::object();
  for (auto part = file.begin(); part != file.end(); ++part)
    if (part.key() != "model") parts.settings[part.key()] = *part;
  io::Json& settings = parts.settings["model"] = io::Json::object();
  for (auto field = model->begin(); field != model->end(); ++field)
    if (field.key() != "vocab" && field.key() != "merges") settings[field.key()] = *field;
  // Old files leave the type out; then the fields tell.
  if (!settings.contains("type")) settings["type"] = model->contains("merges") ? "BPE" : "WordPiece";
  const auto type = io::json_get<std::string>(settings, "type", parts.where + ": model");
  require<FormatError>(type == "BPE" || type == "WordPiece", parts.where, ": model: the type \"", type,
                       "\" is not supported; known: BPE, WordPiece");
  detail::read_vocab(*model, parts);
  if (type == "BPE") detail::read_merges(*model, parts);
  return parts;
}
}  // namespace vbon::text
