// What the tests of planned memory share.
#pragma once
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "cli/support.hpp"
#include "vbon/model/save.hpp"

namespace vbon::test {
/// A random checkpoint that is large beside the program itself: 21 million parameters.
inline void make_checkpoint(const std::filesystem::path& folder) {
  model::Shape shape;
  shape.vocab = 4096;
  shape.width = 512;
  shape.layers = 6;
  shape.heads = 8;
  shape.kv_heads = 4;
  shape.head_dim = shape.rope.dim = 64;
  shape.inner = 1536;
  shape.context = 256;
  shape.tied = true;
  model::apply_family(model::find_family("llama"), shape);
  model::CausalLm model(shape);
  std::minstd_rand random(1);
  for (float& value : model.parameters().values()) value = (static_cast<float>(random() % 2048) - 1024.0f) * 0x1p-15f;
  model::save_causal_lm(model, folder);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(tiny_model + "/" + file, folder / file);
}
/// A job of known size with such a checkpoint, and the question how much memory it will take; both go on with what is added.
inline Arguments measured_align(const std::string& model) {
  return {"align",      "--model",
          model,        "--reward",
          "length:5",   "--prompts",
          tiny_prompts, "--references",
          "16",         "--evaluation-references",
          "8",          "--training-prompts",
          "8",          "--evaluation-count",
          "4",          "--samples",
          "4",          "--step-prompts",
          "8",          "--steps",
          "2",          "--warmup",
          "0",          "--micro-batch",
          "32"};
}
inline Arguments planned_align(const std::string& model) {
  return {"inspect",        model, "--samples",    "4",  "--prompt-tokens", "4",  "--prompt-count", "8",
          "--step-prompts", "8",   "--references", "16", "--micro-batch",   "32", "--lora-rank",    "8"};
}
/// "NAME   123 MB (...": 123.
inline double planned(const std::string& out, const std::string& name) {
  const auto at = out.find("\n" + name);
  REQUIRE(at != std::string::npos);
  return std::stod(out.substr(at + 1 + name.size()));
}
}  // namespace vbon::test
