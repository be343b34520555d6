// vbon/text/wordpiece.hpp
//
// WordPiece: a word is cut into the longest tokens from left to right; all but the first carry a prefix.
// A word that cannot be cut, or is too long, is one unknown token.
// Source: the tokenizer of BERT, arXiv 1810.04805.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/text/unicode.hpp"
#include "vbon/text/vocabulary.hpp"

namespace vbon::text {
struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  std::size_t max_characters = 100;  // per word
};

class WordPiece {
 public:
  /// @throws FormatError when the vocabulary lacks the unknown token
  template <class = void>
  WordPiece(std::shared_ptr<const Vocabulary> vocabulary, WordPieceOptions options, std::string_view where)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)), unk_(vocabulary_->find(options_.unk_token)) {
    require<FormatError>(unk_ >= 0, where, ": the unk_token \"", options_.unk_token, "\" is not in the vocabulary");
    for (TokenId id = 0; id < vocabulary_->id_end(); ++id) longest_ = std::max(longest_, vocabulary_->token(id).size());
  }

  const WordPieceOptions& options() const { return options_; }

  /// Appends the tokens of one word.
  template <class = void>
  void encode(std::string_view word, std::vector<TokenId>& out) const {
    const std::size_t before = out.size();
    bool known = count_characters(word) <= options_.max_characters;
    std::string candidate;
    for (std::size_t begin = 0; known && begin < word.size();) {
      candidate.assign(begin > 0 ? options_.continuing_subword_prefix : "");
      const std::size_t prefix = candidate.size();
      candidate += word.substr(begin, longest_);
      // Shorten by whole characters until the vocabulary has it.
      TokenId id = -1;
      while (candidate.size() > prefix && (id = vocabulary_->find(candidate)) < 0) {
        while (candidate.size() > prefix && (static_cast<unsigned char>(candidate.back()) & 0xC0u) == 0x80u)
          candidate.pop_back();
        if (candidate.size() > prefix) candidate.pop_back();
      }
      known = id >= 0;
      out.push_back(id);
      begin += candidate.size() - prefix;
    }
    if (known) return;
    out.resize(before);
    out.push_back(unk_);
  }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  WordPieceOptions options_;
  TokenId unk_;
  std::size_t longest_ = 1;  // bytes of the longest token
};
}  // namespace vbon::text
