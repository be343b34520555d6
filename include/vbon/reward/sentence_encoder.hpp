// vbon/reward/sentence_encoder.hpp
//
// Text to one vector: an encoder with its tokenizer and the pooling that the sentence-transformers files of
// its folder describe (modules.json, 1_Pooling/config.json); without them the mean at unit length.
#pragma once
#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/io/json.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/encoder_pooling.hpp"
#include "vbon/reward/encoder_text.hpp"

namespace vbon::reward {
/// What modules.json and 1_Pooling/config.json of a folder say; without them the mean at unit length.
/// @throws ConfigError for a pooling or a module that is not known here
template <class = void>
model::Pooling read_pooling(const std::filesystem::path& folder) {
  model::Pooling pooling;
  std::filesystem::path pooling_file = folder / "1_Pooling" / "config.json";
  if (const auto path = folder / "modules.json"; std::filesystem::exists(path)) {
    pooling.normalize = false;
    for (const io::Json& module : io::read_json(path)) {
      const auto type = io::json_get<std::string>(module, "type", path.string());
      const std::string kind = type.substr(type.find_last_of('.') + 1);
      if (kind == "Pooling")
        pooling_file = folder / io::json_get<std::string>(module, "path", path.string()) / "config.json";
      if (kind == "Normalize") pooling.normalize = true;
      require<ConfigError>(kind == "Transformer" || kind == "Pooling" || kind == "Normalize", path.string(),
                           ": unknown module '", type, "'; known: Transformer, Pooling, Normalize");
    }
  }
  if (!std::filesystem::exists(pooling_file)) return pooling;
  const io::Json config = io::read_json(pooling_file);
  const std::pair<std::string_view, model::PoolingMode> known[] = {{"pooling_mode_mean_tokens", model::PoolingMode::mean},
                                                                   {"pooling_mode_max_tokens", model::PoolingMode::max},
                                                                   {"pooling_mode_cls_token", model::PoolingMode::first}};
  int chosen = 0;
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with("pooling_mode_") || !io::json_as<bool>(value, pooling_file.string() + ": " + key)) continue;
    const auto* mode = std::find_if(std::begin(known), std::end(known), [&](const auto& k) { return k.first == key; });
    require<ConfigError>(mode != std::end(known), pooling_file.string(), ": unknown pooling '", key,
                         "'; known: pooling_mode_mean_tokens, pooling_mode_max_tokens, pooling_mode_cls_token");
    pooling.mode = mode->second;
    ++chosen;
  }
  require<ConfigError>(chosen == 1, pooling_file.string(), ": one pooling mode expected, ", chosen, " are on");
  return pooling;
}

class SentenceEncoder {
 public:
  /// @param precision  of the products of its linear maps
  /// @throws RunError, FormatError, ConfigError for files that are missing, broken or of another kind
  template <class = void>
  static SentenceEncoder load(const std::filesystem::path& folder,
                              kernel::Precision precision = kernel::Precision::float32) {
    auto checkpoint = model::EncoderCheckpoint::load(folder, "config.json", {}, precision);
    EncoderText text(folder, checkpoint.encoder.shape());
    return {folder, std::move(checkpoint.encoder), std::move(text), read_pooling(folder)};
  }

  const std::filesystem::path& folder() const { return folder_; }
  const model::Encoder& encoder() const { return encoder_; }
  const EncoderText& text() const { return text_; }
  const model::Pooling& pooling() const { return pooling_; }
  Index width() const { return encoder_.shape().width; }
  Index layers() const { return encoder_.shape().layers; }
  /// A number that tells these weights from others.
  template <class = void>
  std::uint64_t fingerprint() const {
    return stable_hash(std::span(encoder_.parameters().data(), static_cast<std::size_t>(encoder_.parameters().size())));
  }

  /// One vector for each text.
  /// @return [n, C]
  template <class = void>
  Tensor<float> embed(std::span<const std::string> texts) const {
    const Index last = layers();
    return features(texts, std::span(&last, 1));
  }
  /// The same pooling over the states of several layers, side by side. Lower layers tell more of tone and
  /// wording than the last one, which was trained for meaning.
  /// @param which_layers  0: embeddings, L: last block
  /// @return [n, layers * C]
  /// @throws ConfigError for a layer outside [0, L]
  template <class = void>
  Tensor<float> features(std::span<const std::string> texts, std::span<const Index> which_layers) const {
    for (const Index layer : which_layers)
      require<ConfigError>(layer >= 0 && layer <= layers(), "SentenceEncoder: layers in [0, ", layers(), "] expected, got ",
                           layer);
    const Index c = width();
    Tensor<float> out(static_cast<Index>(texts.size()), c * static_cast<Index>(which_layers.size()));
    struct Memory {
      model::EncoderTape tape;
      model::Buffer<> pooled;
    };
    text_.for_each_batch<Memory>(texts, [&](const auto& input, const std::vector<std::size_t>& which, Memory& memory) {
      const View<float> pooled = memory.pooled.shaped(input.sequences(), c);
      encoder_.forward(input, memory.tape, model::Keep::output, [&](Index layer, View<const float> hidden) {
        for (std::size_t k = 0; k < which_layers.size(); ++k) {
          if (which_layers[k] != layer) continue;
          model::pool(hidden, input.offset, pooling_.mode, pooled);
          if (pooling_.normalize) model::normalize_rows(pooled);
          for (std::size_t i = 0; i < which.size(); ++i)
            std::copy_n(pooled.row(static_cast<Index>(i)).data(), c,
                        out.row(static_cast<Index>(which[i])).data() + static_cast<Index>(k) * c);
        }
      });
    });
    return out;
  }

 private:
  template <class = void>
  SentenceEncoder(std::filesystem::path folder, model::Encoder encoder, EncoderText text, model::Pooling pooling)
      : folder_(std::move(folder)), encoder_(std::move(encoder)), text_(std::move(text)), pooling_(pooling) {}

  std::filesystem::path folder_;
  model::Encoder encoder_;
  EncoderText text_;
  model::Pooling pooling_;
};
}  // namespace vbon::reward
