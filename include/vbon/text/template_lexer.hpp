// vbon/text/template_lexer.hpp
//
// A Jinja template cut into plain text and tags, and a tag into words. White space beside tags is treated
// as chat templates expect it: the line end behind a {% tag %} goes, and so does the indentation before it.
#pragma once
#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"

namespace vbon::text::detail {
struct TemplateToken {
  enum class Kind { name, string, number, symbol, end };
  Kind kind = Kind::end;
  std::string text;
};
struct TemplatePart {
  enum class Kind { text, output, statement };
  Kind kind = Kind::text;
  std::string text;                   // of Kind::text
  std::vector<TemplateToken> tokens;  // of the others, with an end token
  std::size_t line = 1;
};

template <class... Parts>
[[noreturn]] void fail_template(std::size_t line, const Parts&... parts) {
  throw FormatError(message("chat template: line ", line, ": ", parts...));
}

template <class = void>
std::string template_string(std::string_view source, std::size_t& at, std::size_t line) {
  const char quote = source[at++];
  std::string out;
  for (; at < source.size() && source[at] != quote; ++at) {
    if (source[at] != '\\' || at + 1 == source.size()) {
      out += source[at];
      continue;
    }
    const char c = source[++at];
    const std::size_t plain = std::string_view("ntr'\"\\bf").find(c);
    if (plain != std::string_view::npos)
      out += "\n\t\r'\"\\\b\f"[plain];
    else
      out.append({'\\', c});
  }
  if (at >= source.size()) fail_template(line, "a string does not end");
  ++at;
  return out;
}

template <class = void>
std::vector<TemplateToken> template_tokens(std::string_view source, std::size_t line) {
  using Kind = TemplateToken::Kind;
  std::vector<TemplateToken> tokens;
  const auto is = [&](std::size_t i, int (*test)(int)) {
    return i < source.size() && test(static_cast<unsigned char>(source[i])) != 0;
  };
  for (std::size_t at = 0; at < source.size();) {
    const std::size_t begin = at;
    const char c = source[at];
    if (is(at, std::isspace)) {
      ++at;
    } else if (c == '\'' || c == '"') {
      tokens.push_back({Kind::string, template_string(source, at, line)});
    } else if (is(at, std::isdigit)) {
      while (is(at, std::isdigit) || (at < source.size() && source[at] == '.' && is(at + 1, std::isdigit))) ++at;
      tokens.push_back({Kind::number, std::string(source.substr(begin, at - begin))});
    } else if (is(at, std::isalpha) || c == '_') {
      while (is(at, std::isalnum) || (at < source.size() && source[at] == '_')) ++at;
      tokens.push_back({Kind::name, std::string(source.substr(begin, at - begin))});
    } else {
      static constexpr std::string_view pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
      std::size_t length = 1;
      for (const auto pair : pairs)
        if (source.substr(at).starts_with(pair)) length = 2;
      if (std::string_view("=<>+-*/%~|.,:()[]{}!").find(c) == std::string_view::npos)
        fail_template(line, "the character '", c, "' is not expected");
      tokens.push_back({Kind::symbol, std::string(source.substr(at, length))});
      at += length;
    }
  }
  tokens.push_back({});
  return tokens;
}

/// Where the tag that begins at `at` closes: strings inside it may hold the closing mark.
template <class = void>
std::size_t closing_mark(std::string_view source, std::size_t at, std::string_view mark, std::size_t line) {
  for (char quote = 0; at < source.size(); ++at) {
    if (quote != 0) {
      if (source[at] == '\\')
        ++at;
      else if (source[at] == quote)
        quote = 0;
    } else if (source.substr(at).starts_with(mark)) {
      return at;
    } else if (mark != "#}" && (source[at] == '\'' || source[at] == '"')) {
      quote = source[at];
    }
  }
  fail_template(line, "a tag does not end");
}

template <class = void>
std::vector<TemplatePart> template_parts(std::string_view source) {
  if (source.ends_with('\n')) source.remove_suffix(1);  // as Jinja: one line end at the very end goes
  std::vector<TemplatePart> parts;
  std::size_t line = 1;
  bool strip_next = false, trim_line_end = false;
  for (std::size_t at = 0; at < source.size();) {
    std::size_t open = at;
    while ((open = source.find('{', open)) != source.npos &&
           (open + 1 >= source.size() || std::string_view("{%#").find(source[open + 1]) == std::string_view::npos))
      ++open;
    std::string_view text = source.substr(at, open == source.npos ? source.npos : open - at);
    const std::size_t text_line = line;
    for (const char c : text) line += c == '\n';
    if (strip_next)
      text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \t\r\n")));
    else if (trim_line_end && text.starts_with('\n'))
      text.remove_prefix(1);
    strip_next = trim_line_end = false;
    if (open == source.npos) {
      if (!text.empty()) parts.push_back({TemplatePart::Kind::text, std::string(text), {}, text_line});
      break;
    }
    const char kind = source[open + 1];
    const std::string_view mark = kind == '{' ? "}}" : kind == '%' ? "%}" : "#}";
    std::size_t begin = open + 2;
    const char control = begin < source.size() ? source[begin] : ' ';
    if (control == '-') {
      text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
    } else if (kind != '{' && control != '+') {
      // Indentation before a statement or comment goes where it stands alone at the start of its line.
      const std::size_t indent = text.find_last_not_of(" \t") + 1;
      if (indent == 0 ? (parts.empty() || source[open - text.size() - (open > text.size() ? 1 : 0)] == '\n')
                      : text[indent - 1] == '\n')
        text = text.substr(0, indent);
    }
    if (!text.empty()) parts.push_back({TemplatePart::Kind::text, std::string(text), {}, text_line});
    if (control == '-' || control == '+') ++begin;
    const std::size_t close = closing_mark(source, begin, mark, line);
    std::size_t end = close;
    if (end > begin && (source[end - 1] == '-' || (source[end - 1] == '+' && kind != '{'))) --end;
    strip_next = end < close && source[end] == '-';
    trim_line_end = kind != '{' && end == close;
    const std::string_view inside = source.substr(begin, end - begin);
    if (kind != '#')
      parts.push_back({kind == '{' ? TemplatePart::Kind::output : TemplatePart::Kind::statement,
                       {},
                       template_tokens(inside, line),
                       line});
    for (const char c : inside) line += c == '\n';
    at = close + 2;
  }
  return parts;
}
}  // namespace vbon::text::detail
