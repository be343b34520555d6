// vbon/reward/training_tokens.hpp
//
// Training examples with the tokens of their texts. A text beyond the longest sequence is cut, or its example is left
// out; both are counted, so that a program can tell.
#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/reward/trainable_classifier.hpp"
#include "vbon/reward/training_examples.hpp"

namespace vbon::reward {
/// What becomes of a text that is too long; TRL drops its example.
enum class TooLong { cut, drop };

struct TokenizedExamples {
  TrainingExamples examples;                 // without those that were dropped
  std::vector<std::vector<TokenId>> tokens;  // one sequence for each of examples.text
  Index cut = 0;                             // texts
  Index dropped = 0;                         // examples
  Index longest = 0;                         // tokens of the longest text before it was cut

  Index size() const { return examples.size(); }
  template <class = void>
  Sequences sequences(std::span<const std::size_t> numbers) const {
    Sequences out;
    for (const std::size_t i : numbers) out.emplace_back(tokens[i]);
    return out;
  }
};

/// @param max_length  tokens of a sequence at most, special ones included; at most what the model reads
/// @throws DomainError empty_text naming the text
template <TrainableClassifier M>
TokenizedExamples tokenize(const M& model, TrainingExamples examples, Index max_length, TooLong too_long) {
  TokenizedExamples out;
  const std::size_t count = examples.text.size();
  std::vector<std::vector<TokenId>> tokens(count);
  std::vector<Index> length(count);
  parallel_for(static_cast<Index>(count), 16, [&](Index begin, Index end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      tokens[i] = model.tokens(examples.text[i]);
      length[i] = static_cast<Index>(tokens[i].size());
      if (length[i] > max_length && too_long == TooLong::cut) tokens[i] = model.tokens(examples.text[i], max_length);
    }
  });
  const auto each = static_cast<std::size_t>(examples.texts_each());
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < examples.target.size(); ++i) {
    bool drop = false;
    for (std::size_t k = each * i; k < each * (i + 1); ++k) {
      require<DomainError>(!tokens[k].empty(), ErrorCode{"empty_text"}, "text ", k + 1,
                           " has no token to score; give it "
                           "some text");
      out.longest = std::max(out.longest, length[k]);
      if (length[k] <= max_length) continue;
      too_long == TooLong::cut ? void(++out.cut) : void(drop = true);
    }
    if (drop) {
      ++out.dropped;
      continue;
    }
    kept.push_back(i);
    for (std::size_t k = each * i; k < each * (i + 1); ++k) out.tokens.push_back(std::move(tokens[k]));
  }
  out.examples = examples.subset(kept);
  return out;
}
}  // namespace vbon::reward
