// vbon/text/chat_text.hpp
//
// A conversation through the chat template that a tokenizer came with, which may name its begin and end tokens.
#pragma once
#include <map>
#include <span>
#include <string>

#include "vbon/core/error.hpp"
#include "vbon/text/chat_template.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::text {
/// @throws ConfigError for a tokenizer without a chat template, FormatError for a template that is not understood
template <class = void>
std::string chat_text(const Tokenizer& tokenizer, std::span<const ChatMessage> messages, bool add_generation_prompt) {
  require<ConfigError>(!tokenizer.chat_template().empty(), "chat_text: this tokenizer has no chat template");
  std::map<std::string, std::string> names;
  if (tokenizer.bos()) names["bos_token"] = tokenizer.token(*tokenizer.bos());
  if (tokenizer.eos()) names["eos_token"] = tokenizer.token(*tokenizer.eos());
  return ChatTemplate(tokenizer.chat_template()).render(messages, add_generation_prompt, names);
}
}  // namespace vbon::text
