// vbon/text/normalizer.hpp
//
// The first step of a tokenizer: text to text. Built from the "normalizer" part of a tokenizer.json; a kind
// that is not known is refused, because passing over it would change the tokens.
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
#include "vbon/text/regex.hpp"
#include "vbon/text/unicode.hpp"

namespace vbon::text {
namespace detail {
/// The "type" of a component.
template <class = void>
std::string component_type(const io::Json& part, std::string_view where) {
  return io::json_get<std::string>(part, "type", where);
}
/// The list of components inside a Sequence.
template <class = void>
const io::Json& component_list(const io::Json& part, std::string_view key, std::string_view where) {
  const io::Json* list = io::json_find(part, key);
  require<FormatError>(list != nullptr && list->is_array(), where, ": the field \"", key, "\" must be a list");
  return *list;
}
/// {"String": text} or {"Regex": pattern}.
template <class = void>
Regex pattern_of(const io::Json& part, std::string_view where) {
  const io::Json* pattern = io::json_find(part, "pattern");
  if (pattern != nullptr && pattern->is_string()) return Regex(escape_pattern(pattern->get<std::string>()), where);
  require<FormatError>(pattern != nullptr && pattern->is_object(), where, ": the field \"pattern\" is missing");
  if (io::json_find(*pattern, "String") != nullptr)
    return Regex(escape_pattern(io::json_get<std::string>(*pattern, "String", where)), where);
  return Regex(io::json_get<std::string>(*pattern, "Regex", where), where);
}
template <class = void>
std::string replace_matches(std::string_view text, const Regex& pattern, std::string_view by) {
  std::string out;
  std::size_t copied = 0;
  pattern.for_each_match(text, [&](std::size_t begin, std::size_t end) {
    out.append(text.substr(copied, begin - copied)).append(by);
    copied = end;
  });
  return out.append(text.substr(copied));
}
template <class Keep>
std::string keep_characters(std::string_view text, const Keep& keep) {
  std::string out;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (keep(c)) out += bytes;
  });
  return out;
}
template <class = void>
std::string strip_spaces(std::string_view text, bool left, bool right) {
  std::size_t begin = text.size(), end = 0;
  std::size_t at = 0;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (!is_space(c)) begin = std::min(begin, at), end = at + bytes.size();
    at += bytes.size();
  });
  begin = left ? begin : 0;
  end = right ? std::max(begin, end) : text.size();
  return std::string(text.substr(begin, end - begin));
}
}  // namespace detail

class Normalizer {
 public:
  Normalizer() = default;
  /// @param part  the "normalizer" of a tokenizer.json; null for none
  /// @throws FormatError for a kind that is not known
  template <class = void>
  Normalizer(const io::Json& part, std::string_view where) {
    if (!part.is_null()) add(part, std::string(where) + ": normalizer");
  }
  bool empty() const { return steps_.empty(); }
  template <class = void>
  std::string operator()(std::string text) const {
    for (const auto& step : steps_) text = step(std::move(text));
    return text;
  }

 private:
  using Step = std::function<std::string(std::string)>;

  template <class = void>
  void add(const io::Json& part, const std::string& where) {
    const std::string type = detail::component_type(part, where);
    const auto flag = [&](std::string_view key, bool otherwise) {
      return io::json_get_or<bool>(part, key, otherwise, where);
    };
    const auto form = [&](NormalForm f) {
      steps_.emplace_back([f](const std::string& text) { return normalize(text, f); });
    };
    if (type == "Sequence") {
      for (const io::Json& inner : detail::component_list(part, "normalizers", where)) add(inner, where);
    } else if (type == "NFC") {
      form(NormalForm::nfc);
    } else if (type == "NFD") {
      form(NormalForm::nfd);
    } else if (type == "NFKC") {
      form(NormalForm::nfkc);
    } else if (type == "NFKD") {
      form(NormalForm::nfkd);
    } else if (type == "Lowercase") {
      steps_.emplace_back([](const std::string& text) { return to_lower(text); });
    } else if (type == "StripAccents") {
      steps_.emplace_back([](const std::string& text) {
        return detail::keep_characters(text, [](char32_t c) { return !is_strippable_mark(c); });
      });
    } else if (type == "Strip") {
      steps_.emplace_back([left = flag("strip_left", true), right = flag("strip_right", true)](const std::string& text) {
        return detail::strip_spaces(text, left, right);
      });
    } else if (type == "Replace") {
      steps_.emplace_back([pattern = detail::pattern_of(part, where),
                           by = io::json_get<std::string>(part, "content", where)](const std::string& text) {
        return detail::replace_matches(text, pattern, by);
      });
    } else if (type == "Prepend") {
      steps_.emplace_back([front = io::json_get<std::string>(part, "prepend", where)](const std::string& text) {
        return text.empty() ? text : front + text;
      });
    } else if (type == "ByteLevel") {
      steps_.emplace_back([](const std::string& text) { return byte_alphabet().spell(text); });
    } else if (type == "BertNormalizer") {
      add_bert(flag("clean_text", true), flag("handle_chinese_chars", true), flag("strip_accents", flag("lowercase", true)),
               flag("lowercase", true));
    } else {
      throw FormatError(message(
          where, ": the kind \"", type,
          "\" is not supported; known: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, ByteLevel, "
          "BertNormalizer, Sequence"));
    }
  }

  template <class = void>
  void add_bert(bool clean, bool chinese, bool strip, bool lower) {
    steps_.emplace_back([=](const std::string& text) {
      std::string out;
      out.reserve(text.size());
      for_each_character(text, [&](char32_t c, std::string_view bytes) {
        const bool space = is_space(c);
        if (clean && (c == 0 || c == 0xFFFD || (is_other(c) && c != '\t' && c != '\n' && c != '\r'))) return;
        const bool apart = chinese && is_cjk_ideograph(c);
        if (apart) out += ' ';
        if (clean && space)
          out += ' ';
        else
          out += bytes;
        if (apart) out += ' ';
      });
      if (strip)
        out = detail::keep_characters(normalize(out, NormalForm::nfd), [](char32_t c) { return !is_nonspacing_mark(c); });
      return lower ? to_lower(out) : out;
    });
  }

  std::vector<Step> steps_;
};
}  // namespace vbon::text
