// vbon/text/unicode.hpp
//
// Properties of characters and normal forms, by utf8proc, as the reference tokenizers see them. Texts are
// valid UTF-8 here: the tokenizer replaces ill-formed parts before anything else sees them.
#pragma once
#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/text/unicode_tables.hpp"

namespace vbon::text {
/// Calls visit(code_point, character) for every character, a view of its bytes.
template <class Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const io::Utf8Step step = io::decode_utf8(text, at);
    visit(step.code_point, text.substr(at, step.length));
    at += step.length;
  }
}
inline std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  return count;
}
inline bool is_ascii(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

inline utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
inline bool in_categories(char32_t c, utf8proc_category_t first, utf8proc_category_t last) {
  const auto kind = category(c);
  return kind >= first && kind <= last;
}
inline bool is_letter(char32_t c) { return in_categories(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO); }
inline bool is_mark(char32_t c) { return in_categories(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME); }
/// The marks that StripAccents removes.
inline bool is_strippable_mark(char32_t c) {
  return (is_mark(c) && !detail::in_ranges(detail::later_marks, c)) || c == 0x1CF2 || c == 0x1CF3;
}
/// The marks that the normalizer of BERT removes.
inline bool is_nonspacing_mark(char32_t c) {
  return (category(c) == UTF8PROC_CATEGORY_MN && !detail::in_ranges(detail::later_nonspacing_marks, c)) || c == 0x1734;
}
inline bool is_numeric(char32_t c) { return in_categories(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }
/// Control, format, surrogate and private-use characters.
inline bool is_other(char32_t c) {
  return in_categories(c, UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CO) && !detail::in_ranges(detail::later_others, c);
}
inline bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  return detail::in_ranges(detail::former_punctuation, c) ||
         (in_categories(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) && !detail::in_ranges(detail::later_punctuation, c));
}
/// The White_Space property.
inline bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
/// \w of Unicode regular expressions: alphabetic, marks, decimal digits, connectors, joiners.
inline bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  const auto kind = category(c);
  return is_letter(c) || is_mark(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}
/// The CJK ideographs that BERT separates from their neighbours.
inline bool is_cjk_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/// Lower case of every character by itself, without rules that look at neighbours.
template <class = void>
std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::string_view) {
    if (c == 0x130) {
      out += "i\xCC\x87";  // the one capital whose lower case is two characters
    } else {
      io::append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  });
  return out;
}

enum class NormalForm { nfc, nfd, nfkc, nfkd };

namespace detail {
template <class = void>
std::string normalize_known(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* result = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &result, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  require<RunError>(length >= 0, "text::normalize: ", utf8proc_errmsg(length));
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(length)};
}
}  // namespace detail

/// @throws RunError when memory runs out
template <class = void>
std::string normalize(std::string_view text, NormalForm form) {
  // Characters that the reference does not know stand as they are, and nothing is moved across them.
  std::string out;
  std::size_t done = 0, at = 0;
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (c >= 0x300 && detail::in_ranges(detail::opaque_to_normal_forms, c)) {
      out.append(detail::normalize_known(text.substr(done, at - done), form)).append(bytes);
      done = at + bytes.size();
    }
    at += bytes.size();
  });
  return out.append(detail::normalize_known(text.substr(done), form));
}
}  // namespace vbon::text
