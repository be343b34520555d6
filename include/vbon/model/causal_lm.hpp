// vbon/model/causal_lm.hpp
//
// A causal language model on the CPU: parameters in one flat buffer, forward passes over forests of
// sequences, the backward pass by hand, and one-token steps over cached keys and values. The head is
// applied only to the rows that are asked for.
//
// Every row's result depends on its own sequence alone, bit for bit: not on what else is in the batch, not
// on the number of threads, not on whether its past was cached.
//
// A model that was loaded reads its plain linear weights only when something asks for them (parameters.hpp): the
// forward pass uses the packed ones.
//
// Models may share their weights: an adapter (lora.hpp) freezes those of its model and is all that is trained
// then, and base() is the same model without it.
//
// The linear maps and the head may compute in bfloat16 (linear.hpp); parameters, gradients and all else are in float.
#pragma once
#include <algorithm>
#include <concepts>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/random.hpp"
#include "vbon/kernel/attention.hpp"
#include "vbon/kernel/embedding.hpp"
#include "vbon/kernel/token_log_prob.hpp"
#include "vbon/model/block.hpp"
#include "vbon/model/block_backward.hpp"
#include "vbon/model/forest.hpp"
#include "vbon/model/kv_cache.hpp"
#include "vbon/model/lora.hpp"
#include "vbon/model/recording.hpp"
#include "vbon/model/registry.hpp"
#include "vbon/model/rope_table.hpp"

namespace vbon::model {
namespace detail {
/// Attention within a pass: every row sees its segment up to itself, and the segments it continues.
struct ForestAttention {
  std::span<const kernel::Segment> segments;
  kernel::HeadShape heads;

  template <class = void>
  void operator()(BlockActivations<>& kept) const {
    kernel::attention(Cpu{}, kept.q.view(), kept.k.view(), kept.v.view(), segments, heads, kernel::Mask::causal,
                      kept.attended.view(), kept.log_sum_exp.shaped(kept.q.view().rows(), heads.heads));
  }
};

/// What a model shares with its base: the numbers, and whether the packed copies of its linear maps are those of
/// the numbers of now.
struct SharedWeights {
  Parameters<> parameters;
  bool packed = false;
  bool blocks_packed = false;  // all linear maps, not the head alone
  std::uint64_t version = 0;   // counts what changes a result: new numbers, another precision
};
}  // namespace detail

class CausalLm {
 public:
  using device_type = Cpu;

  /// A model of zeros, to be filled through parameters().
  template <class = void>
  explicit CausalLm(Shape shape) : shape_(std::move(shape)), family_(find_family(shape_.family)) {
    check(shape_, "CausalLm");
    config_ = family_.config(shape_);
    network_ = build_network(family_, shape_, parameters());
    parameters().values();
    prepare();
  }
  /// Takes what load_network() returned, and the config.json it was loaded with.
  template <class = void>
  CausalLm(Shape shape, Parameters<> parameters, Network network, Json config)
      : shape_(std::move(shape)),
        family_(find_family(shape_.family)),
        config_(std::move(config)),
        network_(std::move(network)) {
    weights_->parameters = std::move(parameters);
    weights_->packed = weights_->blocks_packed = !network_.head.packed().empty();
    prepare();
  }
  CausalLm(CausalLm&&) = default;
  CausalLm& operator=(CausalLm&&) = default;

  /// A second model with the same parameters: of an adapted one an adapter of its own beside the same weights.
  template <class = void>
  CausalLm clone() const {
    if (adapter_) {
      CausalLm copy = base();
      copy.attach(adapter_->clone());
      return copy;
    }
    CausalLm copy(shape_);
    parameters().copy_to(copy.parameters().values());
    copy.memory = memory;
    copy.set_precision(precision());
    copy.config_ = config_;
    return copy;
  }

  /// Freezes the weights and trains an adapter beside them, in place of an earlier one.
  template <class = void>
  void attach(LoraAdapter adapter) {
    parameters().freeze();
    take_adapter_off();
    adapter_ = std::make_unique<LoraAdapter>(std::move(adapter));
    adapter_->connect(network_);
  }
  /// The adapter, or null.
  const LoraAdapter* adapter() const { return adapter_.get(); }
  LoraAdapter* adapter() { return adapter_.get(); }
  /// This model with the adapter off. The weights are shared, not copied; what is computed on them is the
  /// caller's own. Both must be used from one thread.
  template <class = void>
  CausalLm base() const {
    return CausalLm(*this, SharesWeights{});
  }
  /// Adds scale B A of the adapter to the weights, which are trained from now on.
  /// @throws ConfigError without an adapter, or where another model shares the weights
  template <class = void>
  void merge() {
    require<ConfigError>(adapter_ != nullptr, "CausalLm::merge: this model has no adapter");
    require<ConfigError>(weights_.use_count() == 1,
                         "CausalLm::merge: another model shares the weights and would change too");
    for (Index i = 0; i < static_cast<Index>(parameters().list().size()); ++i) adapter_->merge(i, parameters().value(i));
    take_adapter_off();
    parameters().thaw();
    parameters_changed();
  }

  const Shape& shape() const { return shape_; }
  const FamilyInfo& family() const { return family_; }
  const Network& network() const { return network_; }
  /// The config.json of the model, with whatever entries it came with.
  const Json& config() const { return config_; }
  Parameters<>& parameters() { return weights_->parameters; }
  const Parameters<>& parameters() const { return weights_->parameters; }
  /// What training moves: the adapter's parameters, or all where there is none.
  Parameters<>& trainable() { return adapter_ ? adapter_->parameters() : parameters(); }
  MemoryOptions memory;

  /// What both factors of every product of the linear maps and the head are rounded to.
  kernel::Precision precision() const { return network_.head.precision(); }
  /// From now on, for every model that shares these weights; none of them has a session open. Weights packed for another
  /// precision are packed again from the plain ones; a model that is loaded with its precision never needs those for that.
  template <class = void>
  void set_precision(kernel::Precision precision) {
    if (precision == this->precision()) return;
    ++weights_->version;
    network_.for_each_linear([&](Linear& linear) { linear.set_precision(precision); });
    weights_->packed = false;
  }

  /// Call after the trainable parameters changed: what is derived from them is renewed at the next use.
  void parameters_changed() {
    if (adapter_) return adapter_->changed();
    ++weights_->version;
    weights_->packed = false;
  }

  /// Hidden states of every row after the final norm.   [rows, C], valid until the next pass
  /// @param hidden  takes the embeddings, the stream after each block, and the normed last one instead of
  ///                the last block's; may be null
  template <class = void>
  View<const float> forward(const Forest& forest, std::vector<Tensor<float>>* hidden = nullptr) {
    check_forest(forest);
    renew();
    const View<float> x = embed(forest.token, forest.position);
    if (hidden) hidden->assign(1, to_tensor(x));
    const BlockContext context = this->context(forest.position);
    for (Index layer = 0; layer < shape_.layers; ++layer) {
      block_forward(context, block(layer), x, x, one_block_, attend_over(forest, layer), x);
      if (hidden && layer + 1 < shape_.layers) hidden->push_back(to_tensor(x));
    }
    const View<float> out = finish(x);
    if (hidden) hidden->push_back(to_tensor(out));
    return out;
  }

  /// Logits of hidden rows (of the labels, for a score head).
  /// @param hidden  [T, C] as forward() returns them
  /// @param logits  [T, V]
  template <class = void>
  void head(View<const float> hidden, View<float> logits) {
    renew();
    network_.head.forward(parameters(), hidden, logits);
  }

  /// Hidden states, after the final norm, of the rows that are read.   [reads, C], valid until the next pass
  template <class = void>
  View<const float> read_states(const Forest& forest) {
    return gather(forward(forest), forest.read_row, read_rows_);
  }

  /// log p(read_token | what comes before) for every read of the forest, at a temperature.
  /// @param log_prob  [reads] nats
  /// @param entropy   [reads] of the law, nats; may be empty
  template <class = void>
  void log_prob(const Forest& forest, kernel::HeadOptions options, std::span<double> log_prob,
                std::span<double> entropy = {}) {
    const View<const float> rows = read_states(forest);
    kernel::token_log_prob(Cpu{}, rows, network_.head.packed(), forest.read_token, options, log_prob, {}, entropy);
  }

  /// Exact KL(this || other) of the next-token laws at every read.   [reads] nats
  /// @param other_log_prob  [reads] takes the other's log-probs, which cost its head once more and no other pass; may be
  /// empty
  template <class = void>
  void kl(const Forest& forest, CausalLm& other, kernel::HeadOptions options, std::span<double> kl,
          std::span<double> other_log_prob = {}) {
    require<ShapeError>(other.shape_.vocab == shape_.vocab, "CausalLm::kl: vocabularies of ", shape_.vocab, " and ",
                        other.shape_.vocab, " tokens");
    const View<const float> rows = read_states(forest);
    const View<const float> other_rows = other.read_states(forest);
    kernel::token_kl(Cpu{}, rows, network_.head.packed(), other_rows, other.network_.head.packed(), options, kl);
    if (!other_log_prob.empty())
      kernel::token_log_prob(Cpu{}, other_rows, other.network_.head.packed(), forest.read_token, options, other_log_prob, {},
                             {});
  }

  /// Adds d loss / d parameter to the gradients of trainable(), from d loss / d log_prob of every read.
  /// @param log_prob  [reads] takes the log-probs on the way; may be empty
  template <class = void>
  void backward(const Forest& forest, kernel::HeadOptions options, std::span<const double> dlog_prob,
                std::span<double> log_prob = {}) {
    require<ShapeError>(static_cast<Index>(dlog_prob.size()) == forest.reads(), "CausalLm::backward: ", forest.reads(),
                        " values expected, got ", dlog_prob.size());
    if (log_prob.empty())
      return backward_through_head(
          forest, options, [&](auto) { return dlog_prob; }, false);
    backward(forest, options, [&](std::span<const double> made) {
      std::copy(made.begin(), made.end(), log_prob.begin());
      return dlog_prob;
    });
  }
  /// The same where d loss / d log_prob follows from the log-probs, in one forward pass: loss(log_prob [reads]) returns it
  /// as a span that stays good.
  template <class Loss>
  requires std::invocable<Loss, std::span<const double>>
  void backward(const Forest& forest, kernel::HeadOptions options, const Loss& loss) {
    backward_through_head(forest, options, loss, true);
  }

  /// Outputs of a score head for chosen rows.
  /// @param row     [R] rows of the forest
  /// @param scores  [R, labels]
  template <class = void>
  void score(const Forest& forest, std::span<const Index> row, View<float> scores) {
    require<ConfigError>(shape_.labels > 0, "CausalLm::score: this model predicts tokens, it has no score head");
    head(gather(forward(forest), row, read_rows_), scores);
  }
  /// Adds d loss / d parameter to the gradients, from d loss / d score.   row [R], dscores [R, labels]
  template <class = void>
  void score_backward(const Forest& forest, std::span<const Index> row, View<const float> dscores) {
    score_backward(forest, row, [&](View<const float>) { return dscores; });
  }
  /// The same in one pass with the scores: loss(scores [R, labels]) returns d loss / d score as a view that stays good.
  template <class Loss>
  requires std::invocable<Loss, View<const float>>
  void score_backward(const Forest& forest, std::span<const Index> row, const Loss& loss) {
    require<ConfigError>(shape_.labels > 0, "CausalLm::score_backward: this model has no score head");
    require_trainable();
    forward_kept(forest);
    const View<const float> rows = gather(hidden_.view(), row, read_rows_);
    const View<float> scores = scores_.shaped(rows.rows(), shape_.labels);
    network_.head.forward(parameters(), rows, scores);
    const View<float> drows = score_head_backward(rows, loss(scores));
    Forest read = forest;
    read.read_row.assign(row.begin(), row.end());
    backward_from_reads(read, drows);
  }
  /// Adds to the gradient of the score head alone.
  /// @param rows     [R, C] of read_states()
  /// @param dscores  [R, labels]
  /// @return         d loss / d rows [R, C], valid until the next pass
  template <class = void>
  View<float> score_head_backward(View<const float> rows, View<const float> dscores) {
    const View<float> drows = d_read_rows_.shaped(rows.rows(), rows.cols());
    network_.head.backward(parameters(), dscores, rows, drows);
    return drows;
  }

  /// An empty pool of cache pages of this model's size.
  KvPool<> make_pool() const { return {shape_.layers, shape_.kv_width()}; }
  /// What prefill() and step() record for the backward pass over the same tokens: open it before, close it after them.
  Recording& recording() { return recording_; }
  template <class = void>
  void open_recording(Index rows) {
    recording_.open(shape_.layers, rows, version());
  }
  Recording::Version version() const { return {weights_->version, adapter_ ? adapter_->version() : 0, memory.recompute}; }

  /// A forward pass that also stores keys and values: one cached sequence for each segment. Segments must
  /// be whole sequences (no parents).
  /// @param record  [rows] where each row is recorded; empty: nothing is
  template <class = void>
  View<const float> prefill(const Forest& forest, KvPool<>& pool, std::vector<KvSequence<>>& sequences,
                            std::span<const Index> record = {}) {
    check_forest(forest);
    if (!record.empty()) recording_.check_places(record, forest.rows());
    renew();
    std::vector<std::shared_ptr<KvPage<>>> page;
    for (const kernel::Segment& segment : forest.segment) {
      require<ShapeError>(segment.parent < 0, "CausalLm::prefill: segments without parents expected");
      page.push_back(pool.take(segment.length));
    }
    const View<float> x = embed(forest.token, forest.position);
    const BlockContext context = this->context(forest.position);
    for (Index layer = 0; layer < shape_.layers; ++layer) {
      const auto attend = attend_over(forest, layer);
      sampled_block(context, layer, x, record, [&](BlockActivations<>& kept) {
        attend(kept);
        for (std::size_t i = 0; i < page.size(); ++i) {
          const kernel::Segment& segment = forest.segment[i];
          const View<float> k = kept.k.view().middle_rows(segment.begin, segment.length);
          const View<float> v = kept.v.view().middle_rows(segment.begin, segment.length);
          std::copy(k.begin(), k.end(), page[i]->key(layer, 0));
          std::copy(v.begin(), v.end(), page[i]->value(layer, 0));
        }
      });
    }
    sequences.clear();
    for (std::size_t i = 0; i < page.size(); ++i) {
      sequences.emplace_back();
      sequences.back().append_page(std::move(page[i]), forest.segment[i].length);
    }
    if (!record.empty()) recording_.put_stream(x, record);
    return finish(x);
  }

  /// Appends one token to each cached sequence.
  /// @param token     [B]
  /// @param sequence  [B] distinct sequences; grow by one position
  /// @param record    [B] where each row is recorded; empty: nothing is
  /// @return          [B, C] hidden states after the final norm, valid until the next pass
  template <class = void>
  View<const float> step(std::span<const TokenId> token, std::span<KvSequence<>* const> sequence, KvPool<>& pool,
                         std::span<const Index> record = {}) {
    require<ShapeError>(token.size() == sequence.size(), "CausalLm::step: ", token.size(), " tokens for ", sequence.size(),
                        " sequences");
    if (!record.empty()) recording_.check_places(record, static_cast<Index>(token.size()));
    renew();
    step_position_.clear();
    for (KvSequence<>* s : sequence) {
      require<DomainError>(s->length() < shape_.context, "CausalLm::step: a sequence has reached the context of ",
                           shape_.context, " tokens");
      step_position_.push_back(s->length());
      s->append_row(pool);
    }
    const View<float> x = embed(token, step_position_);
    View<float> log_sum_exp;  // for the backward pass alone
    if (!record.empty()) log_sum_exp = one_block_.log_sum_exp.shaped(x.rows(), shape_.heads);
    const BlockContext context = this->context(step_position_);
    for (Index layer = 0; layer < shape_.layers; ++layer)
      sampled_block(context, layer, x, record, [&](BlockActivations<>& kept) {
        spans_.clear();
        span_offset_.assign(1, 0);
        for (std::size_t i = 0; i < sequence.size(); ++i) {
          const View<float> k = kept.k.view().row(static_cast<Index>(i)), v = kept.v.view().row(static_cast<Index>(i));
          std::copy(k.begin(), k.end(), sequence[i]->last_key(layer));
          std::copy(v.begin(), v.end(), sequence[i]->last_value(layer));
          sequence[i]->spans(layer, spans_);
          span_offset_.push_back(static_cast<Index>(spans_.size()));
        }
        kernel::attention_decode(Cpu{}, kept.q.view(), spans_, span_offset_, head_shape(layer), kept.attended.view(),
                                 log_sum_exp);
      });
    if (!record.empty()) recording_.put_stream(x, record);
    return finish(x);
  }

 private:
  struct SharesWeights {};
  template <class = void>
  CausalLm(const CausalLm& other, SharesWeights)
      : memory(other.memory),
        shape_(other.shape_),
        family_(other.family_),
        config_(other.config_),
        weights_(other.weights_),
        network_(other.network_),
        rotary_(other.rotary_) {
    take_adapter_off();
  }
  template <class = void>
  void take_adapter_off() {
    recording_.forget();
    network_.for_each_linear([](Linear& linear) { linear.set_branch(nullptr); });
    adapter_ = nullptr;
  }
  template <class = void>
  void require_trainable() {
    require<ConfigError>(!trainable().frozen(),
                         "CausalLm: the weights are frozen under the adapter of another model; train that one or a clone");
    parameters().values();  // the backward pass needs the plain weights: read them before activations take their memory
  }

  template <class = void>
  void prepare() {
    if (shape_.position == Position::rotary) {
      rotary_ = rope_table(shape_);
      rotary_.reserve(std::min<Index>(shape_.context, 4096));
    }
  }
  BlockPlaces& block(Index layer) { return network_.block[static_cast<std::size_t>(layer)]; }
  BlockContext context(std::span<const Index> position) { return {shape_, parameters(), rotary_, position, scratch_}; }
  kernel::HeadShape head_shape(Index layer) const {
    return {shape_.heads, shape_.kv_heads, shape_.head_dim, shape_.attention_scale(layer)};
  }
  template <class = void>
  void renew() {
    if (adapter_) adapter_->renew();
    if (weights_->packed && weights_->blocks_packed == memory.keep_packed) return;
    network_.for_each_linear([&](Linear& linear) {
      if (memory.keep_packed || &linear == &network_.head)
        linear.pack(parameters());  // the fused head reads it packed
      else
        linear.release();
    });
    weights_->packed = true;
    weights_->blocks_packed = memory.keep_packed;
  }
  template <class = void>
  void check_forest(const Forest& forest) const {
    kernel::check_segments(forest.segment, forest.rows());
    for (std::size_t i = 0; i < forest.segment.size(); ++i) {
      const Index end = forest.segment[i].position + forest.segment[i].length;
      require<DomainError>(end <= shape_.context, "CausalLm: sequence ", i, " has ", end, " tokens, the context holds ",
                           shape_.context);
    }
  }
  detail::ForestAttention attend_over(const Forest& forest, Index layer) const {
    return {forest.segment, head_shape(layer)};
  }
  template <class = void>
  View<const float> table(Index offset, Index rows) const {
    return {parameters().at(offset), rows, shape_.width};
  }
  template <class = void>
  View<float> table_gradient(Index offset, Index rows) {
    return parameters().gradient_at(offset, rows, shape_.width);
  }
  template <class = void>
  std::span<const TokenId> position_ids(std::span<const Index> position) {
    position_ids_.assign(position.begin(), position.end());
    return position_ids_;
  }
  template <class = void>
  View<float> embed(std::span<const TokenId> token, std::span<const Index> position) {
    const View<float> x = stream_.shaped(static_cast<Index>(token.size()), shape_.width);
    embed_into(token, position, x);
    return x;
  }
  template <class = void>
  void embed_into(std::span<const TokenId> token, std::span<const Index> position, View<float> x) {
    kernel::embedding(Cpu{}, table(network_.token_embedding, shape_.vocab), token, x);
    if (shape_.scale_embedding) x.array() *= shape_.embedding_scale();
    if (network_.position_embedding >= 0)
      kernel::embedding(Cpu{}, table(network_.position_embedding, shape_.context), position_ids(position), x, true);
  }
  template <class = void>
  View<float> finish(View<const float> x) {
    const View<float> out = hidden_.shaped(x.rows(), x.cols());
    norm_forward(shape_, parameters(), network_.final_norm, x, out, final_statistics_);
    return out;
  }
  template <class = void>
  static Tensor<float> to_tensor(View<const float> x) {
    Tensor<float> copy(x.rows(), x.cols());
    std::copy(x.begin(), x.end(), copy.data());
    return copy;
  }
  template <class = void>
  static View<float> gather(View<const float> x, std::span<const Index> row, Buffer<>& into) {
    const View<float> out = into.shaped(static_cast<Index>(row.size()), x.cols());
    for (std::size_t i = 0; i < row.size(); ++i) {
      require<ShapeError>(row[i] >= 0 && row[i] < x.rows(), "CausalLm: row ", row[i], " of ", x.rows());
      std::copy_n(x.row(row[i]).data(), x.cols(), out.row(static_cast<Index>(i)).data());
    }
    return out;
  }

  /// One block over the stream x, in place; keeps what it makes where its rows are recorded.
  template <class Attend>
  void sampled_block(const BlockContext& context, Index layer, View<float> x, std::span<const Index> record,
                     const Attend& attend) {
    if (record.empty()) return block_forward(context, block(layer), x, x, one_block_, attend, x);
    const View<float> input = one_block_.input.shaped(x.rows(), x.cols());
    detail::copy(x, input);
    run_kept(context, layer, input, one_block_, attend, x);
    recording_.put(layer, one_block_, record);
  }

  /// forward() that keeps what backward_from_reads() needs; no pass where sampling has recorded it.
  template <class = void>
  void forward_kept(const Forest& forest) {
    check_forest(forest);
    renew();
    const Index rows = forest.rows(), layers = shape_.layers;
    kept_.resize(static_cast<std::size_t>(layers));
    recalled_ = recording_.recall(forest, version(), kept_, stream_);
    if (recalled_) {
      finish(stream_.view());
      return;
    }
    const BlockContext context = this->context(forest.position);
    embed_into(forest.token, forest.position, kept_[0].input.shaped(rows, shape_.width));
    for (Index layer = 0; layer < layers; ++layer) {
      BlockActivations<>& own = kept_[static_cast<std::size_t>(layer)];
      Buffer<>& next = layer + 1 < layers ? kept_[static_cast<std::size_t>(layer) + 1].input : stream_;
      run_kept(context, layer, own.input.view(), memory.recompute ? one_block_ : own, attend_over(forest, layer),
               next.shaped(rows, shape_.width));
    }
    finish(stream_.view());
  }
  template <class Attend>
  void run_kept(const BlockContext& context, Index layer, View<const float> x, BlockActivations<>& kept,
                const Attend& attend, View<float> out) {
    block_forward(context, block(layer), x, middle_of(kept, x), kept, attend, out);
  }
  /// What forward_kept() left out of a block: attention was recorded, or is made again too.
  template <class = void>
  void make_again(const BlockContext& context, const Forest& forest, Index layer, BlockActivations<>& recorded) {
    const View<const float> x = recorded.input.view();
    block_activations(context, block(layer), x, middle_of(one_block_, x), one_block_, [&](BlockActivations<>& kept) {
      if (!recalled_) return attend_over(forest, layer)(kept);
      kept.attended.look_at(recorded.attended.view());
      kept.log_sum_exp.look_at(recorded.log_sum_exp.view());
    });
  }
  template <class = void>
  View<float> middle_of(BlockActivations<>& kept, View<const float> x) const {
    return shape_.residual == Residual::sequential ? kept.middle.shaped(x.rows(), x.cols()) : View<float>{};
  }

  /// @param reads_log_prob  false: the loss does not look at the log-probs. They are not made then where sampling recorded
  ///                        their log-sum-exps, with which the head's backward pass makes its logits once.
  template <class Loss>
  void backward_through_head(const Forest& forest, kernel::HeadOptions options, const Loss& loss, bool reads_log_prob) {
    require_trainable();
    forward_kept(forest);
    const View<const float> rows = gather(hidden_.view(), forest.read_row, read_rows_);
    std::vector<double> log_prob, log_sum_exp;
    std::span<float> kept;
    if (recalled_ && !reads_log_prob) log_sum_exp = recording_.log_sum_exp(forest.read_row, options.scale());
    if (log_sum_exp.empty()) {
      log_sum_exp.resize(forest.read_row.size());
      log_prob.resize(forest.read_row.size());
      kept = logits_.shaped(1, memory.kept_logits(rows.rows(), shape_.vocab)).span();
      kernel::token_log_prob(Cpu{}, rows, network_.head.packed(), forest.read_token, options, log_prob, log_sum_exp, {},
                             kept);
    }
    const std::span<const double> dlog_prob = loss(std::span<const double>(log_prob));
    require<ShapeError>(static_cast<Index>(dlog_prob.size()) == forest.reads(), "CausalLm::backward: ", forest.reads(),
                        " values expected, got ", dlog_prob.size());
    const View<float> drows = d_read_rows_.shaped(rows.rows(), rows.cols());
    network_.head.add_to_weight_gradient(parameters(), [&](View<float> dhead, bool add) {
      kernel::token_log_prob_backward(Cpu{}, rows, network_.head.packed(), network_.head.weight(parameters()),
                                      forest.read_token, options, log_sum_exp, dlog_prob, drows, dhead, kept, add);
    });
    backward_from_reads(forest, drows);
  }

  /// From the gradient of the read rows (after the final norm) to the parameters.
  template <class = void>
  void backward_from_reads(const Forest& forest, View<const float> drows) {
    const Index rows = forest.rows();
    const View<float> dout = d_out_.shaped(rows, shape_.width);
    dout.array() = 0;
    for (std::size_t i = 0; i < forest.read_row.size(); ++i)
      dout.row(forest.read_row[i]).array() += drows.row(static_cast<Index>(i)).array();
    const View<float> dx = d_stream_.shaped(rows, shape_.width);
    norm_backward(parameters(), network_.final_norm, dout, stream_.view(), final_statistics_, dx);
    const BlockContext context = this->context(forest.position);
    for (Index layer = shape_.layers - 1; layer >= 0; --layer) {
      BlockActivations<>& own = kept_[static_cast<std::size_t>(layer)];
      if (memory.recompute) make_again(context, forest, layer, own);
      block_backward(context, parameters(), block(layer), layer, forest.segment, own.input.view(),
                     memory.recompute ? one_block_ : own, dx, d_out_);
    }
    if (parameters().frozen()) return;
    if (network_.position_embedding >= 0)
      kernel::embedding_backward(Cpu{}, position_ids(forest.position), dx,
                                 table_gradient(network_.position_embedding, shape_.context));
    if (shape_.scale_embedding) dx.array() *= shape_.embedding_scale();
    kernel::embedding_backward(Cpu{}, forest.token, dx, table_gradient(network_.token_embedding, shape_.vocab));
  }

  Shape shape_;
  FamilyInfo family_;
  Json config_;
  std::shared_ptr<detail::SharedWeights> weights_ = std::make_shared<detail::SharedWeights>();
  Network network_;                       // shares the packed copies with that of its base
  std::unique_ptr<LoraAdapter> adapter_;  // its branches stand beside the maps of network_
  kernel::Rotary rotary_;

  Buffer<> stream_, hidden_, read_rows_, scores_, logits_, d_read_rows_, d_out_, d_stream_;
  NormStatistics<> final_statistics_;
  Scratch<> scratch_;
  bool recalled_ = false;                 // the last pass of forward_kept() was recorded in sampling
  BlockActivations<> one_block_;          // of the block at work, where nothing is kept
  std::vector<BlockActivations<>> kept_;  // [L]
  Recording recording_;
  std::vector<Index> step_position_, span_offset_;
  std::vector<TokenId> position_ids_;
  std::vector<kernel::KvSpan> spans_;
};
}  // namespace vbon::model
