// vbon/reward/classifier.hpp
//
// A sequence classifier as a reward, on an encoder (read at its first token) or on a causal language model (a
// score head read at the last one): its one output as it stands, or the log-odds of one label against the
// others, log p - log(1 - p) (with two labels the difference of the logits).
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/load.hpp"
#include "vbon/reward/causal_scorer.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/encoder_text.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
struct ClassifierOptions {
  std::string label = {};  // name or number; empty: the positive one of two (by its name, otherwise 1)
  TextInput input = TextInput::prompt_response;
};

class Classifier {
 public:
  static constexpr std::string_view name = "classifier";
  static constexpr std::string_view argument = "FOLDER of a Hugging Face sequence classifier";

  Classifier() = default;
  /// @throws RunError, FormatError, ConfigError: an unknown family, no classification head, an unknown label, several
  ///         labels and none chosen
  static Classifier load(const std::filesystem::path& folder, const ClassifierOptions& options = {}) {
    const auto path = folder / "config.json";
    const io::Json config = io::read_json(path);
    Classifier reward;
    reward.input_ = options.input;
    const auto type = model::ConfigReader(config, path.string()).text({"model_type"});
    if (has_entry<model::EncoderFamilies>(type))
      reward.read_encoder(folder);
    else if (has_entry<model::Families>(type))
      reward.read_causal(folder);
    else
      throw ConfigError(message(path.string(), ": unknown model_type '", type,
                                "'; known: ", known_names<model::EncoderFamilies>(), ", ", known_names<model::Families>()));
    reward.label_ = choose_label(config, reward.labels_, options.label, folder.string());
    return reward;
  }
  static Classifier open(const std::string& folder) { return load(folder); }

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
  Array score(std::span<const std::string> texts) const {
    const Tensor<float> all = logits(texts);
    Array rewards(all.rows());
    for (Index i = 0; i < all.rows(); ++i) rewards[i] = value(all.row(i));
    return rewards;
  }
  /// @throws ConfigError when nothing was loaded, ShapeError for a batch without text
  Array operator()(const RolloutBatch& batch) const { return checked(score(texts_of(batch, input_, name)), batch, name); }

 private:
  using Logits = std::function<Tensor<float>(std::span<const std::string>)>;

  void read_encoder(const std::filesystem::path& folder) {
    struct Model {
      model::Encoder encoder;
      EncoderText text;
    };
    auto checkpoint = model::EncoderCheckpoint::load(folder);
    const auto& shape = checkpoint.encoder.shape();
    require<ConfigError>(shape.labels > 0, folder.string(),
                         ": this checkpoint has no classification head; use it as an encoder_head");
    labels_ = shape.labels;
    EncoderText text(folder, shape);
    logits_ = [model = std::make_shared<const Model>(Model{std::move(checkpoint.encoder), std::move(text)})](
                  std::span<const std::string> texts) {
      Tensor<float> out(static_cast<Index>(texts.size()), model->encoder.shape().labels);
      model::EncoderTape tape;
      model->text.for_each_batch(texts, [&](const model::EncoderInput& input, const std::vector<std::size_t>& which) {
        const View<const float> got = model->encoder.classify(input, tape);
        for (std::size_t i = 0; i < which.size(); ++i)
          std::copy_n(got.row(static_cast<Index>(i)).data(), got.cols(), out.row(static_cast<Index>(which[i])).data());
      });
      return out;
    };
  }

  void read_causal(const std::filesystem::path& folder) {
    auto network = model::load_causal_lm(folder);
    require<ConfigError>(
        network.shape().labels > 0, folder.string(),
        " predicts tokens, it has no score head; a reward model (...ForSequenceClassification) is expected");
    labels_ = network.shape().labels;
    auto text = text::Tokenizer::from_json(folder / "tokenizer.json");
    logits_ = [scorer = std::make_shared<CausalScorer>(std::move(network), std::move(text), folder.string())](
                  std::span<const std::string> texts) { return scorer->logits(texts); };
  }

  double value(View<const float> logit) const {
    if (logit.cols() == 1) return static_cast<double>(logit[0]);
    double most = -INFINITY, rest = 0;
    for (Index k = 0; k < logit.cols(); ++k)
      if (k != label_) most = std::max(most, static_cast<double>(logit[k]));
    for (Index k = 0; k < logit.cols(); ++k)
      if (k != label_) rest += std::exp(static_cast<double>(logit[k]) - most);
    return static_cast<double>(logit[label_]) - most - std::log(rest);
  }

  static Index choose_label(const io::Json& config, Index labels, const std::string& wanted, const std::string& where) {
    std::vector<std::string> names;
    for (Index k = 0; k < labels; ++k) names.push_back("LABEL_" + std::to_string(k));
    if (const io::Json* list = io::json_find(config, "id2label"); list != nullptr && list->is_object())
      for (Index k = 0; k < labels; ++k)
        if (const auto found = list->find(std::to_string(k)); found != list->end() && found->is_string())
          names[static_cast<std::size_t>(k)] = found->get<std::string>();
    std::string known;
    for (Index k = 0; k < labels; ++k) {
      const std::string& label = names[static_cast<std::size_t>(k)];
      if (!wanted.empty() && (lower(label) == lower(wanted) || std::to_string(k) == wanted)) return k;
      if (wanted.empty() && labels == 2 && lower(label).starts_with("pos")) return k;
      known += (k > 0 ? ", " : "") + std::to_string(k) + " (" + label + ')';
    }
    require<ConfigError>(wanted.empty(), where, ": unknown label '", wanted, "'; known: ", known);
    require<ConfigError>(labels <= 2, where, ": choose the label to reward; known: ", known);
    return labels - 1;
  }
  static std::string lower(std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  }

  Logits logits_;  // [n] texts -> [n, labels]
  Index labels_ = 0, label_ = 0;
  TextInput input_ = TextInput::prompt_response;
};
}  // namespace vbon::reward
