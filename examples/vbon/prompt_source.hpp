// Where the prompts of a command come from: a file, texts, messages of a user.
#pragma once
#include <string>
#include <vector>

#include "models.hpp"

namespace vbon::program {
struct PromptSource {
  std::vector<std::string> texts, chats;
  std::string file;

  /// --prompt, --chat and --prompts.
  void add_to(CLI::App& command);
  /// @throws ConfigError when none was given
  void check() const;
  /// All prompts with their tokens, numbered in this order: file, texts, messages.
  /// @throws what Policy::load_prompts, chat and require_room throw
  std::vector<Prompt> load(const Policy& policy) const;
};
}  // namespace vbon::program
