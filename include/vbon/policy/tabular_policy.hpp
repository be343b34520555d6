// vbon/policy/tabular_policy.hpp
//
// A policy small enough to enumerate: the exact oracle of the law tests. For each prompt it keeps one row
// of logits per context (the tokens so far): length 1 gives a softmax over K one-token responses, more
// tokens an autoregressive table. Contexts are numbered by length, then lexicographically: the context of
// t tokens that read k as a base-V number is row (V^t - 1)/(V - 1) + k.
#pragma once
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/policy/concept.hpp"
#include "vbon/policy/tabular_session.hpp"

namespace vbon::policy {
struct TabularShape {
  Index prompts = 1;
  Index vocabulary = 2;  // V
  Index length = 1;      // tokens of a response at most
  TokenId eos = -1;      // a response ends after this token; -1: always `length` tokens
};

/// @tparam T  type of the logits: float models TrainablePolicy, double gives the oracle its last digits
template <class T>
class BasicTabularPolicy {
 public:
  using device_type = Cpu;

  BasicTabularPolicy() : BasicTabularPolicy(TabularShape{}) {}
  /// All responses equally likely: logits 0.
  /// @throws DomainError when a size is not positive or the table would not fit into memory
  explicit BasicTabularPolicy(TabularShape shape) : shape_(shape) {
    require<DomainError>(shape.prompts > 0 && shape.vocabulary > 0 && shape.length > 0,
                         "TabularPolicy: sizes > 0 expected, got ", shape.prompts, " prompts, vocabulary ", shape.vocabulary,
                         ", length ", shape.length);
    first_context_.push_back(0);
    Index contexts = 1;
    for (Index t = 0; t < shape.length; ++t) {
      first_context_.push_back(first_context_.back() + contexts);
      require<DomainError>(first_context_.back() < (Index{1} << 28) / shape.vocabulary / shape.prompts,
                           "TabularPolicy: a table of ", shape.vocabulary, "^", shape.length, " responses is too large");
      contexts *= shape.vocabulary;
    }
    parameters_ = Tensor<T>(shape.prompts * contexts_per_prompt(), shape.vocabulary);
    gradients_ = Tensor<T>(parameters_.rows(), parameters_.cols());
  }

  const TabularShape& shape() const { return shape_; }
  Index contexts_per_prompt() const { return first_context_.back(); }
  Index vocab_size() const { return shape_.vocabulary; }

  /// Prompts 0 .. prompts - 1; a prompt's id is its row of the table.
  std::vector<Prompt> prompts() const {
    std::vector<Prompt> all;
    for (Index p = 0; p < shape_.prompts; ++p)
      all.push_back({.id = static_cast<std::uint64_t>(p), .text = {}, .tokens = {}});
    return all;
  }

  /// Logits of one prompt [contexts, V].
  View<T> logits(Index prompt) {
    return parameters_.view().middle_rows(prompt * contexts_per_prompt(), contexts_per_prompt());
  }
  View<const T> logits(Index prompt) const {
    return parameters_.view().middle_rows(prompt * contexts_per_prompt(), contexts_per_prompt());
  }
  /// Makes the next-token law of a context proportional to `probability` [V].
  void set_law(Index prompt, Index context, std::span<const double> probability) {
    require<ShapeError>(static_cast<Index>(probability.size()) == shape_.vocabulary, "TabularPolicy: ", shape_.vocabulary,
                        " probabilities expected, got ", probability.size());
    for (Index k = 0; k < shape_.vocabulary; ++k)
      logits(prompt)(context, k) = static_cast<T>(std::log(probability[static_cast<std::size_t>(k)]));
  }

  /// Row of a context within its prompt's table.
  Index context(std::span<const TokenId> tokens) const {
    Index number = 0;
    for (const TokenId token : tokens) number = number * shape_.vocabulary + token;
    return first_context_[tokens.size()] + number;
  }
  /// Log-probs of the next token [V], nats.
  template <class Array = vbon::Array>
  Array next_log_probs(Index prompt, std::span<const TokenId> tokens) const {
    const View<const T> row = logits(prompt).row(context(tokens));
    Array values(shape_.vocabulary);
    for (Index k = 0; k < shape_.vocabulary; ++k) values[k] = static_cast<double>(row[k]);
    const double peak = values.maxCoeff();
    require<DomainError>(peak > -std::numeric_limits<double>::infinity(), "TabularPolicy: all logits of a context are -inf");
    values -= peak + std::log((values - peak).exp().sum());
    return values;
  }
  /// True when nothing can follow these tokens.
  bool complete(std::span<const TokenId> tokens) const {
    return static_cast<Index>(tokens.size()) == shape_.length || (!tokens.empty() && tokens.back() == shape_.eos);
  }
  /// Number of a response in [0, V^length): its tokens as a base-V number, padded with eos.
  Index outcome(std::span<const TokenId> response) const {
    Index number = 0;
    for (Index t = 0; t < shape_.length; ++t)
      number = number * shape_.vocabulary +
               (t < static_cast<Index>(response.size()) ? response[static_cast<std::size_t>(t)] : shape_.eos);
    return number;
  }

  /// Every response of every prompt, in lexicographic order, with weight = pi(y) and log_prob filled.
  template <class Array = vbon::Array>
  RolloutBatch enumerate(std::span<const Prompt> prompts) const {
    RolloutBatch batch;
    for (const Prompt& prompt : prompts) {
      batch.add_prompt(prompt);
      std::vector<TokenId> tokens;
      add_continuations(batch, tokens);
    }
    batch.log_prob = log_prob(batch);
    batch.old_log_prob = batch.log_prob;
    // Not the exp of Eigen, which with SSE2 takes -inf for -709.8 and makes 6e-309 of it.
    const Array log_prob_of_response = per_response(batch, batch.log_prob);
    batch.weight = log_prob_of_response.unaryExpr([](double p) { return std::exp(p); });
    return batch;
  }
  RolloutBatch enumerate() const { return enumerate(prompts()); }

  /// `samples` independent responses per prompt; the draw for (prompt id, sample, position) depends on nothing else.
  RolloutBatch sample(std::span<const Prompt> prompts, Index samples, RngKey key) const {
    auto session = open(prompts, samples);
    session.extend(shape_.length, key);
    RolloutBatch batch;
    std::vector<double> drawn;
    for (const Draft& draft : session.drafts()) {
      for (; batch.prompts() <= draft.prompt;) batch.add_prompt(prompts[static_cast<std::size_t>(batch.prompts())]);
      batch.add_response(draft.token, true);
      drawn.insert(drawn.end(), draft.log_prob.begin(), draft.log_prob.end());
    }
    batch.old_log_prob = Eigen::Map<const Array>(drawn.data(), static_cast<Index>(drawn.size()));
    batch.weight = uniform_weight(batch);
    return batch;
  }

  /// Starts `samples` responses of each prompt, to be driven step by step. The policy must outlive it.
  TabularSession<BasicTabularPolicy> open(std::span<const Prompt> prompts, Index samples) const {
    std::vector<Index> rows;
    for (const Prompt& prompt : prompts) rows.push_back(row_of(prompt));
    return {*this, prompts, rows, samples};
  }

  /// log p(token | tokens before) [T], nats.
  Array log_prob(const RolloutBatch& batch) const {
    Array values(batch.tokens());
    for_each_token(batch, [&](Index position, Index prompt, std::span<const TokenId> before, TokenId token) {
      values[position] = next_log_probs(prompt, before)[token];
    });
    return values;
  }

  /// Adds d loss / d logits, given d loss / d log_prob [T]: the row gets d (onehot(token) - softmax).
  void backward(const RolloutBatch& batch, const Array& dlog_prob) {
    require<ShapeError>(dlog_prob.size() == batch.tokens(), "TabularPolicy::backward: ", batch.tokens(),
                        " derivatives expected, got ", dlog_prob.size());
    for_each_token(batch, [&](Index position, Index prompt, std::span<const TokenId> before, TokenId token) {
      if (dlog_prob[position] == 0) return;
      const Array next = next_log_probs(prompt, before);
      const View<T> row = gradients_.view().row(prompt * contexts_per_prompt() + context(before));
      for (Index k = 0; k < shape_.vocabulary; ++k)
        row[k] += static_cast<T>(dlog_prob[position] * ((k == token ? 1.0 : 0.0) - std::exp(next[k])));
    });
  }

  /// For a critic: which context each token was drawn from, one 1 in a row.   [T, prompts * contexts]
  Tensor<float> features(const RolloutBatch& batch) const {
    Tensor<float> values(batch.tokens(), shape_.prompts * contexts_per_prompt());
    for_each_token(batch, [&](Index position, Index prompt, std::span<const TokenId> before, TokenId) {
      values(position, prompt * contexts_per_prompt() + context(before)) = 1;
    });
    return values;
  }

  /// Exact KL(this || reference) of the next-token law at every token of the batch [T], nats.
  /// @param reference_log_prob  [T] takes the reference's log-probs; may be null
  Array kl(const RolloutBatch& batch, const BasicTabularPolicy& reference, Array* reference_log_prob = nullptr) const {
    Array values(batch.tokens());
    if (reference_log_prob) *reference_log_prob = reference.log_prob(batch);
    for_each_token(batch, [&](Index position, Index prompt, std::span<const TokenId> before, TokenId) {
      const Array p = next_log_probs(prompt, before);
      const Array q = reference.next_log_probs(prompt, before);
      double sum = 0;
      for (Index k = 0; k < p.size(); ++k)
        if (const double mass = std::exp(p[k]); mass > 0) sum += mass * (p[k] - q[k]);
      values[position] = sum;
    });
    return values;
  }

  View<T> parameters() { return parameters_.view(); }
  View<T> gradients() { return gradients_.view(); }
  void zero_gradients() { gradients_.view().array().setZero(); }
  void parameters_changed() {}

  /// The smallest token whose cumulative probability exceeds u; the last possible one when rounding leaves none.
  static TokenId pick(const Array& log_probs, double u) {
    double cumulative = 0;
    TokenId last = 0;
    for (Index k = 0; k < log_probs.size(); ++k) {
      const double mass = std::exp(log_probs[k]);
      if (mass > 0) last = static_cast<TokenId>(k);
      cumulative += mass;
      if (cumulative > u) return static_cast<TokenId>(k);
    }
    return last;
  }

 private:
  Index row_of(const Prompt& prompt) const {
    require<DomainError>(prompt.id < static_cast<std::uint64_t>(shape_.prompts), ErrorCode{"unknown_prompt"},
                         "TabularPolicy: prompt id below ", shape_.prompts, " expected, got ", prompt.id);
    return static_cast<Index>(prompt.id);
  }

  void add_continuations(RolloutBatch& batch, std::vector<TokenId>& tokens) const {
    if (complete(tokens)) return batch.add_response(tokens, true);
    for (Index k = 0; k < shape_.vocabulary; ++k) {
      tokens.push_back(static_cast<TokenId>(k));
      add_continuations(batch, tokens);
      tokens.pop_back();
    }
  }

  template <class F>
  void for_each_token(const RolloutBatch& batch, const F& f) const {
    for (Index p = 0; p < batch.prompts(); ++p) {
      const Index row = row_of(batch.prompt[static_cast<std::size_t>(p)]);
      for (Index i = batch.group_offset[static_cast<std::size_t>(p)];
           i < batch.group_offset[static_cast<std::size_t>(p) + 1]; ++i) {
        const auto tokens = batch.response(i);
        for (std::size_t t = 0; t < tokens.size(); ++t) {
          require<DomainError>(tokens[t] >= 0 && tokens[t] < shape_.vocabulary && static_cast<Index>(t) < shape_.length,
                               "TabularPolicy: token in [0, ", shape_.vocabulary, ") within ", shape_.length,
                               " positions expected, got ", tokens[t], " at ", t);
          f(batch.offset[static_cast<std::size_t>(i)] + static_cast<Index>(t), row, tokens.first(t), tokens[t]);
        }
      }
    }
  }

  TabularShape shape_;
  std::vector<Index> first_context_;  // [length + 1] first row of the contexts of t tokens
  Tensor<T> parameters_, gradients_;  // [prompts * contexts, V]
};

using TabularPolicy = BasicTabularPolicy<float>;
static_assert(TrainablePolicy<TabularPolicy> && SteppedPolicy<TabularPolicy>);
}  // namespace vbon::policy
