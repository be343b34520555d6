// vbon/text/decoder.hpp
//
// Tokens back to text. Built from the "decoder" part of a tokenizer.json; without one the tokens are joined
// by spaces.
// Source: the components of Hugging Face tokenizers.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/byte_bpe.hpp"
#include "vbon/text/normalizer.hpp"

namespace vbon::text {
namespace detail {
template <class = void>
void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}
/// Takes away the spaces that splitting English put in.
template <class = void>
void clean_up(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> rules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : rules) replace_all(text, from, to);
}
}  // namespace detail

class Decoder {
 public:
  Decoder() = default;
  /// @param part  the "decoder" of a tokenizer.json; null for none
  /// @throws FormatError for a kind that is not known
  template <class = void>
  Decoder(const io::Json& part, std::string_view where) {
    if (!part.is_null()) add(part, std::string(where) + ": decoder");
  }

  template <class = void>
  std::string operator()(std::vector<std::string> tokens) const {
    for (const auto& step : steps_) tokens = step(std::move(tokens));
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i) text += (i > 0 && steps_.empty() ? " " : "") + tokens[i];
    return text;
  }

 private:
  using Tokens = std::vector<std::string>;
  using Step = std::function<Tokens(Tokens)>;

  /// A step that changes each token by itself: edit(token, index, count).
  template <class Edit>
  void add_each(Edit edit) {
    steps_.emplace_back([edit = std::move(edit)](Tokens tokens) {
      for (std::size_t i = 0; i < tokens.size(); ++i) edit(tokens[i], i, tokens.size());
      return tokens;
    });
  }

  template <class = void>
  void add(const io::Json& part, const std::string& where) {
    const std::string type = detail::component_type(part, where);
    const auto word = [&](std::string_view key, std::string_view otherwise) {
      return io::json_get_or<std::string>(part, key, std::string(otherwise), where);
    };
    if (type == "Sequence") {
      for (const io::Json& inner : detail::component_list(part, "decoders", where)) add(inner, where);
    } else if (type == "ByteLevel") {
      steps_.emplace_back([](const Tokens& tokens) {
        std::string bytes;
        for (const auto& token : tokens) byte_alphabet().unspell(token, bytes);
        return Tokens{io::replace_invalid_utf8(bytes)};
      });
    } else if (type == "WordPiece") {
      add_each([prefix = word("prefix", "##"), clean = io::json_get_or<bool>(part, "cleanup", true, where)](
                   std::string& token, std::size_t i, std::size_t) {
        if (i > 0 && token.starts_with(prefix))
          token.erase(0, prefix.size());
        else if (i > 0)
          token.insert(0, " ");
        if (clean) detail::clean_up(token);
      });
    } else if (type == "BPEDecoder") {
      add_each([suffix = word("suffix", "</w>")](std::string& token, std::size_t i, std::size_t count) {
        detail::replace_all(token, suffix, i + 1 == count ? "" : " ");
      });
    } else if (type == "Metaspace") {
      const auto scheme =
          word("prepend_scheme", io::json_get_or<bool>(part, "add_prefix_space", true, where) ? "always" : "never");
      add_each([mark = word("replacement", "\xE2\x96\x81"), scheme](std::string& token, std::size_t i, std::size_t) {
        if (i == 0 && scheme != "never" && token.starts_with(mark)) token.erase(0, mark.size());
        detail::replace_all(token, mark, " ");
      });
    } else if (type == "Replace") {
      add_each([pattern = detail::pattern_of(part, where), by = word("content", "")](
                   std::string& token, std::size_t, std::size_t) { token = detail::replace_matches(token, pattern, by); });
    } else if (type == "Fuse") {
      steps_.emplace_back([](const Tokens& tokens) {
        std::string all;
        for (const auto& token : tokens) all += token;
        return Tokens{all};
      });
    } else if (type == "Strip") {
      const auto start = io::json_get_or<std::size_t>(part, "start", 0, where),
                 stop = io::json_get_or<std::size_t>(part, "stop", 0, where);
      add_each([content = word("content", " "), start, stop](std::string& token, std::size_t, std::size_t) {
        for (std::size_t n = 0; n < start && token.starts_with(content); ++n) token.erase(0, content.size());
        for (std::size_t n = 0; n < stop && token.ends_with(content); ++n) token.resize(token.size() - content.size());
      });
    } else if (type == "ByteFallback") {
      steps_.emplace_back(join_bytes<>);
    } else {
      throw FormatError(message(where, ": the kind \"", type,
                                "\" is not supported; known: ByteLevel, WordPiece, BPEDecoder, Metaspace, Replace, Fuse, "
                                "Strip, ByteFallback, Sequence"));
    }
  }

  /// Runs of <0xNN> tokens become the characters that their bytes spell, or one U+FFFD for each byte.
  template <class = void>
  static Tokens join_bytes(const Tokens& tokens) {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (io::is_utf8(bytes))
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      bytes.clear();
    };
    for (const auto& token : tokens) {
      const auto digit = [&](std::size_t i) { return std::string_view("0123456789ABCDEF").find(token[i]); };
      if (token.size() == 6 && token.starts_with("<0x") && token[5] == '>' && digit(3) < 16 && digit(4) < 16) {
        bytes += static_cast<char>(digit(3) * 16 + digit(4));
      } else {
        flush();
        out.push_back(token);
      }
    }
    flush();
    return out;
  }

  std::vector<Step> steps_;
};
}  // namespace vbon::text
