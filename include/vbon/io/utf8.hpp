// vbon/io/utf8.hpp
//
// Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF (Unicode, table 3-7).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vbon::io {
struct Utf8Step {
  char32_t code_point = 0;  // U+FFFD where ill-formed
  std::size_t length = 0;   // bytes consumed: one code point, or one maximal ill-formed part
  bool valid = false;
};

/// Reads the code point at text[at], at < text.size().
inline Utf8Step decode_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  if (first < 0x80) return {first, 1, true};
  // Length of the sequence and the range of its second byte, which excludes overlong forms and surrogates.
  std::size_t length = 0;
  unsigned low = 0x80, high = 0xBF;
  char32_t code_point = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2, code_point = first & 0x1Fu;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3, code_point = first & 0x0Fu;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4, code_point = first & 0x07u;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {0xFFFD, 1, false};
  }
  for (std::size_t i = 1; i < length; ++i, low = 0x80, high = 0xBF) {
    if (at + i >= text.size() || byte(at + i) < low || byte(at + i) > high) return {0xFFFD, i, false};
    code_point = (code_point << 6) | (byte(at + i) & 0x3Fu);
  }
  return {code_point, length, true};
}

/// Position of the first ill-formed byte, or text.size() where there is none.
inline std::size_t first_invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = decode_utf8(text, at);
    if (!step.valid) return at;
    at += step.length;
  }
  return text.size();
}
inline bool is_utf8(std::string_view text) { return first_invalid_utf8(text) == text.size(); }

template <class = void>
void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6)), put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12)), put(0x80 | ((code_point >> 6) & 0x3F)), put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18)), put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F)), put(0x80 | (code_point & 0x3F));
  }
}

/// The beginning of a text for one line of an error message: no character is cut, what breaks a line or is
/// ill-formed is shown as a space or as U+FFFD, and "..." says that more follows.
template <class = void>
std::string excerpt(std::string_view text, std::size_t most = 60) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (at + step.length > most) return out + "...";
    const bool control = step.code_point < 0x20 || (step.code_point >= 0x7F && step.code_point < 0xA0);
    append_utf8(out, control ? U' ' : step.code_point);
    at += step.length;
  }
  return out;
}

/// The same text with every maximal ill-formed part replaced by U+FFFD.
template <class = void>
std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    if (step.valid)
      out.append(text.substr(at, step.length));
    else
      append_utf8(out, 0xFFFD);
    at += step.length;
  }
  return out;
}
}  // namespace vbon::io
