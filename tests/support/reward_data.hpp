// Small checkpoints of every kind that a reward model is trained from, and what it is trained on.
#pragma once
#include <filesystem>
#include <string>

#include "support/film_data.hpp"
#include "support/tiny_encoder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/save.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::test {
/// A checkpoint without a classification head. Kinds: bert, distilbert, roberta, and those of tiny_kinds(), which
/// have the tokenizer of tiny_llama.
inline void save_tiny_checkpoint(const std::filesystem::path& folder, const std::string& kind) {
  if (kind.ends_with("bert") || kind == "roberta") return save_tiny_encoder(folder, kind);
  const std::filesystem::path llama = VBON_TEST_DATA "/tiny_llama";
  auto shape = tiny_shape(kind);
  shape.vocab = text::Tokenizer::from_json(llama / "tokenizer.json").vocab_size();
  shape.eos = {0};
  model::save_causal_lm(tiny_model(shape), folder);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(llama / name, folder / name);
}
}  // namespace vbon::test
