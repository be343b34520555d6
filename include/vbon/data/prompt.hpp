// vbon/data/prompt.hpp
//
// What comes in. A prompt is text until a policy's tokenizer gives it tokens.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "vbon/core/types.hpp"

namespace vbon {
struct Prompt {
  std::uint64_t id = 0;         // addresses the random draws: the same id and key give the same responses
  std::string text;             // as the model sees it (a chat template is already applied)
  std::vector<TokenId> tokens;  // [length]; empty for policies without tokens
};
}  // namespace vbon
