// What the parts of `vbon inspect` have in common: its options, and a line of its answer.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "align_options.hpp"

namespace vbon::program {
/// The job whose memory is planned. What is not given is the default of the command that it is planned for.
struct PlannedJob {
  std::optional<Index> samples, max_new_tokens, prompt_count;
  Index prompt_tokens = 16;
  AlignOptions align;  // the other defaults
};
struct InspectOptions {
  Common common;
  std::string what;
  bool tensors = false;
  PlannedJob job;
};

/// "NAME   VALUE", values one below the other.
inline void line(std::string_view name, const std::string& value) {
  print_line(std::string(name) + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') + value);
}

// inspect_model.cpp
void inspect_gguf(const InspectOptions& o);
/// A Hugging Face folder: a policy, a causal reward model, an encoder, or a LoRA adapter of peft.
void inspect_model_folder(const InspectOptions& o);
}  // namespace vbon::program
