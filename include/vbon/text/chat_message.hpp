// vbon/text/chat_message.hpp
//
// One turn of a conversation, as chat templates and data files have it.
#pragma once
#include <string>

namespace vbon::text {
struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};
}  // namespace vbon::text
