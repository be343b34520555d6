// vbon/policy/load.hpp
//
// From a GGUF file or a Hugging Face folder to a policy, and back to a folder that transformers loads.
#pragma once
#include <filesystem>
#include <memory>
#include <utility>

#include "vbon/io/atomic_file.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"
#include "vbon/policy/causal_lm_policy.hpp"

namespace vbon::policy {
/// @param path       a .gguf file, or a folder with config.json, safetensors and (for text) tokenizer.json
/// @param precision  of the linear maps and the head
/// @throws RunError when a file is missing, FormatError and ConfigError naming file and entry
template <Device D = Cpu>
CausalLmPolicy<D> load(const std::filesystem::path& path, kernel::Precision precision = kernel::Precision::float32) {
  const auto predicts_tokens = [&](model::CausalLm model) {
    require<ConfigError>(model.shape().labels == 0, path.string(), " is a reward model with a score head of ",
                         model.shape().labels, ", not a policy; a causal language model is expected");
    return model;
  };
  if (model::is_gguf(path)) {
    const auto file = std::make_shared<const io::GgufFile>(io::GgufFile::open(path));
    auto model = predicts_tokens(model::load_causal_lm(file, precision));
    return {std::move(model), std::make_shared<const text::Tokenizer>(text::Tokenizer::from_gguf(*file))};
  }
  auto model = predicts_tokens(model::load_causal_lm(path, precision));
  std::shared_ptr<const text::Tokenizer> tokenizer;
  if (std::filesystem::exists(path / "tokenizer.json"))
    tokenizer = std::make_shared<const text::Tokenizer>(text::Tokenizer::from_json(path / "tokenizer.json"));
  CausalLmPolicy<D> policy(std::move(model), std::move(tokenizer));
  if (const auto file = path / "generation_config.json"; std::filesystem::exists(file)) {
    const io::Json json = io::read_json(file);
    const model::ConfigReader generation(json, file.string());
    if (generation.has({"eos_token_id"})) policy.sampler.eos = generation.tokens({"eos_token_id"});
    for (const TokenId end : policy.sampler.eos)
      require<ConfigError>(end < policy.shape().vocab, file.string(), ": eos_token_id: ids below ", policy.shape().vocab,
                           " expected, got ", end);
    policy.generation = json;
  }
  return policy;
}

/// Writes config.json, generation_config.json, safetensors and the tokenizer's files.
template <Device D>
void save(const CausalLmPolicy<D>& policy, const std::filesystem::path& folder, const model::SaveOptions& options = {}) {
  model::save_causal_lm(policy.model(), folder, options);
  if (policy.generation.is_object()) {  // more than the model's config says: other ends, settings of sampling
    model::Json generation = policy.generation;
    const auto& ends = policy.sampler.eos;
    if (!ends.empty()) generation["eos_token_id"] = ends.size() == 1 ? model::Json(ends[0]) : model::Json(ends);
    io::write_file_atomically(folder / "generation_config.json", generation.dump(2) + "\n");
  }
  if (policy.has_tokenizer()) policy.tokenizer().save(folder);
}
}  // namespace vbon::policy
