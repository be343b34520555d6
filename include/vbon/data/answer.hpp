// vbon/data/answer.hpp
//
// Which responses say the same: what a majority vote counts.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "vbon/data/rollout_batch.hpp"

namespace vbon {
/// The answer that a response's text gives; empty: the whole text is the answer.
using AnswerOf = std::function<std::string(const std::string& text)>;

/// Fills batch.answer [R]: equal numbers for equal answers, counted from 0 by first appearance. Responses without text
/// answer with their tokens.
template <class = void>
void classify_answers(RolloutBatch& batch, const AnswerOf& answer_of) {
  std::map<std::pair<std::string, std::vector<TokenId>>, std::int32_t> known;
  batch.answer.clear();
  for (Index i = 0; i < batch.responses(); ++i) {
    std::pair<std::string, std::vector<TokenId>> answer;
    if (batch.text.empty()) {
      const auto tokens = batch.response(i);
      answer.second.assign(tokens.begin(), tokens.end());
    } else {
      const std::string& text = batch.text[static_cast<std::size_t>(i)];
      answer.first = answer_of ? answer_of(text) : text;
    }
    batch.answer.push_back(known.emplace(std::move(answer), static_cast<std::int32_t>(known.size())).first->second);
  }
}
}  // namespace vbon
