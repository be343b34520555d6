// vbon/text/tokenizer.hpp
//
// Text to tokens and back, for the tokenizers that models come with: a Hugging Face tokenizer.json or the
// one inside a GGUF file. Ids are those of the reference tools; what would change them silently is refused.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/added_tokens.hpp"
#include "vbon/text/batching.hpp"
#include "vbon/text/byte_bpe.hpp"
#include "vbon/text/decoder.hpp"
#include "vbon/text/gguf_tokenizer.hpp"
#include "vbon/text/normalizer.hpp"
#include "vbon/text/post_processor.hpp"
#include "vbon/text/pre_tokenizer.hpp"
#include "vbon/text/tokenizer_parts.hpp"
#include "vbon/text/vocabulary.hpp"
#include "vbon/text/wordpiece.hpp"

namespace vbon::text {
/// How encode_batch() shapes its result; take tokenizer.truncation() and padding() for what the file asks.
struct EncodeOptions {
  bool add_special = true;
  std::optional<Truncation> truncation = {};
  std::optional<Padding> padding = {};
};

/// A value: copies are cheap and share their tables. All members may be called from many threads.
class Tokenizer {
 public:
  /// Reads a tokenizer.json, or the one in a folder. For a file of exactly that name the companions beside it
  /// are read too: tokenizer_config.json, special_tokens_map.json, chat_template.jinja.
  /// @throws RunError when it cannot be read, FormatError naming the byte, field or token
  template <class = void>
  static Tokenizer from_json(const std::filesystem::path& path) {
    const auto file = std::filesystem::is_directory(path) ? path / "tokenizer.json" : path;
    const io::Json json = io::read_json(file);
    TokenizerParts parts = read_tokenizer_parts(json, file.string());
    if (file.filename() == "tokenizer.json") detail::read_companions(file.parent_path(), parts);
    return Tokenizer(std::move(parts));
  }
  /// @throws FormatError naming the key
  template <class = void>
  static Tokenizer from_gguf(const io::GgufFile& file) {
    return Tokenizer(read_tokenizer_parts(file));
  }

  template <class = void>
  explicit Tokenizer(TokenizerParts parts)
      : tables_(std::make_shared<const Tables>(parts)),
        special_(std::move(parts.special)),
        chat_template_(std::move(parts.chat_template)),
        config_(std::move(parts.config)) {}

  /// The tokens of a text, never cut or padded. Ill-formed UTF-8 counts as U+FFFD.
  template <class = void>
  std::vector<TokenId> encode(std::string_view text, bool add_special = true) const {
    return tables_->post_processor(sequence(text), nullptr, add_special).ids;
  }
  /// Two texts as one input.
  template <class = void>
  Encoding encode_pair(std::string_view a, std::string_view b, const EncodeOptions& options = {}) const {
    const std::vector<std::pair<std::string_view, std::string_view>> pairs = {{a, b}};
    return encode_all(pairs.size(), options, [&](std::size_t i) {
      return std::pair(sequence(pairs[i].first), std::optional(sequence(pairs[i].second)));
    })[0];
  }
  template <class = void>
  std::vector<Encoding> encode_batch(std::span<const std::string> texts, const EncodeOptions& options = {}) const {
    return encode_all(texts.size(), options,
                      [&](std::size_t i) { return std::pair(sequence(texts[i]), std::optional<std::vector<TokenId>>()); });
  }

  /// The text of tokens; bytes that are no UTF-8 become U+FFFD. Ids without a token are passed over.
  template <class = void>
  std::string decode(std::span<const TokenId> ids, bool skip_special = true) const {
    std::vector<std::string> tokens;
    for (const TokenId id : ids)
      if (const auto text = token(id); !text.empty() && !(skip_special && is_special(id))) tokens.emplace_back(text);
    return tables_->decoder(std::move(tokens));
  }

  /// One above the largest id.
  Index vocab_size() const { return tables_->id_end; }
  /// The token as it stands in the vocabulary; empty for an id without one.
  std::string_view token(TokenId id) const {
    const auto added = tables_->added_by_id.find(id);
    return added != tables_->added_by_id.end() ? std::string_view(added->second->content) : tables_->vocabulary->token(id);
  }
  std::optional<TokenId> token_id(std::string_view token) const {
    for (const AddedToken& added : tables_->added)
      if (added.content == token) return added.id;
    const TokenId id = tables_->vocabulary->find(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  bool is_special(TokenId id) const {
    const auto added = tables_->added_by_id.find(id);
    return added != tables_->added_by_id.end() && added->second->special;
  }
  const std::vector<AddedToken>& added_tokens() const { return tables_->added; }

  /// Roles that the file's companions give; none where they are silent.
  std::optional<TokenId> bos() const { return role(special_.bos); }
  std::optional<TokenId> eos() const { return role(special_.eos); }
  std::optional<TokenId> pad() const { return role(special_.pad); }
  std::optional<TokenId> unk() const { return role(special_.unk); }
  const SpecialTokens& special_tokens() const { return special_; }
  void set_special_tokens(SpecialTokens special) { special_ = std::move(special); }

  /// What the file asks for by itself.
  const std::optional<Truncation>& truncation() const { return tables_->truncation; }
  const std::optional<Padding>& padding() const { return tables_->padding; }
  /// The Jinja text; empty where the model has none.
  const std::string& chat_template() const { return chat_template_; }

  /// Pairs of tokens that merge, in order; none for WordPiece.
  std::span<const std::pair<TokenId, TokenId>> merges() const {
    const auto* bpe = std::get_if<Bpe>(&tables_->model);
    return bpe == nullptr ? std::span<const std::pair<TokenId, TokenId>>() : bpe->merges();
  }
  /// The file's settings in the layout of tokenizer.json, without the vocabulary and the merges.
  const io::Json& settings() const { return tables_->settings; }

  /// Writes tokenizer.json and tokenizer_config.json, which Hugging Face tools load with equal ids.
  /// @throws RunError naming the path
  template <class = void>
  void save(const std::filesystem::path& folder) const {
    io::make_folder(folder);
    io::write_file_atomically(folder / "tokenizer.json", to_json_text());
    io::Json config = config_;
    if (!config.contains("tokenizer_class")) config["tokenizer_class"] = "PreTrainedTokenizerFast";
    if (!config.contains("clean_up_tokenization_spaces")) config["clean_up_tokenization_spaces"] = false;
    const std::pair<const char*, const std::string*> roles[] = {{"bos_token", &special_.bos},
                                                                {"eos_token", &special_.eos},
                                                                {"pad_token", &special_.pad},
                                                                {"unk_token", &special_.unk}};
    for (const auto& [key, text] : roles)
      if (!text->empty()) config[key] = *text;
    if (!chat_template_.empty()) config["chat_template"] = chat_template_;
    io::write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
  }

 private:
  /// Everything that encoding reads, built once and never changed.
  struct Tables {
    template <class = void>
    explicit Tables(const TokenizerParts& parts)
        : where(parts.where),
          settings(parts.settings),
          vocabulary(std::make_shared<Vocabulary>(parts.vocab, parts.where)),
          normalizer(part("normalizer"), where),
          model(make_model(parts)),
          pre_tokenizer(part("pre_tokenizer"), std::holds_alternative<Bpe>(model), where),
          decoder(part("decoder"), where),
          truncation(detail::read_truncation(io::json_find(settings, "truncation"), where)),
          padding(detail::read_padding(io::json_find(settings, "padding"), where)) {
      read_added();
      post_processor = PostProcessor(part("post_processor"), id_end, where);
    }

    template <class = void>
    const io::Json& part(const char* key) const {
      static const io::Json none;
      const io::Json* found = io::json_find(settings, key);
      return found == nullptr ? none : *found;
    }
    template <class = void>
    std::variant<Bpe, WordPiece> make_model(const TokenizerParts& parts) const {
      const io::Json& options = settings["model"];
      const std::string here = where + ": model";
      const auto word = [&](std::string_view key) { return io::json_get_or<std::string>(options, key, "", here); };
      const auto flag = [&](std::string_view key) { return io::json_get_or<bool>(options, key, false, here); };
      if (options["type"] == "WordPiece")
        return WordPiece(vocabulary,
                         {word("unk_token"), io::json_get_or<std::string>(options, "continuing_subword_prefix", "##", here),
                          io::json_get_or<std::size_t>(options, "max_input_chars_per_word", 100, here)},
                         here);
      require<FormatError>(io::json_get_or<double>(options, "dropout", 0.0, here) == 0, here,
                           ": dropout is not supported, tokens must not be random");
      return Bpe(vocabulary, parts.merges,
                 {word("unk_token"), word("continuing_subword_prefix"), word("end_of_word_suffix"), flag("fuse_unk"),
                  flag("byte_fallback"), flag("ignore_merges")},
                 here);
    }
    template <class = void>
    void read_added() {
      id_end = vocabulary->id_end();
      const io::Json* list = io::json_find(settings, "added_tokens");
      require<FormatError>(list == nullptr || list->is_array(), where, ": the field \"added_tokens\" must be a list");
      for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
        const io::Json& entry = (*list)[i];
        const std::string here = where + ": added_tokens[" + std::to_string(i) + "]";
        const auto flag = [&](std::string_view key, bool otherwise) {
          return io::json_get_or<bool>(entry, key, otherwise, here);
        };
        AddedToken token{.id = io::json_get<TokenId>(entry, "id", here),
                         .content = io::json_get<std::string>(entry, "content", here)};
        token.single_word = flag("single_word", false), token.lstrip = flag("lstrip", false),
        token.rstrip = flag("rstrip", false);
        token.special = flag("special", false), token.normalized = flag("normalized", !token.special);
        const TokenId known = vocabulary->find(token.content);
        const auto limit =
            static_cast<std::int64_t>(vocabulary->id_end()) + static_cast<std::int64_t>(list->size()) + Vocabulary::max_gap;
        require<FormatError>(
            token.id >= 0 && token.id < limit && (known < 0 ? !vocabulary->has(token.id) : known == token.id), here, ": \"",
            token.content, "\" has the id ", token.id, ", which does not fit the vocabulary");
        id_end = std::max(id_end, token.id + 1);
        added.push_back(std::move(token));
      }
      for (const AddedToken& token : added) {  // only now, when the vector no longer moves
        require<FormatError>(added_by_id.emplace(token.id, &token).second, where, ": two added tokens have the id ",
                             token.id);
        token.normalized ? in_normalized.add(normalizer(token.content), &token) : in_raw.add(token.content, &token);
      }
    }

    std::string where;
    io::Json settings;
    std::shared_ptr<const Vocabulary> vocabulary;
    Normalizer normalizer;
    std::variant<Bpe, WordPiece> model;
    PreTokenizer pre_tokenizer;
    Decoder decoder;
    std::optional<Truncation> truncation;
    std::optional<Padding> padding;
    PostProcessor post_processor;
    std::vector<AddedToken> added;
    std::map<TokenId, const AddedToken*> added_by_id;
    AddedTokenFinder in_raw, in_normalized;
    TokenId id_end = 0;
  };

  /// The tokens of one text without the post-processor.
  template <class = void>
  std::vector<TokenId> sequence(std::string_view text) const {
    std::string repaired;
    if (!io::is_utf8(text)) text = repaired = io::replace_invalid_utf8(text);
    const Tables& t = *tables_;
    std::vector<TokenId> ids;
    Words words;
    std::optional<Bpe::Session> bpe;
    if (const auto* model = std::get_if<Bpe>(&t.model)) bpe.emplace(*model);
    t.in_raw.split(text, [&](std::size_t begin, std::size_t end, const AddedToken* token) {
      if (token != nullptr) return ids.push_back(token->id);
      const std::string part = t.normalizer(std::string(text.substr(begin, end - begin)));
      t.in_normalized.split(part, [&](std::size_t inner_begin, std::size_t inner_end, const AddedToken* inner) {
        if (inner != nullptr) return ids.push_back(inner->id);
        words.text.assign(part, inner_begin, inner_end - inner_begin);
        words.ranges.assign(1, {0, words.text.size()});
        words.at_start = begin == 0 && inner_begin == 0;
        t.pre_tokenizer(words);
        for (const auto& range : words.ranges) {
          const auto word = std::string_view(words.text).substr(range.begin, range.end - range.begin);
          if (word.empty()) continue;
          bpe ? bpe->encode(word, t.pre_tokenizer.gives_bytes(), ids) : std::get<WordPiece>(t.model).encode(word, ids);
        }
      });
    });
    return ids;
  }

  template <class Get>
  std::vector<Encoding> encode_all(std::size_t count, const EncodeOptions& options, const Get& get) const {
    std::vector<Encoding> out;
    for (std::size_t i = 0; i < count; ++i) {
      auto [a, b] = get(i);
      std::vector<TokenId>* second = b ? &*b : nullptr;
      if (options.truncation)
        truncate(a, second, options.add_special ? tables_->post_processor.added(second != nullptr) : 0, *options.truncation);
      out.push_back(tables_->post_processor(a, second, options.add_special));
    }
    if (options.padding) text::pad(out, *options.padding);
    return out;
  }
  std::optional<TokenId> role(const std::string& name) const { return name.empty() ? std::nullopt : token_id(name); }

  template <class = void>
  std::string to_json_text() const {
    const Tables& t = *tables_;
    const auto quoted = [](std::string_view text) { return io::Json(text).dump(); };
    std::string out = "{\n  \"version\": \"1.0\"";
    for (const char* key :
         {"truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
      const io::Json& value = t.part(key);
      out.append(",\n  \"").append(key).append("\": ").append(
          value.is_null() && std::string_view(key) == "added_tokens" ? "[]" : value.dump());
    }
    std::string fields = t.settings["model"].dump();
    fields.pop_back();  // the long lists go behind the settings
    out.append(",\n  \"model\": ").append(fields).append(",\n    \"vocab\": {");
    bool first = true;
    for (TokenId id = 0; id < t.vocabulary->id_end(); ++id) {
      if (!t.vocabulary->has(id)) continue;
      out.append(first ? "\n" : ",\n")
          .append("      ")
          .append(quoted(t.vocabulary->token(id)))
          .append(": ")
          .append(std::to_string(id));
      first = false;
    }
    out += "\n    }";
    if (const auto* bpe = std::get_if<Bpe>(&t.model)) {
      out += ",\n    \"merges\": [";
      first = true;
      for (const auto& [left, right] : bpe->merges()) {
        out.append(first ? "\n" : ",\n")
            .append("      [")
            .append(quoted(t.vocabulary->token(left)))
            .append(", ")
            .append(quoted(t.vocabulary->token(right)))
            .append("]");
        first = false;
      }
      out += "\n    ]";
    }
    return out + "\n  }\n}\n";
  }

  std::shared_ptr<const Tables> tables_;
  SpecialTokens special_;
  std::string chat_template_;
  io::Json config_;
};
}  // namespace vbon::text
