// vbon/policy/session.hpp
//
// Sampling as a process that can be stopped, looked at and steered: M responses of each prompt grow
// together, a prompt is computed once for all of them, and a response that has ended leaves the batch.
// sample() of a policy is one run of it; decoders drive it in pieces.
//
// The draw for (prompt id, sample, position) is key.fold(id).fold(sample).uniform(position): it does not
// depend on what else is in the batch, on the number of threads, or on where the run was interrupted.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/random.hpp"
#include "vbon/data/prompt.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/kernel/sample_token.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/policy/draft.hpp"
#include "vbon/policy/sampler.hpp"

namespace vbon::policy {
/// Where the model's recording takes what becomes of one prompt.
struct RecordedPlace {
  Index prompt = 0;     // its first row
  Index responses = 0;  // the first row of its response number 0
  Index each = 0;       // rows of a response: its last token is never fed
};

class Session {
 public:
  /// Computes the prompts; no token is drawn yet.
  /// @param first_sample  number of the first response of each prompt, which addresses its draws
  /// @param record        [P] where the activations go, in a recording that is open; empty: they are not kept. keep() cannot
  ///                      be used then.
  /// @throws DomainError when a prompt has no token or leaves no room in the context
  template <class = void>
  Session(model::CausalLm& model, Sampler sampler, std::span<const Prompt> prompts, Index samples, Index first_sample = 0,
          std::span<const RecordedPlace> record = {})
      : model_(&model),
        sampler_(std::move(sampler)),
        prompts_(prompts.begin(), prompts.end()),
        pool_(model.make_pool()),
        record_(record.begin(), record.end()) {
    sampler_.check();
    require<ShapeError>(record_.empty() || record_.size() == prompts_.size(), "Session: places to record ", prompts_.size(),
                        " prompts expected, got ", record_.size());
    require<ConfigError>(samples >= 1, "Session: samples >= 1 expected, got ", samples);
    model::Forest forest;
    for (const Prompt& prompt : prompts_) {
      check_prompt(prompt);
      forest.add(prompt.tokens);
    }
    for (std::size_t p = 0; p < record_.size(); ++p) {
      const Index fed =
          std::min(sampler_.max_new_tokens, model_->shape().context - static_cast<Index>(prompts_[p].tokens.size())) - 1;
      require<ShapeError>(record_[p].each >= fed, "Session: room to record ", fed, " tokens of a response expected, got ",
                          record_[p].each);
    }
    if (prompts_.empty()) return;
    std::vector<Index> recorded_row;
    for (std::size_t p = 0; p < record_.size(); ++p)
      for (std::size_t i = 0; i < prompts_[p].tokens.size(); ++i)
        recorded_row.push_back(record_[p].prompt + static_cast<Index>(i));
    std::vector<model::KvSequence<>> cached;
    const View<const float> hidden = model_->prefill(forest, pool_, cached, recorded_row);
    const View<float> last = hidden_.shaped(static_cast<Index>(prompts_.size()), hidden.cols());
    next_sample_.assign(prompts_.size(), first_sample + samples);
    for (std::size_t p = 0; p < prompts_.size(); ++p) {
      const View<const float> row = hidden.row(forest.last_row(static_cast<Index>(p)));
      std::copy(row.begin(), row.end(), last.row(static_cast<Index>(p)).data());
      for (Index sample = 0; sample < samples; ++sample) {
        draft_.push_back({.prompt = static_cast<Index>(p), .sample = first_sample + sample});
        state_.push_back({cached[p], static_cast<Index>(p), false});
      }
    }
  }

  const Sampler& sampler() const { return sampler_; }
  std::span<const Prompt> prompts() const { return prompts_; }
  const std::vector<Draft>& drafts() const { return draft_; }
  std::span<const TokenId> end_tokens() const { return sampler_.eos; }
  /// Numbers of the drafts that can still grow.
  template <class = void>
  std::vector<Index> live() const {
    std::vector<Index> numbers;
    for (std::size_t i = 0; i < draft_.size(); ++i)
      if (draft_[i].live) numbers.push_back(static_cast<Index>(i));
    return numbers;
  }

  /// Tokens that every live draft may still get before a limit ends it; they move in step, so the longest prompt and the
  /// longest draft decide. 0 when none is live.
  Index room() const {
    Index least = 0;
    for (const Draft& d : draft_) {
      if (!d.live) continue;
      const auto before = static_cast<Index>(prompts_[static_cast<std::size_t>(d.prompt)].tokens.size());
      const Index here =
          std::min(sampler_.max_new_tokens, model_->shape().context - before) - static_cast<Index>(d.token.size());
      least = least == 0 ? here : std::min(least, here);
    }
    return least;
  }

  /// Draws up to `tokens` more tokens for every live draft.
  template <class = void>
  void extend(Index tokens, RngKey key) {
    for (Index round = 0; round < tokens; ++round) {
      const std::vector<Index> numbers = live();
      if (numbers.empty()) return;
      catch_up(numbers);
      const std::vector<kernel::TokenDraw> draws = draw(numbers, key);
      record_norms(numbers, draws);
      for (std::size_t i = 0; i < numbers.size(); ++i) push(numbers[i], draws[i].token, draws[i].log_prob);
    }
  }

  /// Appends a chosen token to every live draft, in the order of live(); its log-prob is the model's at the
  /// sampler's temperature.
  template <class = void>
  void append(std::span<const TokenId> token) {
    const std::vector<Index> numbers = live();
    require<ShapeError>(token.size() == numbers.size(), "Session::append: ", numbers.size(), " tokens expected, got ",
                        token.size());
    catch_up(numbers);
    std::vector<double> log_prob(token.size());
    kernel::token_log_prob(Cpu{}, rows_of(numbers), model_->network().head.packed(), token, head_options(), log_prob);
    for (std::size_t i = 0; i < numbers.size(); ++i) push(numbers[i], token[i], log_prob[i]);
  }

  /// Log-probs of the next token of every live draft under the model at the sampler's temperature; at temperature 0 their
  /// limit: 0 for the token that would be drawn, -inf for the others (a response's log-prob is the model's there).
  /// [live, V] nats
  template <class = void>
  Tensor<float> next_log_probs() {
    const std::vector<Index> numbers = live();
    catch_up(numbers);
    Tensor<float> out(static_cast<Index>(numbers.size()), model_->shape().vocab);
    model_->head(rows_of(numbers), out);
    if (!sampler_.greedy()) {
      kernel::log_softmax(Cpu{}, out, out, head_options().scale());
      return out;
    }
    for (Index r = 0; r < out.rows(); ++r) {
      const auto row = out.view().row(r);
      const auto chosen = std::max_element(row.begin(), row.end()) - row.begin();  // the lowest id among equals
      std::fill(row.begin(), row.end(), detail::removed);
      row.begin()[chosen] = 0;
    }
    return out;
  }

  /// Goes on with these drafts, in this order. One that is named again is a copy: it shares the cache so
  /// far and gets draws of its own. What is not named frees its part of the cache.
  template <class = void>
  void keep(std::span<const Index> numbers) {
    require<ConfigError>(
        record_.empty(),
        "Session::keep: the activations of these drafts are recorded in their places; open the session without places"
        " to record");
    std::vector<Draft> drafts;
    std::vector<State> states;
    std::vector<char> taken(draft_.size(), 0);
    for (const Index number : numbers) {
      require<ShapeError>(number >= 0 && number < static_cast<Index>(draft_.size()), "Session::keep: draft ", number, " of ",
                          draft_.size());
      const auto i = static_cast<std::size_t>(number);
      drafts.push_back(draft_[i]);
      states.push_back(state_[i]);
      if (taken[i]) drafts.back().sample = next_sample_[static_cast<std::size_t>(draft_[i].prompt)]++;
      taken[i] = 1;
    }
    draft_ = std::move(drafts);
    state_ = std::move(states);
  }

 private:
  struct State {
    model::KvSequence<> cache;
    Index hidden_row;  // row of hidden_ that predicts its next token
    bool behind;       // its last token has not been through the model yet
  };

  template <class = void>
  void check_prompt(const Prompt& prompt) const {
    const Index length = static_cast<Index>(prompt.tokens.size()), context = model_->shape().context;
    const auto shown = [&] { return io::excerpt(prompt.text); };
    require<DomainError>(length >= 1, ErrorCode{"empty_prompt"}, "prompt ", prompt.id, " ('", shown(),
                         "') has no token; start it with a begin token or some text");
    require<DomainError>(length < context, ErrorCode{"prompt_too_long"}, "prompt ", prompt.id, " ('", shown(), "') has ",
                         length, " tokens, but the model's context holds ", context,
                         " and a response needs at least one; shorten the prompt or use a model with a longer context");
  }
  kernel::HeadOptions head_options() const {
    return {.inv_temperature = sampler_.greedy() ? 1.0f : static_cast<float>(1 / sampler_.temperature)};
  }
  Draft& draft(Index number) { return draft_[static_cast<std::size_t>(number)]; }
  State& state(Index number) { return state_[static_cast<std::size_t>(number)]; }

  /// Runs the last tokens of live drafts through the model, so that hidden_ predicts every next token.
  template <class = void>
  void catch_up(std::span<const Index> numbers) {
    if (numbers.empty() || !state(numbers[0]).behind) return;  // they move in step
    std::vector<TokenId> token;
    std::vector<model::KvSequence<>*> sequence;
    std::vector<Index> row;
    for (const Index number : numbers) {
      const Draft& d = draft(number);
      token.push_back(d.token.back());
      sequence.push_back(&state(number).cache);
      if (record_.empty()) continue;
      row.push_back(recorded_row(d));
    }
    const View<const float> hidden = model_->step(token, sequence, pool_, row);
    const View<float> kept = hidden_.shaped(hidden.rows(), hidden.cols());
    std::copy(hidden.begin(), hidden.end(), kept.data());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      state(numbers[i]).hidden_row = static_cast<Index>(i);
      state(numbers[i]).behind = false;
    }
  }

  /// Where the row that predicts the next token of a draft is recorded.
  Index recorded_row(const Draft& d) const {
    const RecordedPlace& place = record_[static_cast<std::size_t>(d.prompt)];
    if (d.token.empty())
      return place.prompt + static_cast<Index>(prompts_[static_cast<std::size_t>(d.prompt)].tokens.size()) - 1;
    return place.responses + d.sample * place.each + static_cast<Index>(d.token.size()) - 1;
  }
  /// What the backward pass of the head needs of the laws that were drawn from.
  template <class = void>
  void record_norms(std::span<const Index> numbers, std::span<const kernel::TokenDraw> draws) {
    if (record_.empty() || !sampler_.full_law()) return;
    for (std::size_t i = 0; i < numbers.size(); ++i)
      model_->recording().put_log_sum_exp(recorded_row(draft(numbers[i])), draws[i].log_sum_exp, head_options().scale());
  }

  /// The rows of hidden_ that predict the next tokens of these drafts.   [numbers, C]
  template <class = void>
  View<const float> rows_of(std::span<const Index> numbers) {
    const View<const float> hidden = hidden_.view();
    const View<float> rows = rows_.shaped(static_cast<Index>(numbers.size()), hidden.cols());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const View<const float> row = hidden.row(state(numbers[i]).hidden_row);
      std::copy(row.begin(), row.end(), rows.row(static_cast<Index>(i)).data());
    }
    return rows;
  }

  template <class = void>
  std::vector<kernel::TokenDraw> draw(std::span<const Index> numbers, RngKey key) {
    std::vector<double> uniform;
    for (const Index number : numbers) {
      const Draft& d = draft(number);
      uniform.push_back(key.fold(prompts_[static_cast<std::size_t>(d.prompt)].id)
                            .fold(static_cast<std::uint64_t>(d.sample))
                            .uniform(d.token.size()));
    }
    std::vector<kernel::TokenDraw> draws(numbers.size());
    const kernel::HeadOptions options = head_options();
    const kernel::PackedMatrix<float>& head = model_->network().head.packed();
    // Drafts of one prompt start from one hidden row: then logits are made once for each row, not for each draft.
    const bool shared = hidden_.view().rows() < static_cast<Index>(numbers.size());
    if (sampler_.full_law() && !shared) {
      kernel::sample_from_head(Cpu{}, rows_of(numbers), head, options, uniform, draws);
      return draws;
    }
    const View<float> logits = logits_.shaped(hidden_.view().rows(), model_->shape().vocab);
    model_->head(hidden_.view(), logits);
    parallel_for(static_cast<Index>(numbers.size()), 1, [&](Index begin, Index) {
      const auto i = static_cast<std::size_t>(begin);
      const View<const float> row = logits.row(state(numbers[i]).hidden_row);
      draws[i] = sampler_.full_law() ? kernel::sample_token(Cpu{}, row, uniform[i], options.scale())
                                     : draw_warped(numbers[i], row, uniform[i]);
    });
    return draws;
  }

  template <class = void>
  kernel::TokenDraw draw_warped(Index number, View<const float> logit, double uniform) {
    std::vector<float> warped(logit.begin(), logit.end());
    std::vector<TokenId> context;
    const Draft& d = draft(number);
    if (sampler_.repetition_penalty != 1) {
      context = prompts_[static_cast<std::size_t>(d.prompt)].tokens;
      context.insert(context.end(), d.token.begin(), d.token.end());
    }
    warp(sampler_, warped, context, static_cast<Index>(d.token.size()));
    const View<const float> row(warped.data(), logit.size());
    if (!sampler_.greedy()) return kernel::sample_token(Cpu{}, row, uniform);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    const double norm = kernel::log_sum_exp(Cpu{}, logit);  // greedy reports the model's own log-prob
    require<DomainError>(std::isfinite(norm), "Session: finite logits expected, got log-sum-exp ", norm,
                         "; the model's weights are damaged");
    return {static_cast<TokenId>(best), static_cast<double>(logit[best]) - norm, norm};
  }

  template <class = void>
  void push(Index number, TokenId token, double log_prob) {
    Draft& d = draft(number);
    d.token.push_back(token);
    d.log_prob.push_back(log_prob);
    const auto length = static_cast<Index>(d.token.size());
    const auto before = static_cast<Index>(prompts_[static_cast<std::size_t>(d.prompt)].tokens.size());
    d.finished = sampler_.ends(token);
    d.live = !d.finished && length < sampler_.max_new_tokens && before + length < model_->shape().context;
    state(number).behind = d.live;
    if (!d.live) state(number).cache = {};
  }

  model::CausalLm* model_;
  Sampler sampler_;
  std::vector<Prompt> prompts_;
  model::KvPool<> pool_;
  std::vector<Draft> draft_;
  std::vector<State> state_;
  std::vector<RecordedPlace> record_;  // [P] or empty
  std::vector<Index> next_sample_;     // [P] first unused sample number
  model::Buffer<> hidden_, rows_, logits_;
};
}  // namespace vbon::policy
