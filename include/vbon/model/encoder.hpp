// vbon/model/encoder.hpp
//
// A BERT-like encoder on ragged sequences: embeddings, L post-norm blocks, and for a classifier a head
// on the first token. Gradients are derived by hand. All numbers lie in one Parameters object under the
// names of the checkpoint; family/*.hpp hold what differs between families, encoder_load.hpp reads files.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vbon/kernel/embedding.hpp"
#include "vbon/model/encoder_input.hpp"
#include "vbon/model/encoder_layer.hpp"
#include "vbon/model/encoder_shape.hpp"
#include "vbon/model/linear.hpp"
#include "vbon/model/parameters.hpp"

namespace vbon::model {
/// Activations of one batch. Reuse one for many batches: its memory is kept.
struct EncoderTape {
  EncoderInput input;
  std::vector<TokenId> position;          // [T]
  std::vector<kernel::Segment> segments;  // [B]
  EncoderNorm::Tape embedding_norm;
  Buffer<> embedded;                      // [T, C] input of the first layer
  std::vector<EncoderLayer::Tape> layer;  // [L] with Keep::all, otherwise two that take turns
  Buffer<> first, dense, active, logits;  // [B, C], [B, C], [B, C], [B, K] of the classification head
  EncoderLayer::Scratch scratch;          // backward only
  Buffer<> dhidden, dactive, ddense, dfirst;

  /// Hidden states after `layers` blocks [T, C]; 0: the embeddings. All of them are there with Keep::all.
  View<const float> hidden(Index layers) const {
    return layers == 0 ? embedded.view() : layer[static_cast<std::size_t>(layers) - 1].output.view();
  }
};

class Encoder {
 public:
  /// An encoder without values yet: fill parameters().values(), then call parameters_changed().
  /// @throws ConfigError when the sizes do not fit each other
  template <class = void>
  Encoder(const EncoderShape& shape, const EncoderNames& names) : shape_(shape), names_(names) {
    check(shape_);
    // A file without a head spells its tensors without the family's prefix.
    const std::string prefix(shape_.labels > 0 ? names_.prefix : "");
    const auto table = [&](EncoderSlot slot, Index rows) {
      return parameters_.add(prefix + names_.tensor(slot, 0) + ".weight", {rows, shape_.width});
    };
    word_table_ = table(EncoderSlot::word_table, shape_.vocabulary);
    position_table_ = table(EncoderSlot::position_table, shape_.positions);
    if (shape_.types > 0) type_table_ = table(EncoderSlot::type_table, shape_.types);
    embedding_norm_ =
        EncoderNorm(parameters_, prefix + names_.tensor(EncoderSlot::embedding_norm, 0), shape_.width, shape_.norm_epsilon);
    for (Index l = 0; l < shape_.layers; ++l) layers_.emplace_back(parameters_, shape_, names_, prefix, l);
    if (shape_.labels > 0) {
      head_dense_ = Linear(parameters_, names_.tensor(EncoderSlot::head_dense, 0), shape_.width, shape_.width);
      head_output_ = Linear(parameters_, names_.tensor(EncoderSlot::head_output, 0), shape_.labels, shape_.width);
    }
  }

  const EncoderShape& shape() const { return shape_; }
  const EncoderNames& names() const { return names_; }
  Parameters<>& parameters() { return parameters_; }
  const Parameters<>& parameters() const { return parameters_; }

  /// The first parameter behind the body (transformers' base_model, to which BERT's pooler belongs): of the head.
  /// @throws ConfigError when the model has no classification head
  template <class = void>
  Index head_offset() const {
    require_head("Encoder::head_offset");
    const Linear& first = names_.tensor(EncoderSlot::head_dense, 0).starts_with(names_.prefix) ? head_output_ : head_dense_;
    return first.place();
  }

  /// What both factors of every product of the linear maps are rounded to.
  kernel::Precision precision() const { return layers_.front().precision(); }
  /// From now on, also of copies, which share what is packed. Call parameters_changed() before the next pass; the head's
  /// maps, which have one row for each sequence, are rounded as the others.
  template <class = void>
  void set_precision(kernel::Precision precision) {
    for_each_linear([&](Linear& linear) { linear.set_precision(precision); });
  }

  /// Refreshes what is derived from the parameters. Call it after every change of them.
  template <class = void>
  void parameters_changed() {
    for_each_linear([&](Linear& linear) { linear.pack(parameters_); });
  }
  /// The same after a change of the head alone.
  template <class = void>
  void head_changed() {
    if (shape_.labels > 0) {
      head_dense_.pack(parameters_);
      head_output_.pack(parameters_);
    }
  }

  /// Hidden states after the last block.
  /// @return [T, C], inside the tape
  /// @throws ShapeError, DomainError when a sequence is too long or a token unknown
  template <class = void>
  View<const float> forward(const EncoderInput& input, EncoderTape& tape, Keep keep = Keep::output) const {
    return forward(input, tape, keep, [](Index, View<const float>) {});
  }
  /// The same, showing visit(l, hidden [T, C]) the states after l blocks for l = 0 to L as they appear.
  template <class Visit>
  View<const float> forward(const EncoderInput& input, EncoderTape& tape, Keep keep, const Visit& visit) const {
    check(input, shape_);
    if (&input != &tape.input) tape.input = input;
    tape.position = encoder_positions(input, shape_);
    tape.segments = encoder_segments(input);
    tape.layer.resize(keep == Keep::all ? layers_.size() : std::min<std::size_t>(layers_.size(), 2));
    embed(tape);
    View<const float> x = tape.embedded.view();
    visit(Index{0}, x);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      x = layers_[l].forward(parameters_, x, tape.segments, tape.layer[keep == Keep::all ? l : l % 2], keep);
      visit(static_cast<Index>(l) + 1, x);
    }
    return x;
  }

  /// Adds to the gradients of all parameters but the head's.
  /// @param tape     of forward(..., Keep::all)
  /// @param dhidden  [T, C]; its memory is used up
  template <class = void>
  void backward(EncoderTape& tape, View<float> dhidden) {
    require<ShapeError>(
        tape.layer.size() == layers_.size() && dhidden.rows() == tape.input.tokens() && dhidden.cols() == shape_.width,
        "Encoder::backward: the tape of a forward pass with Keep::all and dhidden [", tape.input.tokens(), ", ",
        shape_.width, "] expected, got ", tape.layer.size(), " kept layers and [", dhidden.rows(), ", ", dhidden.cols(),
        "]");
    for (std::size_t l = layers_.size(); l-- > 0;)
      layers_[l].backward(parameters_, tape.hidden(static_cast<Index>(l)), tape.segments, tape.layer[l], tape.scratch,
                          dhidden);
    const View<float> dsum = tape.scratch.narrow[0].shaped(dhidden.rows(), dhidden.cols());
    embedding_norm_.backward(parameters_, tape.embedding_norm, dhidden, dsum);
    kernel::embedding_backward(Cpu{}, tape.input.token, dsum, parameters_.gradient(word_table_));
    kernel::embedding_backward(Cpu{}, tape.position, dsum, parameters_.gradient(position_table_));
    if (shape_.types > 0) kernel::embedding_backward(Cpu{}, tape.input.type, dsum, parameters_.gradient(type_table_));
  }

  /// Logits of the classification head, from the first token of each sequence.
  /// @return [B, labels], inside the tape
  /// @throws ConfigError when the model has no classification head
  template <class = void>
  View<const float> classify(const EncoderInput& input, EncoderTape& tape, Keep keep = Keep::output) const {
    require_head("Encoder::classify");
    first_states(input, tape, keep);
    return head(tape);
  }
  /// What the head reads: the state of the first token of each sequence after the last block.
  /// @return [B, C], inside the tape
  template <class = void>
  View<const float> first_states(const EncoderInput& input, EncoderTape& tape, Keep keep = Keep::output) const {
    const View<const float> hidden = forward(input, tape, keep);
    const View<float> first = tape.first.shaped(input.sequences(), shape_.width);
    for (Index i = 0; i < first.rows(); ++i)
      first.row(i).array() = hidden.row(input.offset[static_cast<std::size_t>(i)]).array();
    return first;
  }
  /// Logits of the head from tape.first [B, C], which first_states() or the caller filled.
  /// @return [B, labels], inside the tape
  template <class = void>
  View<const float> head(EncoderTape& tape) const {
    const View<const float> first = tape.first.view();
    const Index b = first.rows(), c = shape_.width;
    const View<float> dense = tape.dense.shaped(b, c);
    head_dense_.forward(parameters_, first, dense);
    const View<float> active = tape.active.shaped(b, c);
    if (shape_.head_activation == HeadActivation::tanh)
      kernel::activate<kernel::Tanh>(Cpu{}, dense, active);
    else
      kernel::activate<kernel::Relu>(Cpu{}, dense, active);
    head_output_.forward(parameters_, active, tape.logits.shaped(b, shape_.labels));
    return tape.logits.view();
  }

  /// Adds to the gradients of all parameters.
  /// @param tape     of classify(..., Keep::all)
  /// @param dlogits  [B, labels]
  template <class = void>
  void classify_backward(EncoderTape& tape, View<const float> dlogits) {
    require<ShapeError>(dlogits.rows() == tape.input.sequences(), "Encoder::classify_backward: gradients of ",
                        tape.input.sequences(), " sequences expected, got ", dlogits.rows());
    const View<const float> dfirst = head_backward(tape, dlogits);
    const View<float> dhidden = tape.dhidden.shaped(tape.input.tokens(), shape_.width);
    dhidden.array() = 0;
    for (Index i = 0; i < dfirst.rows(); ++i)
      dhidden.row(tape.input.offset[static_cast<std::size_t>(i)]).array() = dfirst.row(i).array();
    backward(tape, dhidden);
  }
  /// Adds to the gradients of the head, those that are not frozen.
  /// @param tape     of head()
  /// @param dlogits  [B, labels]
  /// @return         d loss / d tape.first [B, C], inside the tape
  template <class = void>
  View<const float> head_backward(EncoderTape& tape, View<const float> dlogits) {
    const Index b = tape.first.view().rows(), c = shape_.width;
    require<ShapeError>(dlogits.rows() == b && dlogits.cols() == shape_.labels, "Encoder::head_backward: [", b, ", ",
                        shape_.labels, "] gradients expected, got [", dlogits.rows(), ", ", dlogits.cols(), "]");
    const View<float> dactive = tape.dactive.shaped(b, c);
    head_output_.backward(parameters_, dlogits, tape.active.view(), dactive);
    const View<float> ddense = tape.ddense.shaped(b, c);
    if (shape_.head_activation == HeadActivation::tanh)
      kernel::activate_backward<kernel::Tanh>(Cpu{}, tape.dense.view(), dactive, ddense);
    else
      kernel::activate_backward<kernel::Relu>(Cpu{}, tape.dense.view(), dactive, ddense);
    const View<float> dfirst = tape.dfirst.shaped(b, c);
    head_dense_.backward(parameters_, ddense, tape.first.view(), dfirst);
    return dfirst;
  }

 private:
  template <class Use>
  void for_each_linear(const Use& use) {
    for (EncoderLayer& layer : layers_) layer.for_each_linear(use);
    if (shape_.labels == 0) return;
    use(head_dense_);
    use(head_output_);
  }
  void require_head(std::string_view who) const {
    require<ConfigError>(shape_.labels > 0, who, ": this checkpoint has no classification head");
  }
  /// h = LN(word + type + position)
  template <class = void>
  void embed(EncoderTape& tape) const {
    const Index rows = tape.input.tokens(), c = shape_.width;
    const View<float> sum = tape.embedding_norm.sum.shaped(rows, c);
    kernel::embedding(Cpu{}, parameters_.value(word_table_), tape.input.token, sum);
    if (shape_.types > 0) kernel::embedding(Cpu{}, parameters_.value(type_table_), tape.input.type, sum, true);
    kernel::embedding(Cpu{}, parameters_.value(position_table_), tape.position, sum, true);
    embedding_norm_.forward(parameters_, tape.embedding_norm, tape.embedded.shaped(rows, c));
  }

  EncoderShape shape_;
  EncoderNames names_;
  Parameters<> parameters_;
  Index word_table_ = 0, position_table_ = 0, type_table_ = 0;
  EncoderNorm embedding_norm_;
  std::vector<EncoderLayer> layers_;
  Linear head_dense_, head_output_;
};
}  // namespace vbon::model
