// vbon/text/regex.hpp
//
// Regular expressions over Unicode, by PCRE2. Tokenizer files write patterns for the Oniguruma engine; the
// few spots where the same letters mean something else are translated, and what cannot be is refused.
#pragma once
#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"

namespace vbon::text {
namespace detail {
/// White_Space as class members: PCRE2's own \s takes U+180E too. And its complement.
inline constexpr std::string_view space_members =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
inline constexpr std::string_view not_space_members =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
inline constexpr std::string_view word_members = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";

/// Oniguruma's pattern in PCRE2's words.
/// @throws FormatError for a class intersection or a negated class inside a class
template <class = void>
std::string translate_pattern(std::string_view pattern) {
  std::string out;
  int depth = 0;  // of character classes
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char letter = pattern[++i];
      const auto members = [&](std::string_view text, bool negated = false) {
        if (depth > 0 && !negated) return void(out += text);
        out.append(negated ? "[^" : "[").append(text).append("]");
      };
      if (letter == 's')
        members(space_members);
      else if (letter == 'S')
        members(depth > 0 ? not_space_members : space_members, depth == 0);
      else if (letter == 'w')
        members(word_members);
      else if (letter == 'W' && depth == 0)
        members(word_members, true);
      else if (letter == 'h')
        members("0-9A-Fa-f");
      else
        out.append({c, letter});
    } else if (depth == 0) {
      depth = c == '[';
      out += c;
      // A bracket right behind the opening one is a member, not the end.
      if (depth > 0 && i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (depth > 0 && i + 1 < pattern.size() && pattern[i + 1] == ']') out += "\\]", ++i;
    } else if (c == '[') {
      const std::string_view rest = pattern.substr(i);
      if (const auto end = rest.find(":]"); rest.starts_with("[:") && end != rest.npos) {
        out += rest.substr(0, end + 2);
        i += end + 1;
        continue;
      }
      require<FormatError>(!rest.starts_with("[^"), "a negated class inside a class is not supported: ", pattern);
      ++depth;  // a nested class only adds members
    } else if (c == ']') {
      if (--depth == 0) out += c;
    } else {
      require<FormatError>(!pattern.substr(i).starts_with("&&"), "a class intersection is not supported: ", pattern);
      out += c;
    }
  }
  return out;
}
}  // namespace detail

class Regex {
 public:
  Regex() = default;
  /// @param where  names the pattern in messages
  /// @throws FormatError when the pattern does not compile
  template <class = void>
  Regex(std::string_view pattern, std::string_view where)
      : name_(std::make_shared<const std::string>(message(where, ": the regular expression ", pattern))) {
    std::string translated;
    try {
      translated = detail::translate_pattern(pattern);
    } catch (const FormatError& error) {
      throw FormatError(message(where, ": ", error.what()));
    }
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP,
                              &error, &at, nullptr),
                pcre2_code_free);
    if (!code_) throw FormatError(message(*name_, " does not compile: ", error_text(error)));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where this fails, the interpreter serves
    // A hostile pattern may backtrack for ever; these bounds end it with an error.
    context_.reset(pcre2_match_context_create(nullptr), pcre2_match_context_free);
    pcre2_set_match_limit(context_.get(), 50'000'000);
    pcre2_set_heap_limit(context_.get(), 128 * 1024);  // KiB
  }

  /// Calls visit(begin, end) for each match, from left to right, without overlap. `text` is valid UTF-8.
  /// @throws RunError when matching exceeds its bounds
  template <class Visit>
  void for_each_match(std::string_view text, const Visit& visit) const {
    // One pair of bounds is all that is read, so every pattern of a thread can share the block.
    static thread_local const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
    require<RunError>(data != nullptr, "text::Regex: out of memory");
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    for (std::size_t at = 0; at <= text.size();) {
      int found = pcre2_match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK, data.get(), context_.get());
      if (found == PCRE2_ERROR_JIT_STACKLIMIT)  // the interpreter keeps its backtracking on the heap
        found = pcre2_match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(),
                            context_.get());
      if (found == PCRE2_ERROR_NOMATCH) return;
      if (found < 0)
        throw RunError(message(*name_, " takes more steps or memory than matching may: ", error_text(found),
                               "; one without repetitions inside repetitions is expected"));
      const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
      const std::size_t begin = bounds[0], end = bounds[1];  // visit may match on its own
      if (end > begin) visit(begin, end);
      at = end;
      if (end <= begin)  // step over one character behind an empty match
        do ++at;
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u);
    }
  }
  bool empty() const { return code_ == nullptr; }

 private:
  static std::string error_text(int code) {
    PCRE2_UCHAR buffer[160];
    const int length = pcre2_get_error_message(code, buffer, sizeof buffer);
    return {reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(std::max(length, 0))};
  }
  std::shared_ptr<const std::string> name_;  // for messages
  std::shared_ptr<pcre2_code> code_;
  std::shared_ptr<pcre2_match_context> context_;
};

/// The text as a pattern that matches only itself.
template <class = void>
std::string escape_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#&~").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}
}  // namespace vbon::text
