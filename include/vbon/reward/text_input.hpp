// vbon/reward/text_input.hpp
//
// What the rewards share: which text of a response they read, and the check of what they give.
#pragma once
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/data/rollout_batch.hpp"

namespace vbon::reward {
/// What a reward reads: the response alone, or the prompt with the response right behind it.
enum class TextInput { response, prompt_response };

inline std::string_view name_of(TextInput input) { return input == TextInput::response ? "response" : "prompt_response"; }
/// @throws ConfigError for an unknown name
inline TextInput text_input(std::string_view name) {
  require<ConfigError>(name == "response" || name == "prompt_response", "unknown text input '", name,
                       "'; known: response, prompt_response");
  return name == "response" ? TextInput::response : TextInput::prompt_response;
}

/// @throws ShapeError when the batch has no text for every response
inline void require_text(const RolloutBatch& batch, std::string_view reward) {
  require<ShapeError>(static_cast<Index>(batch.text.size()) == batch.responses(), "reward ", reward, ": ", batch.responses(),
                      " texts expected, got ", batch.text.size(), "; it needs a policy with a tokenizer");
}

/// Calls f(response number, prompt, text of the response) for every response of a batch.
template <class F>
void for_each_response(const RolloutBatch& batch, const F& f) {
  for (Index p = 0; p < batch.prompts(); ++p)
    for (Index i = batch.group_offset[static_cast<std::size_t>(p)]; i < batch.group_offset[static_cast<std::size_t>(p) + 1];
         ++i)
      f(i, batch.prompt[static_cast<std::size_t>(p)], batch.text[static_cast<std::size_t>(i)]);
}

/// The text of each response as a reward reads it [R].
/// @throws ShapeError when the batch has no text
template <class = void>
std::vector<std::string> texts_of(const RolloutBatch& batch, TextInput input, std::string_view reward) {
  require_text(batch, reward);
  std::vector<std::string> texts(batch.text.size());
  for_each_response(batch, [&](Index i, const Prompt& prompt, const std::string& text) {
    texts[static_cast<std::size_t>(i)] = input == TextInput::response ? text : prompt.text + text;
  });
  return texts;
}

/// "prompt 3 (id 17), sample 2", for messages.
inline std::string place_of(const RolloutBatch& batch, Index response) {
  Index p = 0;
  while (batch.group_offset[static_cast<std::size_t>(p) + 1] <= response) ++p;
  return message("prompt ", p, " (id ", batch.prompt[static_cast<std::size_t>(p)].id, "), sample ",
                 response - batch.group_offset[static_cast<std::size_t>(p)]);
}

/// Hands the rewards back once they are known to be numbers. Infinite ones are: they have an order.
/// @throws ShapeError for a wrong count, DomainError (nan_reward) naming prompt and sample
template <class = void>
Array checked(Array rewards, const RolloutBatch& batch, std::string_view reward) {
  require<ShapeError>(rewards.size() == batch.responses(), "reward ", reward, ": ", batch.responses(),
                      " rewards expected, got ", rewards.size());
  for (Index i = 0; i < rewards.size(); ++i)
    if (std::isnan(rewards[i]))
      throw DomainError(message("reward ", reward, ": NaN for ", place_of(batch, i)), {"nan_reward"});
  return rewards;
}
}  // namespace vbon::reward
