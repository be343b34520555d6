#include "prompt_source.hpp"

namespace vbon::program {
void PromptSource::add_to(CLI::App& command) {
  command.add_option("--prompt", texts, "text to continue, as it stands; may be given again")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--chat", chats, "message of a user, put through the model's chat template; may be given again")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--prompts", file, "JSON lines {\"prompt\": ...} or {\"messages\": [...]}");
}

void PromptSource::check() const {
  require<ConfigError>(!texts.empty() || !chats.empty() || !file.empty(),
                       "what shall it continue? give --prompt TEXT, --chat TEXT or --prompts FILE");
  for (const auto& text : texts) require_utf8("--prompt", text);
  for (const auto& text : chats) require_utf8("--chat", text);
}

std::vector<Prompt> PromptSource::load(const Policy& policy) const {
  std::vector<Prompt> prompts;
  if (!file.empty()) prompts = policy.load_prompts(file);
  for (const auto& text : texts) prompts.push_back(policy.encoded(text, prompts.size()));
  for (const auto& message : chats) prompts.push_back(policy.chat(message, prompts.size()));
  policy.require_room(prompts);
  return prompts;
}
}  // namespace vbon::program
