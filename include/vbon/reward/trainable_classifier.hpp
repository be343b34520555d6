// vbon/reward/trainable_classifier.hpp
//
// Sequence classifiers that train: an encoder with a classification head, a causal language model with a score
// head, each as transformers' AutoModelForSequenceClassification knows it. A head that is missing is made. All is
// trained, or the head alone on states that are computed once.
#pragma once
#include <algorithm>
#include <concepts>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/model/classifier_kind.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"
#include "vbon/model/score.hpp"
#include "vbon/optim/parameter_range.hpp"
#include "vbon/reward/causal_scorer.hpp"
#include "vbon/reward/encoder_text.hpp"
#include "vbon/reward/label.hpp"
#include "vbon/reward/text_files.hpp"

namespace vbon::reward {
/// The token ids of some sequences.
using Sequences = std::vector<std::span<const TokenId>>;

template <class M>
concept TrainableClassifier = requires(M& model, const M& same, const Sequences& batch, View<const float> values,
                                       View<const float> (*loss)(View<const float> logits)) {
  { same.labels() } -> std::same_as<Index>;
  { same.label() } -> std::same_as<Index>;                     // whose log-odds are the reward, where there are several
  { same.width() } -> std::same_as<Index>;                     // C
  { model.logits(batch) } -> std::same_as<View<const float>>;  // [n, labels], valid until the next call
  { model.states(batch) } -> std::same_as<View<const float>>;  // [n, C] that the head reads
  { model.head_logits(values) } -> std::same_as<View<const float>>;  // [n, labels] of states
  model.head_backward(values);  // adds to the head's gradients, from d loss / d logits of the last head_logits()
  model.backward(batch, loss);  // adds to all gradients; loss(logits) returns d loss / d logits
  model.train_head_only();      // from now on parameters() and gradients() are the head's
  { same.undecayed() } -> std::same_as<std::vector<optim::ParameterRange>>;  // parts of parameters() without decay
  { model.parameters() } -> std::same_as<View<float>>;
  { model.gradients() } -> std::same_as<View<float>>;
  model.zero_gradients();
  model.parameters_changed();
};

namespace detail {
/// Puts the tokenizer's files and the kind of problem beside weights that were just saved.
/// @param pad  the token that pads, named in tokenizer_config.json where it names none; empty: left as it is
template <class = void>
void complete_classifier(const std::filesystem::path& from, const std::filesystem::path& folder,
                         std::string_view problem_type, std::string_view pad) {
  copy_text_files(from, folder);
  const auto set = [&](const char* file, const char* key, std::string_view value, bool only_if_absent) {
    const auto path = folder / file;
    io::Json json = std::filesystem::exists(path) ? io::read_json(path) : io::Json::object();
    if (only_if_absent && json.is_object() && io::json_find(json, key) != nullptr) return;
    json[key] = value;
    io::write_file_atomically(path, json.dump(2) + '\n');
  };
  set("config.json", "problem_type", problem_type, false);
  if (!pad.empty()) set("tokenizer_config.json", "pad_token", pad, true);
}
template <class = void>
bool is_new_head(const io::Json& config, const io::Json& before, const model::NewHead& head) {
  return head.replace || config.value("architectures", io::Json()) != before.value("architectures", io::Json());
}
template <class = void>
Index label_to_train(const io::Json& config, Index labels, const std::filesystem::path& folder) {
  require<ConfigError>(labels <= 2, folder.string(), ": a reward is trained on one label or two, this head has ", labels,
                       "; begin a new head of one label (--new-head)");
  return choose_label(config, labels, "", folder.string());
}
/// Biases and norms, from which transformers' trainer keeps weight decay away.
template <class = void>
std::vector<optim::ParameterRange> undecayed(const model::Parameters<>& parameters) {
  std::vector<optim::ParameterRange> ranges;
  Index begin = 0;  // of the parameter among those that are trained
  for (const model::Parameter& p : parameters.list()) {
    if (parameters.frozen_at(p.offset)) continue;
    if (p.shape.size() == 1) ranges.push_back({.begin = begin, .count = p.size(), .weight_decay = 0});
    begin += p.size();
  }
  return ranges;
}
template <class = void>
std::vector<TokenId> cut_tokens(const text::Tokenizer& tokenizer, const std::string& text, Index length) {
  const text::Truncation truncation{.max_length = static_cast<std::size_t>(length),
                                    .side = tokenizer.truncation().value_or(text::Truncation{}).side};
  return tokenizer.encode_batch(std::span(&text, 1), {.truncation = truncation})[0].ids;
}
}  // namespace detail

/// An encoder, read at its first token.
class TrainableEncoder {
 public:
  /// @throws RunError, FormatError, ConfigError naming file, entry or tensor
  template <class = void>
  static TrainableEncoder load(const std::filesystem::path& folder, const model::NewHead& head) {
    const io::Json before = io::read_json(folder / "config.json");
    auto checkpoint = model::EncoderCheckpoint::load(folder, "config.json", head);
    EncoderText text(folder, checkpoint.encoder.shape());
    const Index label = detail::label_to_train(checkpoint.config, checkpoint.encoder.shape().labels, folder);
    const bool fresh = detail::is_new_head(checkpoint.config, before, head);
    return {folder, std::move(checkpoint), std::move(text), label, fresh};
  }

  Index labels() const { return checkpoint_.encoder.shape().labels; }
  Index label() const { return label_; }
  Index width() const { return checkpoint_.encoder.shape().width; }
  bool new_head() const { return new_head_; }
  const text::Tokenizer& tokenizer() const { return text_.tokenizer(); }
  /// The longest sequence, special tokens included.
  Index max_length() const { return text_.max_length(); }
  /// The tokens of a text as a Classifier reads them, never cut, and those cut to a length.
  template <class = void>
  std::vector<TokenId> tokens(const std::string& text) const {
    return tokenizer().encode(text);
  }
  template <class = void>
  std::vector<TokenId> tokens(const std::string& text, Index length) const {
    return detail::cut_tokens(tokenizer(), text, length);
  }

  template <class = void>
  View<const float> logits(const Sequences& batch) {
    return encoder().classify(input(batch), tape_);
  }
  template <class = void>
  View<const float> states(const Sequences& batch) {
    return encoder().first_states(input(batch), tape_);
  }
  template <class = void>
  View<const float> head_logits(View<const float> states) {
    const View<float> first = tape_.first.shaped(states.rows(), states.cols());
    std::copy(states.begin(), states.end(), first.begin());
    return encoder().head(tape_);
  }
  template <class = void>
  void head_backward(View<const float> dlogits) {
    encoder().head_backward(tape_, dlogits);
  }
  template <class Loss>
  void backward(const Sequences& batch, const Loss& loss) {
    const View<const float> logits = encoder().classify(input(batch), tape_, model::Keep::all);
    encoder().classify_backward(tape_, loss(logits));
  }

  template <class = void>
  void train_head_only() {
    head_only_ = true;
    encoder().parameters().freeze_before(encoder().head_offset());
  }
  std::vector<optim::ParameterRange> undecayed() const { return detail::undecayed(checkpoint_.encoder.parameters()); }
  template <class = void>
  View<float> parameters() {
    return encoder().parameters().trained_values();
  }
  template <class = void>
  View<float> gradients() {
    return encoder().parameters().gradients();
  }
  void zero_gradients() { encoder().parameters().zero_gradients(); }
  template <class = void>
  void parameters_changed() {
    head_only_ ? encoder().head_changed() : encoder().parameters_changed();
  }

  /// Writes a folder that AutoModelForSequenceClassification and Classifier load.
  template <class = void>
  void save(const std::filesystem::path& folder, std::string_view problem_type) const {
    checkpoint_.save(folder);
    detail::complete_classifier(folder_, folder, problem_type, "");
  }

 private:
  template <class = void>
  TrainableEncoder(std::filesystem::path folder, model::EncoderCheckpoint checkpoint, EncoderText text, Index label,
                   bool new_head)
      : folder_(std::move(folder)),
        checkpoint_(std::move(checkpoint)),
        text_(std::move(text)),
        label_(label),
        new_head_(new_head) {}
  model::Encoder& encoder() { return checkpoint_.encoder; }
  template <class = void>
  static model::EncoderInput input(const Sequences& batch) {
    model::EncoderInput input;
    for (const auto& sequence : batch) input.add(sequence);
    return input;
  }

  std::filesystem::path folder_;
  model::EncoderCheckpoint checkpoint_;
  EncoderText text_;
  Index label_;
  bool new_head_, head_only_ = false;
  model::EncoderTape tape_;
};

/// A causal language model, read at the last token that is not padding.
class TrainableCausalLm {
 public:
  /// @throws RunError, FormatError, ConfigError naming file, entry or tensor
  template <class = void>
  static TrainableCausalLm load(const std::filesystem::path& folder, const model::NewHead& head) {
    const io::Json before = io::read_json(model::config_file(folder));
    auto tokenizer = text::Tokenizer::from_json(folder / "tokenizer.json");
    const auto pad = tokenizer.pad() ? tokenizer.pad() : tokenizer.eos();
    auto network = model::load_scorer(folder, head, pad.value_or(-1));
    const Index label = detail::label_to_train(network.config(), network.shape().labels, folder);
    const bool fresh = detail::is_new_head(network.config(), before, head);
    return {folder, CausalScorer(std::move(network), std::move(tokenizer), folder.string()), label, fresh};
  }

  Index labels() const { return network().shape().labels; }
  Index label() const { return label_; }
  Index width() const { return network().shape().width; }
  bool new_head() const { return new_head_; }
  const text::Tokenizer& tokenizer() const { return scorer_.tokenizer(); }
  Index max_length() const { return network().shape().context; }
  template <class = void>
  std::vector<TokenId> tokens(const std::string& text) const {
    return one_begin(tokenizer().encode(text));
  }
  template <class = void>
  std::vector<TokenId> tokens(const std::string& text, Index length) const {
    // With a second begin token that goes there is room for one token more.
    const bool twice = tokens(text).size() < tokenizer().encode(text).size();
    return one_begin(detail::cut_tokens(tokenizer(), text, length + (twice ? 1 : 0)));
  }

  template <class = void>
  View<const float> logits(const Sequences& batch) {
    const auto in = input(batch);
    const View<float> out = logits_.shaped(static_cast<Index>(batch.size()), labels());
    network().score(in.forest, in.row, out);
    return out;
  }
  template <class = void>
  View<const float> states(const Sequences& batch) {
    auto in = input(batch);
    in.forest.read_row = in.row;
    return network().read_states(in.forest);
  }
  template <class = void>
  View<const float> head_logits(View<const float> states) {
    states_ = states;
    const View<float> out = logits_.shaped(states.rows(), labels());
    network().head(states, out);
    return out;
  }
  template <class = void>
  void head_backward(View<const float> dlogits) {
    network().score_head_backward(states_, dlogits);
  }
  template <class Loss>
  void backward(const Sequences& batch, const Loss& loss) {
    const auto in = input(batch);
    network().score_backward(in.forest, in.row, loss);
  }

  /// From now on backward() computes the activations of a block again instead of keeping those of all: less memory, the
  /// same bits.
  void recompute() { network().memory.recompute = true; }
  void train_head_only() {
    network().memory.keep_packed = false;  // once the states are known only the head is computed with
    network().parameters().freeze_before(network().network().head.place());
  }
  std::vector<optim::ParameterRange> undecayed() const { return detail::undecayed(network().parameters()); }
  template <class = void>
  View<float> parameters() {
    return network().parameters().trained_values();
  }
  template <class = void>
  View<float> gradients() {
    return network().parameters().gradients();
  }
  void zero_gradients() { network().parameters().zero_gradients(); }
  void parameters_changed() { network().parameters_changed(); }

  /// Writes a folder that AutoModelForSequenceClassification and Classifier load.
  template <class = void>
  void save(const std::filesystem::path& folder, std::string_view problem_type) const {
    model::save_causal_lm(network(), folder);
    const TokenId pad = network().shape().pad;
    detail::complete_classifier(folder_, folder, problem_type, pad >= 0 ? tokenizer().token(pad) : std::string_view());
  }

 private:
  template <class = void>
  TrainableCausalLm(std::filesystem::path folder, CausalScorer scorer, Index label, bool new_head)
      : folder_(std::move(folder)), scorer_(std::move(scorer)), label_(label), new_head_(new_head) {}
  model::CausalLm& network() { return scorer_.network(); }
  const model::CausalLm& network() const { return scorer_.network(); }
  template <class = void>
  std::vector<TokenId> one_begin(std::vector<TokenId> tokens) const {
    return scored_tokens(std::move(tokens), tokenizer(), network().shape());
  }
  template <class = void>
  model::ScoreInput input(const Sequences& batch) const {
    model::ScoreInput input;
    for (const auto& sequence : batch) input.add(sequence, network().shape().pad);
    return input;
  }

  std::filesystem::path folder_;
  CausalScorer scorer_;
  Index label_;
  bool new_head_;
  model::Buffer<> logits_;
  View<const float> states_;  // of the last head_logits()
};
static_assert(TrainableClassifier<TrainableEncoder> && TrainableClassifier<TrainableCausalLm>);

/// Loads what config.json describes and calls f(model).
/// @throws ConfigError for an unknown family; what load() throws
template <class F>
decltype(auto) with_trainable_classifier(const std::filesystem::path& folder, const model::NewHead& head, const F& f) {
  require<ConfigError>(!model::is_gguf(folder), folder.string(),
                       ": a GGUF file holds no classifier that trains here; give a Hugging Face folder");
  const auto path = model::config_file(folder);
  const io::Json config = io::read_json(path);
  if (model::classifier_kind(model::ConfigReader(config, path.string())) == model::ClassifierKind::encoder) {
    auto encoder = TrainableEncoder::load(folder, head);
    return f(encoder);
  }
  auto network = TrainableCausalLm::load(folder, head);
  return f(network);
}
}  // namespace vbon::reward
