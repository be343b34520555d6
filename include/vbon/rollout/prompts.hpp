// vbon/rollout/prompts.hpp
//
// Prompts from a JSON Lines file. A line is {"prompt": text} and goes to the policy as it stands, or
// {"messages": [{"role": ..., "content": ...}, ...]} and goes through the policy's chat template. A plain
// prompt is never wrapped in a template: what stands in the file is what the model reads.
#pragma once
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/data/prompt.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/text/chat_message.hpp"

namespace vbon::rollout {
using text::ChatMessage;

/// Turns messages into the text a model reads, generation prompt included.
using ChatRenderer = std::function<std::string(std::span<const ChatMessage>)>;

/// Gives the text of a prompt its tokens. `templated` is true for text that a chat template wrote: it holds
/// its own special tokens.
using PromptTokenizer = std::function<std::vector<TokenId>(const std::string& text, bool templated)>;

struct PromptOptions {
  ChatRenderer chat = {};          // empty: a line with "messages" is an error
  PromptTokenizer tokenizer = {};  // empty: prompts keep no tokens
};

namespace detail {
template <class = void>
std::vector<ChatMessage> parse_messages(const io::Json& value, const std::string& where) {
  require<FormatError>(value.is_array() && !value.empty(), where, ": \"messages\" must be a list with at least one message");
  std::vector<ChatMessage> messages;
  for (const io::Json& entry : value) {
    for (const char* key : {"role", "content"})
      require<FormatError>(entry.is_object() && entry.contains(key) && entry[key].is_string(), where, ": message ",
                           messages.size() + 1, " needs a text under \"", key, "\"");
    messages.push_back({entry["role"].get<std::string>(), entry["content"].get<std::string>()});
  }
  return messages;
}
}  // namespace detail

/// One prompt from one parsed line.
///
/// @param id     the prompt's number; it addresses the random draws of its responses
/// @param where  names the line in errors, "prompts.jsonl line 3"
/// @throws FormatError naming the line and the key; ConfigError for messages without a chat template
template <class = void>
Prompt parse_prompt(const io::Json& row, std::uint64_t id, const std::string& where, const PromptOptions& options = {}) {
  require<FormatError>(row.is_object(), where, ": an object {\"prompt\": ...} or {\"messages\": [...]} expected");
  const bool plain = row.contains("prompt");
  require<FormatError>(plain || row.contains("messages"), where, ": neither \"prompt\" nor \"messages\" is there");
  require<FormatError>(!(plain && row.contains("messages")), where,
                       ": both \"prompt\" and \"messages\" are there; keep one");
  Prompt prompt{.id = id, .text = {}, .tokens = {}};
  if (plain) {
    require<FormatError>(row["prompt"].is_string(), where, ": \"prompt\" must be a text");
    prompt.text = row["prompt"].get<std::string>();
  } else {
    const auto messages = detail::parse_messages(row["messages"], where);
    require<ConfigError>(static_cast<bool>(options.chat), where,
                         ": \"messages\" need a chat template and this policy has none; give \"prompt\" instead");
    prompt.text = options.chat(messages);
  }
  require<FormatError>(!prompt.text.empty(), where, ": the prompt is empty");
  if (options.tokenizer) prompt.tokens = options.tokenizer(prompt.text, !plain);
  return prompt;
}

/// All prompts of a file, numbered from 0 in file order.
/// @throws RunError (no such file), FormatError (names line and key), ConfigError (messages without a template)
template <class = void>
std::vector<Prompt> load_prompts(const std::filesystem::path& path, const PromptOptions& options = {}) {
  std::vector<Prompt> prompts;
  io::read_jsonl(path, [&](const io::Json& row, std::size_t line) {
    prompts.push_back(parse_prompt(row, prompts.size(), message(path.string(), " line ", line), options));
  });
  require<FormatError>(!prompts.empty(), path.string(), ": no prompt in the file; write one {\"prompt\": ...} per line");
  return prompts;
}
}  // namespace vbon::rollout
