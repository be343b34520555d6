// A tiny encoder with random weights and a WordPiece tokenizer, in memory or as a checkpoint folder.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "vbon/core/random.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/model/encoder_checkpoint.hpp"

namespace vbon::test {
inline constexpr std::string_view tiny_words[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film",
                                                  "plot",  "a",     "the",   "is",    "very", "not", "dull",
                                                  "great", "##ly",  "##s",   "fun",   "slow", "fast"};

/// The config.json of a tiny encoder.
inline io::Json tiny_encoder_config(std::string_view type = "bert", Index labels = 0) {
  io::Json config = {
      {"model_type", type}, {"vocab_size", std::size(tiny_words)}, {"max_position_embeddings", 12}, {"pad_token_id", 0}};
  if (type == "distilbert")
    config.update({{"dim", 12}, {"n_layers", 3}, {"n_heads", 3}, {"hidden_dim", 20}, {"activation", "gelu"}});
  else
    config.update({{"hidden_size", 12},
                   {"num_hidden_layers", 3},
                   {"num_attention_heads", 3},
                   {"intermediate_size", 20},
                   {"type_vocab_size", 2},
                   {"hidden_act", "gelu"},
                   {"layer_norm_eps", 1e-12}});
  config["architectures"] = {labels > 0 ? "TinyForSequenceClassification" : "TinyModel"};
  if (labels != 2 && labels > 0)
    for (Index k = 0; k < labels; ++k) config["id2label"][std::to_string(k)] = "LABEL_" + std::to_string(k);
  return config;
}

/// Random weights, norms near one.
inline model::EncoderCheckpoint tiny_encoder(const io::Json& config, std::uint64_t seed = 1) {
  const model::ConfigReader reader(config, "tiny config");
  const auto family = model::find_encoder_family(reader.text({"model_type"}));
  auto shape = family.shape(reader);
  model::Shape common;
  model::read_common(reader, common);
  shape.labels = common.labels;
  model::EncoderCheckpoint checkpoint{model::Encoder(shape, family.names), config, {}};
  auto& parameters = checkpoint.encoder.parameters();
  const View<float> values = parameters.values();
  const RngKey key{seed, 0};
  for (const auto& p : parameters.list())
    for (Index i = p.offset; i < p.offset + p.size(); ++i) {
      const double z = key.normal(static_cast<std::uint64_t>(i));
      const bool norm_weight = p.shape.size() == 1 && p.name.ends_with("weight");
      values[i] = static_cast<float>(norm_weight ? 1 + 0.1 * z : 0.3 * z);
    }
  checkpoint.encoder.parameters_changed();
  return checkpoint;
}

/// Writes tokenizer.json beside the weights.
inline void save_tiny_tokenizer(const std::filesystem::path& folder) {
  io::Json vocab = io::Json::object(), added = io::Json::array();
  for (std::size_t i = 0; i < std::size(tiny_words); ++i) {
    vocab[std::string(tiny_words[i])] = i;
    if (tiny_words[i].starts_with('['))
      added.push_back({{"id", i},
                       {"content", tiny_words[i]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
  }
  const auto special = [](const char* name, int id) {
    return io::Json{{name, {{"id", name}, {"ids", {id}}, {"tokens", {name}}}}};
  };
  io::Json special_tokens = special("[CLS]", 2);
  special_tokens.update(special("[SEP]", 3));
  const auto place = [](const char* kind, const char* id) { return io::Json{{kind, {{"id", id}, {"type_id", 0}}}}; };
  const io::Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", true},
        {"handle_chinese_chars", true},
        {"strip_accents", nullptr},
        {"lowercase", true}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {place("SpecialToken", "[CLS]"), place("Sequence", "A"), place("SpecialToken", "[SEP]")}},
        {"pair",
         {place("SpecialToken", "[CLS]"), place("Sequence", "A"), place("SpecialToken", "[SEP]"), place("Sequence", "B"),
          place("SpecialToken", "[SEP]")}},
        {"special_tokens", special_tokens}}},
      {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", "[UNK]"},
        {"continuing_subword_prefix", "##"},
        {"max_input_chars_per_word", 100},
        {"vocab", vocab}}}};
  io::write_file_atomically(folder / "tokenizer.json", tokenizer.dump());
}

/// A whole checkpoint folder.
inline void save_tiny_encoder(const std::filesystem::path& folder, std::string_view type = "bert", Index labels = 0,
                              std::uint64_t seed = 1) {
  tiny_encoder(tiny_encoder_config(type, labels), seed).save(folder);
  save_tiny_tokenizer(folder);
}
}  // namespace vbon::test
