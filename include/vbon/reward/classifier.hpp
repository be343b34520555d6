// vbon/reward/classifier.hpp
//
// A sequence classifier as a reward, on an encoder (read at its first token) or on a causal language model (a
// score head read at the last one): its one output as it stands, or the log-odds of one label (label.hpp).
#pragma once
#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/model/classifier_kind.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/load.hpp"
#include "vbon/reward/causal_scorer.hpp"
#include "vbon/reward/classifier_place.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/encoder_text.hpp"
#include "vbon/reward/label.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
struct ClassifierOptions {
  std::string label = {};  // name or number; empty: the positive one of two (by its name, otherwise 1)
  TextInput input = TextInput::prompt_response;
  kernel::Precision precision = kernel::Precision::float32;  // of the products of its linear maps
};

class Classifier {
 public:
  static constexpr std::string_view name = "classifier";
  static constexpr std::string_view argument =
      "FOLDER of a Hugging Face sequence classifier, or FOLDER,label=NAME_OR_NUMBER";

  Classifier() = default;
  /// @throws RunError, FormatError, ConfigError: an unknown family, no classification head, an unknown label, several
  ///         labels and none chosen
  template <class = void>
  static Classifier load(const std::filesystem::path& folder, const ClassifierOptions& options = {}) {
    const auto path = folder / "config.json";
    const io::Json config = io::read_json(path);
    Classifier reward;
    reward.input_ = options.input;
    if (model::classifier_kind(model::ConfigReader(config, path.string())) == model::ClassifierKind::encoder)
      reward.read_encoder(folder, options.precision);
    else
      reward.read_causal(folder, options.precision);
    reward.label_ = choose_label(config, reward.labels_, options.label, folder.string());
    reward.alone_ = outputs_stand_alone(config);
    return reward;
  }
  /// @param place  "FOLDER" or "FOLDER,label=NAME_OR_NUMBER"
  template <class = void>
  static Classifier open(const std::string& place, kernel::Precision precision = kernel::Precision::float32) {
    const auto [folder, label] = classifier_place(place);
    return load(folder, {.label = label, .precision = precision});
  }

  Index label() const { return label_; }
  Index labels() const { return labels_; }

  /// The logits of each text.
  /// @return [n, labels]
  /// @throws ConfigError when nothing was loaded
  Tensor<float> logits(std::span<const std::string> texts) const {
    require<ConfigError>(static_cast<bool>(logits_), "reward classifier: no model was loaded");
    return logits_(texts);
  }
  /// One reward for each text, in order.
  template <class = void>
  Array score(std::span<const std::string> texts) const {
    const Tensor<float> all = logits(texts);
    Array rewards(all.rows());
    for (Index i = 0; i < all.rows(); ++i)
      rewards[i] = alone_ ? static_cast<double>(all(i, label_)) : label_reward(all.row(i), label_);
    return rewards;
  }
  /// @throws ConfigError when nothing was loaded, ShapeError for a batch without text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    return checked(score(texts_of(batch, input_, name)), batch, name);
  }

 private:
  using Logits = std::function<Tensor<float>(std::span<const std::string>)>;

  template <class = void>
  void read_encoder(const std::filesystem::path& folder, kernel::Precision precision) {
    struct Model {
      model::Encoder encoder;
      EncoderText text;
    };
    auto checkpoint = model::EncoderCheckpoint::load(folder, "config.json", {}, precision);
    const auto& shape = checkpoint.encoder.shape();
    require<ConfigError>(shape.labels > 0, folder.string(),
                         ": this checkpoint has no classification head; use it as an encoder_head");
    labels_ = shape.labels;
    EncoderText text(folder, shape);
    logits_ = [model = std::make_shared<const Model>(Model{std::move(checkpoint.encoder), std::move(text)})](
                  std::span<const std::string> texts) {
      Tensor<float> out(static_cast<Index>(texts.size()), model->encoder.shape().labels);
      using Tape = model::EncoderTape;
      model->text.template for_each_batch<Tape>(
          texts, [&](const auto& input, const std::vector<std::size_t>& which, Tape& tape) {
            const View<const float> got = model->encoder.classify(input, tape);
            for (std::size_t i = 0; i < which.size(); ++i)
              std::copy_n(got.row(static_cast<Index>(i)).data(), got.cols(), out.row(static_cast<Index>(which[i])).data());
          });
      return out;
    };
  }

  template <class = void>
  void read_causal(const std::filesystem::path& folder, kernel::Precision precision) {
    auto network = model::load_causal_lm(folder, precision);
    require<ConfigError>(
        network.shape().labels > 0, folder.string(),
        " predicts tokens, it has no score head; a reward model (...ForSequenceClassification) is expected");
    labels_ = network.shape().labels;
    auto text = text::Tokenizer::from_json(folder / "tokenizer.json");
    logits_ = [scorer = std::make_shared<CausalScorer>(std::move(network), std::move(text), folder.string())](
                  std::span<const std::string> texts) { return scorer->logits(texts); };
  }

  Logits logits_;  // [n] texts -> [n, labels]
  Index labels_ = 0, label_ = 0;
  bool alone_ = false;  // the reward is the logit of the label itself
  TextInput input_ = TextInput::prompt_response;
};
}  // namespace vbon::reward
