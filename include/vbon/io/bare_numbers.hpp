// vbon/io/bare_numbers.hpp
//
// Python and others write NaN, Infinity and -Infinity into JSON, which has no such numbers. This makes such
// a text JSON again, so that a reader can tell them from noise.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace vbon::io {
/// NaN becomes null, Infinity "inf", -Infinity "-inf", outside of strings.
template <class = void>
std::string quote_bare_numbers(std::string_view text) {
  struct Word {
    std::string_view bare, plain;
  };
  static constexpr Word words[] = {{"NaN", "null"}, {"-Infinity", "\"-inf\""}, {"Infinity", "\"inf\""}};
  std::string out;
  out.reserve(text.size());
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const Word* found = nullptr;
    if (inside && text[i] == '\\' && i + 1 < text.size()) {
      out += text[i++];
    } else if (text[i] == '"') {
      inside = !inside;
    } else if (!inside) {
      for (const Word& word : words)
        if (text.substr(i).starts_with(word.bare)) found = &word;
    }
    if (found == nullptr) {
      out += text[i];
    } else {
      out += found->plain;
      i += found->bare.size() - 1;
    }
  }
  return out;
}
}  // namespace vbon::io
