// vbon/reward/training_text.hpp
//
// The text that a reward model is trained on: prompt and response end to end, as `classifier:FOLDER` reads them when
// it scores. A conversation goes through the tokenizer's chat template up to the answer, as the prompts of a policy
// do. TRL also ends each text, with the end token or what the template writes behind an answer; that is asked for.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/reward/training_data.hpp"
#include "vbon/text/chat_text.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::reward {
class TrainingText {
 public:
  /// @param plain_turns  without a chat template what the turns say stands one below the other; otherwise that is an error
  /// @param ended        texts end as TRL ends them
  /// @throws ConfigError where texts are to end and the tokenizer has no end token
  template <class = void>
  TrainingText(text::Tokenizer tokenizer, bool plain_turns, bool ended)
      : tokenizer_(std::move(tokenizer)), plain_turns_(plain_turns), ended_(ended) {
    require<ConfigError>(!ended || tokenizer_.eos(), "texts are to end with the end token, and this tokenizer has none");
  }

  /// A conversation as text: up to the answer by the template, then what the assistant says.
  /// @throws ConfigError for a model without a chat template
  template <class = void>
  std::string turns(std::span<const text::ChatMessage> turns) {
    std::size_t asked = turns.size();
    while (asked > 0 && turns[asked - 1].role == "assistant") --asked;
    std::string out;
    if (tokenizer_.chat_template().empty()) {
      require<ConfigError>(plain_turns_, "a conversation needs a chat template and this model has none; give texts instead");
      out = reward::plain_turns(turns);
    } else {
      if (asked > 0) out = text::chat_text(tokenizer_, turns.first(asked), true);
      for (const auto& turn : turns.subspan(asked)) out += turn.content;
      if (ended_ && asked < turns.size()) {
        out += answer_end();
        closed_.insert(out);
      }
    }
    return out;
  }
  /// A response, or a whole text, with its end where one is asked for.
  template <class = void>
  std::string response(std::string text) const {
    if (!ended_ || closed_.contains(text)) return text;
    const std::string_view eos = tokenizer_.token(*tokenizer_.eos());
    if (!text.ends_with(eos)) text += eos;
    return text;
  }

 private:
  /// What the template writes behind an answer.
  template <class = void>
  const std::string& answer_end() {
    if (!answer_end_) {
      const text::ChatMessage messages[] = {{"user", "a"}, {"assistant", "b"}};
      const std::string whole = text::chat_text(tokenizer_, messages, false);
      const std::string begin = text::chat_text(tokenizer_, std::span(messages).first(1), true) + "b";
      require<ConfigError>(whole.starts_with(begin),
                           "this chat template writes no answer right behind its generation "
                           "prompt, so its end is not known; train without the end");
      answer_end_ = whole.substr(begin.size());
    }
    return *answer_end_;
  }

  text::Tokenizer tokenizer_;
  bool plain_turns_, ended_;
  std::optional<std::string> answer_end_;
  std::unordered_set<std::string> closed_;  // texts of conversations that have their end
};
}  // namespace vbon::reward
