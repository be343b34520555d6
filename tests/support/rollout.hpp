// Small batches of text for tests of what reads them.
#pragma once
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "vbon/data/rollout_batch.hpp"

namespace vbon::test {
struct PromptWithTexts {
  std::string prompt;
  std::vector<std::string> texts;
};
/// A batch of prompts, each with its responses as text alone.
inline RolloutBatch text_batch(const std::vector<PromptWithTexts>& groups) {
  RolloutBatch batch;
  for (const auto& group : groups) {
    batch.add_prompt({.id = 100 + batch.prompt.size(), .text = group.prompt, .tokens = {}});
    for (const auto& text : group.texts) {
      batch.add_response({}, true);
      batch.text.push_back(text);
    }
  }
  return batch;
}
inline std::vector<double> values_of(const Array& array) { return {array.begin(), array.end()}; }
}  // namespace vbon::test
