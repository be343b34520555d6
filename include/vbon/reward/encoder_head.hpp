// vbon/reward/encoder_head.hpp
//
// A reward model that trains in seconds: a frozen sentence encoder and a linear score on what it makes of a
// text. Trained here from scored texts or from preferences; kept as a small folder that names its encoder
// (reward.json, head.safetensors), or as a self-contained one with the encoder inside.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/safetensors.hpp"
#include "vbon/io/write_safetensors.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/head_training.hpp"
#include "vbon/reward/linear_head.hpp"
#include "vbon/reward/sentence_encoder.hpp"
#include "vbon/reward/text_input.hpp"
#include "vbon/reward/training_data.hpp"

namespace vbon::reward {
/// Bradley-Terry fit of a head to preferences.
struct PreferenceOptions {
  double l2 = 1e-3;
  double centering = 0;  // pulls the mean reward of each pair to 0; without it only differences are learnt
  std::vector<Index> layers = {};
};

class EncoderHead {
 public:
  static constexpr std::string_view name = "encoder_head";
  static constexpr std::string_view argument = "FOLDER with reward.json and head.safetensors";

  EncoderHead() = default;
  /// An untrained head; train() it.
  template <class = void>
  explicit EncoderHead(std::shared_ptr<const SentenceEncoder> encoder, TextInput input = TextInput::prompt_response)
      : encoder_(std::move(encoder)), input_(input) {
    require<ConfigError>(encoder_ != nullptr, "EncoderHead: an encoder expected");
  }

  /// Fits the head to one score for each text (the text as the reward will read it).
  /// @throws ShapeError, DomainError, ConfigError
  template <class = void>
  HeadReport train(std::span<const std::string> texts, std::span<const double> scores, const HeadOptions& options = {}) {
    require_encoder();
    require<ShapeError>(texts.size() == scores.size() && !texts.empty(), "EncoderHead::train: ", texts.size(),
                        " scores expected (at least one), got ", scores.size());
    layers_ = options.layers.empty() ? default_head_layers(encoder_->layers()) : options.layers;
    const Tensor<float> features = encoder_->features(texts, layers_);
    std::vector<std::uint64_t> fold;
    for (const std::string& text : texts) fold.push_back(stable_hash(text));
    auto [head, report] = train_linear_head(HeadFitter(features.view()), features.view(), scores, fold, options);
    head_ = std::move(head);
    about_ = {{"loss", name_of(options.loss)}, {"l2", report.l2}, {"texts", texts.size()}};
    if (options.loss == HeadLoss::logistic) about_["threshold"] = options.threshold;
    return std::move(report);
  }
  template <class = void>
  HeadReport train(std::span<const ScoredText> rows, const HeadOptions& options = {}) {
    std::vector<std::string> texts;
    std::vector<double> scores;
    for (const ScoredText& row : rows) {
      texts.push_back(text_of(row.prompt, row.response));
      scores.push_back(row.score);
    }
    return train(texts, scores, options);
  }
  /// Fits the head to preferences.
  template <class = void>
  HeadReport train(std::span<const PreferencePair> pairs, const PreferenceOptions& options = {}) {
    require_encoder();
    require<ShapeError>(!pairs.empty(), "EncoderHead::train: at least one preference expected");
    require<DomainError>(options.centering >= 0, "EncoderHead::train: centering >= 0 expected, got ", options.centering);
    layers_ = options.layers.empty() ? default_head_layers(encoder_->layers()) : options.layers;
    std::vector<std::string> texts;
    PreferenceLoss loss{.margin = {}, .centering = options.centering};
    for (const PreferencePair& pair : pairs) {
      texts.push_back(text_of(pair.prompt, pair.chosen));
      loss.margin.push_back(pair.margin);
    }
    for (const PreferencePair& pair : pairs) texts.push_back(text_of(pair.prompt, pair.rejected));
    auto fit = HeadFitter(encoder_->features(texts, layers_).view()).fit(loss, options.l2);
    head_ = std::move(fit.head);
    about_ = {{"loss", "preference"}, {"l2", options.l2}, {"centering", options.centering}, {"pairs", pairs.size()}};
    return {.l2 = options.l2,
            .loss = fit.minimum.value,
            .iterations = fit.minimum.iterations,
            .converged = fit.minimum.converged};
  }

  /// One score for each text, in order; the same whatever else is scored with it.
  /// @throws ConfigError before training
  template <class = void>
  Array score(std::span<const std::string> texts) const {
    require_encoder();
    require<ConfigError>(!head_.weight.empty(), "EncoderHead: the head is not trained yet");
    return head_(encoder_->features(texts, layers_).view());
  }
  /// @throws ConfigError before training, ShapeError for a batch without text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    return checked(score(texts_of(batch, input_, name)), batch, name);
  }

  const std::shared_ptr<const SentenceEncoder>& encoder() const { return encoder_; }
  const LinearHead& head() const { return head_; }
  const std::vector<Index>& layers() const { return layers_; }
  TextInput input() const { return input_; }

  /// Writes FOLDER/head.safetensors and, last, FOLDER/reward.json.
  /// @param with_encoder  copy the encoder into FOLDER/encoder; otherwise reward.json names where it is
  /// @throws ConfigError before training, RunError naming the path
  template <class Json = nlohmann::ordered_json>
  void save(const std::filesystem::path& folder, bool with_encoder = false) const {
    require_encoder();
    require<ConfigError>(!head_.weight.empty(), "EncoderHead: the head is not trained yet");
    io::make_folder(folder);
    if (with_encoder) copy_encoder(folder / "encoder");
    const auto bytes = std::as_bytes(std::span(head_.weight));
    const double bias[] = {head_.bias};
    const io::TensorToWrite tensors[] = {{"weight", {static_cast<Index>(head_.weight.size())}, {}, io::Dtype::f64, bytes},
                                         {"bias", {1}, {}, io::Dtype::f64, std::as_bytes(std::span(bias))}};
    io::write_safetensors(folder / "head.safetensors", tensors);
    const Json about = {{"reward", name},
                        {"encoder", with_encoder ? "encoder" : std::filesystem::absolute(encoder_->folder()).string()},
                        {"encoder_fingerprint", encoder_->fingerprint()},
                        {"layers", layers_},
                        {"input", name_of(input_)},
                        {"training", about_}};
    io::write_file_atomically(folder / "reward.json", about.dump(2) + '\n');
  }

  /// Reads what save() wrote.
  /// @param encoder    use this one instead of the one that reward.json names (it was moved, or is loaded already)
  /// @param precision  of the products of the encoder that reward.json names
  /// @throws RunError, FormatError; ConfigError when the encoder has other weights than the head was trained on
  template <class = void>
  static EncoderHead load(const std::filesystem::path& folder, std::shared_ptr<const SentenceEncoder> encoder = nullptr,
                          kernel::Precision precision = kernel::Precision::float32) {
    const auto path = folder / "reward.json";
    const io::Json about = io::read_json(path);
    const std::string where = path.string();
    const auto kind = io::json_get<std::string>(about, "reward", where);
    require<FormatError>(kind == name, where, ": a reward '", kind, "', '", name, "' was expected");
    if (encoder == nullptr) {
      const std::filesystem::path place = io::json_get<std::string>(about, "encoder", where);
      const auto full = place.is_absolute() ? place : folder / place;
      require<RunError>(std::filesystem::exists(full / "config.json"), where, ": its encoder is not at ", full.string(),
                        " any more; put it back or change \"encoder\" there");
      encoder = std::make_shared<const SentenceEncoder>(SentenceEncoder::load(full, precision));
    }
    EncoderHead reward(std::move(encoder), text_input(io::json_get<std::string>(about, "input", where)));
    require<ConfigError>(reward.encoder_->fingerprint() == io::json_get<std::uint64_t>(about, "encoder_fingerprint", where),
                         where, ": the encoder ", reward.encoder_->folder().string(),
                         " has other weights than the one this head was trained on");
    const io::Json* layers = io::json_find(about, "layers");
    require<FormatError>(layers != nullptr && layers->is_array() && !layers->empty(), where,
                         ": the field \"layers\" must be a list");
    for (const io::Json& layer : *layers) reward.layers_.push_back(io::json_as<Index>(layer, where + ": layers"));
    reward.read_head(io::SafetensorsFile::open(folder / "head.safetensors"));
    if (const io::Json* training = io::json_find(about, "training")) reward.about_ = *training;
    return reward;
  }
  template <class = void>
  static EncoderHead open(const std::string& folder, kernel::Precision precision = kernel::Precision::float32) {
    return load(folder, nullptr, precision);
  }

 private:
  void require_encoder() const { require<ConfigError>(encoder_ != nullptr, "EncoderHead: no encoder was given"); }
  template <class = void>
  std::string text_of(const std::string& prompt, const std::string& response) const {
    return input_ == TextInput::response ? response : prompt + response;
  }
  template <class = void>
  void read_head(const io::SafetensorsFile& file) {
    const Index width = encoder_->width() * static_cast<Index>(layers_.size());
    const auto read = [&](const char* tensor, Index size) {
      const io::TensorInfo& info = file.info(tensor);
      require<FormatError>(info.dtype == io::Dtype::f64 && info.size == size, file.path(), ": tensor \"", tensor,
                           "\": ", size, " values of F64 expected, got ", info.size, " of ",
                           io::dtype_format(info.dtype).name);
      std::vector<double> values(static_cast<std::size_t>(size));
      std::memcpy(values.data(), info.bytes.data(), info.bytes.size());
      return values;
    };
    head_ = {read("weight", width), read("bias", 1)[0]};
  }
  template <class = void>
  void copy_encoder(const std::filesystem::path& to) const {
    io::make_folder(to);
    std::error_code error;
    const auto copy = std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive;
    for (const auto& entry : std::filesystem::directory_iterator(encoder_->folder())) {
      const std::string file = entry.path().filename().string();
      const bool wanted =
          entry.path().extension() == ".json" || entry.path().extension() == ".safetensors" || file == "1_Pooling";
      if (wanted && !error) std::filesystem::copy(entry.path(), to / file, copy, error);
    }
    require<RunError>(!error, "cannot copy the encoder to ", to.string(), ": ", error.message());
  }

  std::shared_ptr<const SentenceEncoder> encoder_;
  TextInput input_ = TextInput::prompt_response;
  std::vector<Index> layers_;
  LinearHead head_;
  io::Json about_;  // how it was trained
};
}  // namespace vbon::reward
