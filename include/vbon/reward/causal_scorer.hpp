// vbon/reward/causal_scorer.hpp
//
// Text to the outputs of a score head on a causal language model, read at the last token as transformers'
// ...ForSequenceClassification reads it. Texts of any lengths go through one pass side by side, unpadded; what
// else is scored with a text never changes its result.
#pragma once
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/score.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::reward {
/// The tokens of a text, special ones included, as a score head reads them. A chat template writes the begin token that
/// the tokenizer adds a second time: one of the two goes. A text without a token is its begin token.
template <class = void>
std::vector<TokenId> scored_tokens(std::vector<TokenId> token, const text::Tokenizer& tokenizer, const model::Shape& shape) {
  const auto begin = tokenizer.bos();
  if (begin && token.size() > 1 && token[0] == *begin && token[1] == *begin && tokenizer.encode("").size() > 0)
    token.erase(token.begin());
  if (token.empty() && shape.bos >= 0) token = {shape.bos};
  return token;
}

class CausalScorer {
 public:
  static constexpr Index batch_tokens = 2048;  // texts go through the network together up to this, a longer one alone

  /// @param network  with a score head
  /// @param where    names the model in messages
  template <class = void>
  CausalScorer(model::CausalLm network, text::Tokenizer tokenizer, std::string where)
      : network_(std::move(network)), tokenizer_(std::move(tokenizer)), where_(std::move(where)) {
    require<ConfigError>(network_.shape().labels > 0, where_, ": this model has no score head");
    require<ConfigError>(tokenizer_.vocab_size() <= network_.shape().vocab, where_, ": the tokenizer has ids up to ",
                         tokenizer_.vocab_size() - 1, ", the model a vocabulary of ", network_.shape().vocab,
                         "; they do not belong together");
  }

  model::CausalLm& network() { return network_; }
  const model::CausalLm& network() const { return network_; }
  const text::Tokenizer& tokenizer() const { return tokenizer_; }

  /// @return [n, labels]
  /// @throws DomainError for a text without a token, or with more than the model's context holds
  template <class = void>
  Tensor<float> logits(std::span<const std::string> texts) {
    Tensor<float> out(static_cast<Index>(texts.size()), network_.shape().labels);
    const std::vector<std::vector<TokenId>> token = tokens(texts);
    for (std::size_t begin = 0; begin < texts.size();) {
      model::ScoreInput input;
      std::size_t end = begin;
      do {
        input.add(token[end++], network_.shape().pad);
      } while (end < texts.size() && input.forest.rows() + static_cast<Index>(token[end].size()) <= batch_tokens);
      network_.score(input.forest, input.row,
                     out.view().middle_rows(static_cast<Index>(begin), static_cast<Index>(end - begin)));
      begin = end;
    }
    return out;
  }

  /// The tokens of each text, special tokens included.
  template <class = void>
  std::vector<std::vector<TokenId>> tokens(std::span<const std::string> texts) const {
    std::vector<std::vector<TokenId>> token(texts.size());
    parallel_for(static_cast<Index>(texts.size()), 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        token[static_cast<std::size_t>(i)] =
            scored_tokens(tokenizer_.encode(texts[static_cast<std::size_t>(i)]), tokenizer_, network_.shape());
    });
    const Index context = network_.shape().context;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      require<DomainError>(!token[i].empty(), ErrorCode{"empty_text"}, where_, ": text ", i,
                           " has no token to score; give it some text");
      require<DomainError>(static_cast<Index>(token[i].size()) <= context, ErrorCode{"text_too_long"}, where_, ": text ", i,
                           " ('", io::excerpt(texts[i]), "') has ", token[i].size(),
                           " tokens, the reward model's context holds ", context, "; shorten prompts or responses");
    }
    return token;
  }

 private:
  model::CausalLm network_;
  text::Tokenizer tokenizer_;
  std::string where_;
};
}  // namespace vbon::reward
