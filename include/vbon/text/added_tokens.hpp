// vbon/text/added_tokens.hpp
//
// Tokens that are found in the text as a whole before anything else looks at it: special ones such as
// <|im_end|>, and words that a user added.
// Source: the added vocabulary of Hugging Face tokenizers.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/types.hpp"
#include "vbon/text/unicode.hpp"

namespace vbon::text {
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space on its left with it
  bool rstrip = false;       // and on its right
  bool normalized = true;    // looked for in the normalised text, itself normalised
  bool special = false;
};

/// Finds the leftmost, longest of many strings, by a trie of bytes.
class AddedTokenFinder {
 public:
  template <class = void>
  void add(std::string_view text, const AddedToken* token) {
    if (text.empty()) return;
    starts_[static_cast<unsigned char>(text[0])] = true;
    std::size_t node = 0;
    for (const char c : text) {
      const auto [child, created] = nodes_[node].children.emplace(c, nodes_.size());
      node = child->second;  // before the vector may grow
      if (created) nodes_.emplace_back();
    }
    if (nodes_[node].token == nullptr) nodes_[node].token = token;
  }
  bool empty() const { return nodes_.size() == 1; }

  /// Calls visit(begin, end, token) for all parts of the text in order; token is nullptr between tokens.
  template <class Visit>
  void split(std::string_view text, const Visit& visit) const {
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
      const AddedToken* token = nullptr;
      std::size_t end = at;
      if (starts_[static_cast<unsigned char>(text[at])]) end = longest(text, at, token);
      if (token == nullptr) {
        ++at;
        continue;
      }
      std::size_t begin = at;
      at = end;
      if (token->single_word && (touches_word_left(text.substr(0, begin)) || touches_word_right(text.substr(end)))) continue;
      if (token->lstrip) begin = std::max(done, begin - trailing_space(text.substr(0, begin)));
      if (token->rstrip) end += leading_space(text.substr(end));
      if (begin < done) continue;  // white space taken by the token before it was this token's start
      if (begin > done) visit(done, begin, nullptr);
      visit(begin, end, token);
      done = end;
      at = std::max(at, end);
    }
    if (done < text.size()) visit(done, text.size(), nullptr);
  }

 private:
  struct Node {
    std::map<char, std::size_t> children;
    const AddedToken* token = nullptr;
  };
  std::size_t longest(std::string_view text, std::size_t at, const AddedToken*& token) const {
    std::size_t end = at;
    for (std::size_t node = 0, i = at; i < text.size(); ++i) {
      const auto child = nodes_[node].children.find(text[i]);
      if (child == nodes_[node].children.end()) break;
      node = child->second;
      if (nodes_[node].token != nullptr) token = nodes_[node].token, end = i + 1;
    }
    return end;
  }
  static std::size_t last_character(std::string_view text) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0u) == 0x80u) --at;
    return at;
  }
  static bool touches_word_left(std::string_view text) {
    return !text.empty() && is_word(io::decode_utf8(text, last_character(text)).code_point);
  }
  static bool touches_word_right(std::string_view text) {
    return !text.empty() && is_word(io::decode_utf8(text, 0).code_point);
  }
  static std::size_t trailing_space(std::string_view text) {
    const std::size_t size = text.size();
    while (!text.empty() && is_space(io::decode_utf8(text, last_character(text)).code_point))
      text = text.substr(0, last_character(text));
    return size - text.size();
  }
  static std::size_t leading_space(std::string_view text) {
    std::size_t length = 0;
    for (io::Utf8Step step; length < text.size() && is_space((step = io::decode_utf8(text, length)).code_point);)
      length += step.length;
    return length;
  }

  std::array<bool, 256> starts_{};
  std::vector<Node> nodes_ = std::vector<Node>(1);
};
}  // namespace vbon::text
