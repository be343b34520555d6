// vbon/policy/causal_lm_policy.hpp
//
// A causal language model with its tokenizer as a policy: it samples responses, knows their log-probs, and
// turns d loss / d log_prob into d loss / d parameter. Batches of any size run in pieces that fit the
// memory options; the pieces change no result of a forward pass.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/data/rollout_batch.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/model/encoder_pooling.hpp"
#include "vbon/policy/concept.hpp"
#include "vbon/policy/sampler.hpp"
#include "vbon/policy/session.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::policy {
/// How much is computed at once.
struct PassOptions {
  Index sampled_rows = 256;                   // responses that grow together
  Index forward_rows = 2048;                  // tokens of a forward pass
  Index activation_bytes = Index{512} << 20;  // kept for a backward pass
  Index recorded_bytes = Index{2} << 30;      // kept by sample_for_backward(); 0: nothing
};

template <Device D = Cpu>
class CausalLmPolicy {
  static_assert(std::same_as<D, Cpu>, "CausalLmPolicy: this build computes on the Cpu only");

 public:
  using device_type = D;

  /// @param tokenizer  may be null: the policy then takes and gives tokens only
  CausalLmPolicy(model::CausalLm model, std::shared_ptr<const text::Tokenizer> tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {
    sampler.eos = model_.shape().eos;
  }

  Sampler sampler;         // the law that is sampled; log_prob, backward and kl use its temperature
  model::Json generation;  // generation_config.json as it came, to be saved again; null: there was none
  PassOptions passes;

  model::CausalLm& model() { return model_; }
  const model::CausalLm& model() const { return model_; }
  const model::Shape& shape() const { return model_.shape(); }
  bool has_tokenizer() const { return tokenizer_ != nullptr; }
  /// @throws ConfigError when the checkpoint came without one
  const text::Tokenizer& tokenizer() const {
    require<ConfigError>(has_tokenizer(), "this policy has no tokenizer: its checkpoint came without tokenizer.json");
    return *tokenizer_;
  }
  std::shared_ptr<const text::Tokenizer> shared_tokenizer() const { return tokenizer_; }

  /// A second policy with equal parameters and options; the tokenizer is shared.
  CausalLmPolicy clone() const {
    CausalLmPolicy copy(model_.clone(), tokenizer_);
    copy.sampler = sampler;
    copy.generation = generation;
    copy.passes = passes;
    return copy;
  }

  /// What this policy is held against: the same weights with the adapter off, shared and not copied; of a policy
  /// without one a clone.
  CausalLmPolicy reference() const {
    if (!model_.adapter()) return clone();
    CausalLmPolicy off(model_.base(), tokenizer_);
    off.sampler = sampler;
    off.generation = generation;
    off.passes = passes;
    return off;
  }

  /// The prompt with its tokens: encoded from its text unless they are there already.
  Prompt encoded(Prompt prompt) const {
    if (!prompt.tokens.empty()) return prompt;
    prompt.tokens = tokenizer().encode(prompt.text);
    for (const TokenId id : prompt.tokens)
      require<DomainError>(id < shape().vocab, ErrorCode{"unknown_token"}, "prompt ", prompt.id, " holds '",
                           tokenizer().token(id), "', token ", id, " of the tokenizer, but the model knows ", shape().vocab,
                           " tokens; leave it out, or give the model rows for it");
    if (prompt.tokens.empty() && shape().bos >= 0) prompt.tokens = {shape().bos};
    return prompt;
  }

  /// Starts `samples` responses of each prompt, to be driven step by step. The policy must outlive it.
  /// @param first_sample  number of the first of them: responses 4..7 of a prompt are the same with or without 0..3
  /// @param record        as of Session
  Session open(std::span<const Prompt> prompts, Index samples, Index first_sample = 0,
               std::span<const RecordedPlace> record = {}) {
    std::vector<Prompt> ready;
    for (const Prompt& prompt : prompts) ready.push_back(encoded(prompt));
    return Session(model_, sampler, ready, samples, first_sample, record);
  }

  /// Samples `samples` responses of each prompt; fills token, text, finished, weight and old_log_prob.
  RolloutBatch sample(std::span<const Prompt> prompts, Index samples, RngKey key) { return draw(prompts, samples, key, {}); }

  /// sample() for a step that learns from what it draws: keeps the activations of every row, so that backward() of these
  /// responses, before the parameters change, needs no forward pass; nothing else differs, to the bit. Of a model that is to
  /// keep little (MemoryOptions::recompute) a fifth of them, from which it makes the others again. Where they would take
  /// more than passes.recorded_bytes it is sample().
  RolloutBatch sample_for_backward(std::span<const Prompt> prompts, Index samples, RngKey key) {
    std::vector<Prompt> ready;
    std::vector<RecordedPlace> place;
    Index rows = 0;
    for (const Prompt& prompt : prompts) {
      ready.push_back(encoded(prompt));
      const auto length = static_cast<Index>(ready.back().tokens.size());
      const Index each = std::max<Index>(0, std::min(sampler.max_new_tokens, shape().context - length) - 1);
      place.push_back({rows, rows + length, each});
      rows += length + samples * each;
    }
    if (rows > passes.recorded_bytes / model::recorded_bytes_per_row(shape(), model_.memory)) {
      model_.recording().forget();
      return draw(ready, samples, key, {});
    }
    model_.open_recording(rows);
    RolloutBatch batch = draw(ready, samples, key, place);
    model::Forest forest;
    std::vector<Index> row;
    for (Index p = 0; p < batch.prompts(); ++p) {
      const auto add_rows = [&](Index first) {
        while (static_cast<Index>(row.size()) < forest.rows()) row.push_back(first++);
      };
      const RecordedPlace& at = place[static_cast<std::size_t>(p)];
      const Index segment = forest.add(ready[static_cast<std::size_t>(p)].tokens);
      add_rows(at.prompt);
      for (Index i = 0; i < batch.samples(p); ++i) {
        forest.add_response(segment, batch.response(batch.group_offset[static_cast<std::size_t>(p)] + i));
        add_rows(at.responses + i * at.each);
      }
    }
    model_.recording().close(std::move(forest), row);
    return batch;
  }

  /// log pi(token | what comes before) of every response token, full vocabulary, at the sampler's temperature.
  /// [T] nats
  Array log_prob(const RolloutBatch& batch) {
    Array values(batch.tokens());
    for_each_pass(batch, passes.forward_rows, [&](const model::Forest& forest, Index begin) {
      model_.log_prob(forest, head_options(), {values.data() + begin, static_cast<std::size_t>(forest.reads())});
    });
    return values;
  }
  /// The same with the entropy of every next-token law.   [T] nats each
  std::pair<Array, Array> log_prob_and_entropy(const RolloutBatch& batch) {
    Array values(batch.tokens()), entropy(batch.tokens());
    for_each_pass(batch, passes.forward_rows, [&](const model::Forest& forest, Index begin) {
      const auto count = static_cast<std::size_t>(forest.reads());
      model_.log_prob(forest, head_options(), {values.data() + begin, count}, {entropy.data() + begin, count});
    });
    return {std::move(values), std::move(entropy)};
  }

  /// For a critic: the state from which each response token was drawn, scaled to length 1.   [T, C]
  Tensor<float> features(const RolloutBatch& batch) {
    Tensor<float> values(batch.tokens(), shape().width);
    for_each_pass(batch, passes.forward_rows, [&](const model::Forest& forest, Index begin) {
      const View<const float> states = model_.read_states(forest);
      std::copy(states.begin(), states.end(), values.view().middle_rows(begin, states.rows()).begin());
    });
    model::normalize_rows(values.view());
    return values;
  }

  /// Exact KL(this || reference) of the next-token law at every response token.   [T] nats
  /// @param reference_log_prob  [T] takes the reference's log-probs, which are made on the way; may be null
  Array kl(const RolloutBatch& batch, CausalLmPolicy& reference, Array* reference_log_prob = nullptr) {
    Array values(batch.tokens());
    if (reference_log_prob) reference_log_prob->resize(batch.tokens());
    for_each_pass(batch, passes.forward_rows, [&](const model::Forest& forest, Index begin) {
      const auto count = static_cast<std::size_t>(forest.reads());
      std::span<double> of_reference;
      if (reference_log_prob) of_reference = {reference_log_prob->data() + begin, count};
      model_.kl(forest, reference.model_, head_options(), {values.data() + begin, count}, of_reference);
    });
    return values;
  }

  /// Adds d loss / d parameter to gradients(), from d loss / d log_prob [T].
  /// @param log_prob  [T] takes the log-probs, which are made on the way; may be null
  void backward(const RolloutBatch& batch, const Array& dlog_prob, Array* log_prob = nullptr) {
    require<ShapeError>(dlog_prob.size() == batch.tokens(), "CausalLmPolicy::backward: ", batch.tokens(),
                        " values expected, got ", dlog_prob.size());
    if (log_prob) log_prob->resize(batch.tokens());
    for_each_pass(batch, most_kept_rows(), [&](const model::Forest& forest, Index begin) {
      const auto count = static_cast<std::size_t>(forest.reads());
      std::span<double> out;
      if (log_prob) out = {log_prob->data() + begin, count};
      model_.backward(forest, head_options(), {dlog_prob.data() + begin, count}, out);
    });
  }

  /// Cuts a batch into ranges of whole prompts, each small enough for one pass of backward_through() and about equally
  /// large: the first prompt of each, then the number of prompts. Empty when some prompt with its responses is too large.
  /// @param most_responses  of one range, unless a single prompt has more
  std::vector<Index> cuts_for_backward(const RolloutBatch& batch, Index most_responses) const {
    const Index most_rows = most_kept_rows();
    std::vector<Index> rows;
    Index total = 0;
    for (Index p = 0; p < batch.prompts(); ++p) {
      const Index own = fed_rows(batch, p, encoded(batch.prompt[static_cast<std::size_t>(p)]));
      if (own > most_rows) return {};
      rows.push_back(own);
      total += own;
    }
    const Index passes_needed = std::max<Index>(1, (total + most_rows - 1) / most_rows);
    const Index wanted = std::min(most_rows, (total + passes_needed - 1) / passes_needed * 17 / 16);
    std::vector<Index> cuts = {0};
    Index filled = 0, responses = 0;
    for (Index p = 0; p < batch.prompts(); ++p) {
      const Index own = rows[static_cast<std::size_t>(p)];
      if (filled > 0 && (filled + own > wanted || responses + batch.samples(p) > most_responses)) {
        cuts.push_back(p);
        filled = responses = 0;
      }
      filled += own;
      responses += batch.samples(p);
    }
    cuts.push_back(batch.prompts());
    return cuts;
  }
  /// backward() where d loss / d log_prob follows from the log-probs: gradient_of(log_prob [T]) returns it, and one forward
  /// pass serves both.
  /// @param batch  of one of the ranges of cuts_for_backward()
  template <class GradientOf>
  void backward_through(const RolloutBatch& batch, const GradientOf& gradient_of) {
    Array log_prob(batch.tokens()), gradient;
    for_each_pass(batch, std::numeric_limits<Index>::max() / 2, [&](const model::Forest& forest, Index) {
      model_.backward(forest, head_options(), [&](std::span<const double> made) {
        std::copy(made.begin(), made.end(), log_prob.begin());
        gradient = gradient_of(std::as_const(log_prob));
        return std::span<const double>(gradient.data(), static_cast<std::size_t>(gradient.size()));
      });
    });
  }

  /// What training moves: of an adapted policy the adapter alone.
  View<float, D> parameters() { return model_.trainable().values(); }
  View<float, D> gradients() { return model_.trainable().gradients(); }
  void zero_gradients() { model_.trainable().zero_gradients(); }
  void parameters_changed() { model_.parameters_changed(); }

 private:
  RolloutBatch draw(std::span<const Prompt> prompts, Index samples, RngKey key, std::span<const RecordedPlace> record) {
    require<ConfigError>(samples >= 1, "CausalLmPolicy::sample: samples >= 1 expected, got ", samples);
    RolloutBatch batch;
    std::vector<double> log_prob;
    // Several prompts grow together, or a part of one prompt's responses: the caches of passes.sampled_rows at most.
    const Index rows = std::max<Index>(1, passes.sampled_rows), slice = std::min(samples, rows);
    const auto group = static_cast<std::size_t>(rows / slice);
    for (std::size_t begin = 0; begin < prompts.size(); begin += group)
      for (Index first = 0; first < samples; first += slice) {
        const std::size_t count = std::min(group, prompts.size() - begin);
        Session session = open(prompts.subspan(begin, count), std::min(slice, samples - first), first,
                               record.empty() ? record : record.subspan(begin, count));
        session.extend(sampler.max_new_tokens, key);
        Index prompt = -1;
        for (const Draft& draft : session.drafts()) {
          for (; prompt < draft.prompt; ++prompt)
            if (first == 0) batch.add_prompt(session.prompts()[static_cast<std::size_t>(prompt + 1)]);
          batch.add_response(draft.token, draft.finished);
          if (has_tokenizer()) batch.text.push_back(tokenizer().decode(draft.token));
          log_prob.insert(log_prob.end(), draft.log_prob.begin(), draft.log_prob.end());
        }
      }
    batch.weight = uniform_weight(batch);
    batch.old_log_prob = Eigen::Map<const Array>(log_prob.data(), static_cast<Index>(log_prob.size()));
    return batch;
  }

  /// Rows of a pass whose activations are kept.
  Index most_kept_rows() const {
    return std::max<Index>(1, passes.activation_bytes / model::kept_bytes_per_row(shape(), model_.memory));
  }
  kernel::HeadOptions head_options() const {
    return {.inv_temperature = sampler.greedy() ? 1.0f : static_cast<float>(1 / sampler.temperature)};
  }

  /// Rows of a prompt with all its responses; the last token of a response is never fed.
  static Index fed_rows(const RolloutBatch& batch, Index p, const Prompt& prompt) {
    auto rows = static_cast<Index>(prompt.tokens.size());
    for (Index i = batch.group_offset[static_cast<std::size_t>(p)]; i < batch.group_offset[static_cast<std::size_t>(p) + 1];
         ++i)
      rows += batch.length(i) - 1;
    return rows;
  }

  /// Calls f(forest, first token) for consecutive responses, about equally many rows at a time: whole prompts, but for one
  /// with more responses than a pass should have.
  template <class F>
  void for_each_pass(const RolloutBatch& batch, Index most_rows, F&& f) {
    Index total = 0;
    std::vector<Prompt> prompts;
    std::vector<Index> rows_of;  // [P] of a prompt with all its responses
    for (Index p = 0; p < batch.prompts(); ++p) {
      prompts.push_back(encoded(batch.prompt[static_cast<std::size_t>(p)]));
      check_lengths(batch, p, prompts.back());
      rows_of.push_back(fed_rows(batch, p, prompts.back()));
      total += rows_of.back();
    }
    const Index passes_needed = std::max<Index>(1, (total + most_rows - 1) / most_rows);
    const Index rows_wanted = (total + passes_needed - 1) / passes_needed;

    model::Forest forest;
    Index first = 0, read = 0, rows_before = 0, passes_done = 0;
    const auto flush = [&] {
      if (forest.reads() > 0) f(std::as_const(forest), first);
      passes_done += forest.reads() > 0;
      first = read;
      forest = {};
    };
    for (Index p = 0; p < batch.prompts(); ++p) {
      Index segment = -1;
      const Index own = rows_of[static_cast<std::size_t>(p)];
      const bool whole = own <= rows_wanted;  // else it is cut where a pass is full
      // At the end of a prompt that is nearest to the wanted one, or where the next one does not fit.
      if (whole && (rows_before + own / 2 > (passes_done + 1) * rows_wanted || forest.rows() + own > most_rows)) flush();
      rows_before += own;
      const Index full = whole ? most_rows : rows_wanted + rows_wanted / 16;
      for (Index i = batch.group_offset[static_cast<std::size_t>(p)];
           i < batch.group_offset[static_cast<std::size_t>(p) + 1]; ++i) {
        const Index added =
            batch.length(i) - 1 + (segment < 0 ? static_cast<Index>(prompts[static_cast<std::size_t>(p)].tokens.size()) : 0);
        if (forest.reads() > 0 && forest.rows() + added > full) {
          flush();
          segment = -1;
        }
        if (segment < 0) segment = forest.add(prompts[static_cast<std::size_t>(p)].tokens);
        forest.add_response(segment, batch.response(i));
        read += batch.length(i);
      }
    }
    flush();
  }
  void check_lengths(const RolloutBatch& batch, Index p, const Prompt& prompt) const {
    require<DomainError>(!prompt.tokens.empty(), ErrorCode{"empty_prompt"}, "prompt ", prompt.id, " has no token");
    for (Index i = batch.group_offset[static_cast<std::size_t>(p)]; i < batch.group_offset[static_cast<std::size_t>(p) + 1];
         ++i) {
      const Index length = static_cast<Index>(prompt.tokens.size()) + batch.length(i);
      require<DomainError>(length <= shape().context + 1, ErrorCode{"prompt_too_long"}, "prompt ", prompt.id,
                           " and its response ", i - batch.group_offset[static_cast<std::size_t>(p)], " have ", length,
                           " tokens together, but the model's context holds ", shape().context,
                           "; shorten the prompt or the response");
    }
  }

  model::CausalLm model_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
};
}  // namespace vbon::policy
