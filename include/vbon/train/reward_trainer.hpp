// vbon/train/reward_trainer.hpp
//
// Trains a reward model on scores or preferences. A step takes its examples epoch after epoch, sends the gradient of
// their mean loss backwards in micro-batches, clips, and moves the parameters with AdamW. With the head alone in
// training the states that it reads are computed once.
//
// Everything a step does follows from the parameters, the moments and the step number. So a checkpoint holds just
// these, and a run that was killed ends with the same bits as one that was not, on any number of threads.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/optim/adamw.hpp"
#include "vbon/optim/clip.hpp"
#include "vbon/optim/schedule.hpp"
#include "vbon/reward/agreement.hpp"
#include "vbon/reward/training_tokens.hpp"
#include "vbon/train/callback.hpp"
#include "vbon/train/checkpoint.hpp"
#include "vbon/train/epoch_order.hpp"
#include "vbon/train/memory.hpp"
#include "vbon/train/metrics.hpp"

namespace vbon::train {
struct RewardTrainerOptions {
  std::uint64_t seed = 0;
  bool head_only = false;
  Index steps = 0;
  Index batch = 16;        // examples per step
  Index micro_batch = 16;  // examples per backward pass at most; changes the gradient to rounding only
  double rate = 2e-5;      // peak learning rate
  optim::Schedule schedule = {};
  double clip = 1;                    // bound of the global gradient norm; infinity: none
  Index checkpoint_every = 50;        // steps; 0: at the end only
  Index evaluate_every = 0;           // steps between evaluations on what is held out; 0: at the end only
  std::filesystem::path folder = {};  // checkpoints and metrics; empty: nothing is kept
};

template <reward::TrainableClassifier M>
class RewardTrainer {
 public:
  /// All arguments but the optimiser and the options are kept by reference.
  /// @throws ConfigError for sizes that cannot be
  RewardTrainer(M& model, const reward::TokenizedExamples& training, const reward::TokenizedExamples& held_out,
                optim::AdamW optimizer, RewardTrainerOptions options)
      : model_(model),
        training_{training, {}},
        held_out_{held_out, {}},
        optimizer_(std::move(optimizer)),
        options_(std::move(options)),
        checkpoints_(options_.folder) {
    require<ConfigError>(training.size() > 0, "RewardTrainer: at least one example expected");
    require<ConfigError>(options_.steps >= 0 && options_.batch >= 1 && options_.micro_batch >= 1,
                         "RewardTrainer: steps >= 0, batch >= 1 and micro_batch >= 1 expected");
    if (options_.head_only) {
      for (Set* set : {&training_, &held_out_}) compute_states(*set);
      model_.train_head_only();
    }
    optimizer_.ranges = model_.undecayed();
  }

  /// Trains from the newest checkpoint on where there is one.
  /// @throws RunError non_finite (names the step), no_space
  Outcome run(const Callbacks& callbacks = {}) {
    start();
    while (step_ < options_.steps) {
      one_step();
      metrics_.write(phase, step_, row_, timing_);
      if (callbacks.step) callbacks.step({phase, step_, options_.steps, row_, timing_});
      const bool last = step_ == options_.steps;
      if (held_out_.data.size() > 0 && (last || (options_.evaluate_every > 0 && step_ % options_.evaluate_every == 0)))
        metrics_.write("evaluate", step_, evaluate(), {});
      const bool stop = !last && callbacks.stop && callbacks.stop();
      if (stop || last || (options_.checkpoint_every > 0 && step_ % options_.checkpoint_every == 0)) {
        save();
        if (callbacks.saved) callbacks.saved(phase, step_);
      }
      if (stop) return Outcome::stopped;
    }
    if (!options_.folder.empty()) metrics_.write_csv();
    return Outcome::finished;
  }
  /// The figures of a step on all that is held out.
  Metrics evaluate() {
    std::vector<std::size_t> all(static_cast<std::size_t>(held_out_.data.size()));
    std::iota(all.begin(), all.end(), std::size_t{0});
    const Array rewards = this->rewards(held_out_, held_out_.data.examples.texts_of(all));
    Array unused;
    const double loss = held_out_.data.examples.value(all, rewards, unused);
    return measure(held_out_.data.examples, all, rewards, loss);
  }
  /// Removes the checkpoints: the model is saved elsewhere.
  void remove_checkpoints() { checkpoints_.remove(); }

  Index steps_done() const { return step_; }

 private:
  inline static const std::string phase = "train_reward";
  /// Examples, and with the head alone in training the states of their texts.
  struct Set {
    const reward::TokenizedExamples& data;
    Tensor<float> states;  // [texts, C]
  };

  void start() {
    step_ = 0;
    std::vector<std::uint64_t> sizes;
    if (!options_.folder.empty()) {
      checkpoints_.reserve(arrays());
      if (const auto about = checkpoints_.read(arrays())) {
        step_ = about->at("step").template get<Index>();
        optimizer_.state.steps = about->at("optimizer_steps").template get<Index>();
        sizes = about->at("sizes").template get<std::vector<std::uint64_t>>();
        model_.parameters_changed();
      }
    }
    metrics_ = MetricsWriter(options_.folder, sizes);
  }
  void save() {
    if (options_.folder.empty()) return;
    checkpoints_.write({{"step", step_}, {"optimizer_steps", optimizer_.state.steps}, {"sizes", metrics_.sizes()}},
                       arrays());
    metrics_.write_csv();
  }
  CheckpointArrays arrays() {
    auto& state = optimizer_.state;
    const View<float> parameters = model_.parameters();
    if (state.first.empty()) {
      state.first = Tensor<float>(parameters.size());
      state.second = Tensor<float>(parameters.size());
    }
    return {parameters.span(), state.first.view().span(), state.second.view().span()};
  }

  void one_step() {
    const auto began = std::chrono::steady_clock::now();
    const reward::TrainingExamples& examples = training_.data.examples;
    const auto chosen = examples_of_step(examples.target.size(), options_.batch, step_, RngKey{options_.seed, 0}.fold(1));
    model_.zero_gradients();
    double loss = 0;
    Index tokens = 0;
    std::vector<double> batch_rewards(chosen.size() * static_cast<std::size_t>(examples.texts_each()));
    for (std::size_t begin = 0; begin < chosen.size(); begin += static_cast<std::size_t>(options_.micro_batch)) {
      const auto count = std::min(static_cast<std::size_t>(options_.micro_batch), chosen.size() - begin);
      const auto which = std::span(chosen).subspan(begin, count);
      const double share = static_cast<double>(count) / static_cast<double>(chosen.size());
      const auto texts = examples.texts_of(which);
      const Array rewards = backward(texts, [&](const Array& got, Array& dreward) {
        loss += share * examples.value(which, got, dreward);
        dreward *= share;
      });
      // In the order of texts_of(chosen).
      for (std::size_t i = 0; i < texts.size(); ++i)
        batch_rewards[i / count * chosen.size() + begin + i % count] = rewards[static_cast<Index>(i)];
      for (const std::size_t t : texts) tokens += static_cast<Index>(training_.data.tokens[t].size());
    }
    require_finite(loss, "loss");
    const double norm = optim::global_norm(model_.gradients());
    require_finite(norm, "gradient norm");
    optimizer_.rate = options_.rate * options_.schedule.factor(step_ + 1);
    optimizer_.step(model_.parameters(), model_.gradients(),
                    std::isinf(options_.clip) ? 1 : optim::clip_factor(norm, options_.clip));
    model_.parameters_changed();
    ++step_;
    row_ = measure(examples, chosen, Eigen::Map<const Array>(batch_rewards.data(), static_cast<Index>(batch_rewards.size())),
                   loss);
    row_.emplace_back("gradient_norm", norm);
    row_.emplace_back("rate", optimizer_.rate);
    row_.emplace_back("epoch", static_cast<double>(step_ * options_.batch) / static_cast<double>(examples.size()));
    row_.emplace_back("tokens", static_cast<double>(tokens));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    timing_ = {{"step_seconds", seconds},
               {"tokens_per_second", static_cast<double>(tokens) / seconds},
               {"resident_megabytes", resident_megabytes()}};
  }

  /// Sends d loss / d reward of some texts backwards; loss(rewards, dreward) fills it.
  /// @return the rewards
  template <class Loss>
  Array backward(std::span<const std::size_t> texts, const Loss& loss) {
    Array rewards;
    const auto dlogits = [&](View<const float> logits) -> View<const float> {
      rewards = label_rewards(logits);
      Array dreward;
      loss(rewards, dreward);
      dlogits_ = Tensor<float>(logits.rows(), logits.cols());
      for (Index i = 0; i < logits.rows(); ++i)
        reward::label_reward_backward(logits.row(i), model_.label(), dreward[i], dlogits_.row(i));
      return dlogits_.view();
    };
    if (options_.head_only)
      model_.head_backward(dlogits(model_.head_logits(states_of(training_, texts))));
    else
      model_.backward(training_.data.sequences(texts), dlogits);
    return rewards;
  }
  Array rewards(const Set& set, std::span<const std::size_t> texts) {
    Array out(static_cast<Index>(texts.size()));
    for_each_pass(set.data, texts, [&](std::size_t begin, std::span<const std::size_t> part) {
      const View<const float> logits =
          options_.head_only ? model_.head_logits(states_of(set, part)) : model_.logits(set.data.sequences(part));
      out.segment(static_cast<Index>(begin), logits.rows()) = label_rewards(logits);
    });
    return out;
  }
  Array label_rewards(View<const float> logits) const {
    Array out(logits.rows());
    for (Index i = 0; i < logits.rows(); ++i) out[i] = reward::label_reward(logits.row(i), model_.label());
    return out;
  }

  void compute_states(Set& set) {
    std::vector<std::size_t> all(set.data.tokens.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    set.states = Tensor<float>(static_cast<Index>(all.size()), model_.width());
    for_each_pass(set.data, all, [&](std::size_t begin, std::span<const std::size_t> part) {
      const View<const float> states = model_.states(set.data.sequences(part));
      std::copy(states.begin(), states.end(), set.states.row(static_cast<Index>(begin)).data());
    });
  }
  View<const float> states_of(const Set& set, std::span<const std::size_t> texts) {
    batch_states_ = Tensor<float>(static_cast<Index>(texts.size()), model_.width());
    for (std::size_t i = 0; i < texts.size(); ++i)
      std::copy_n(set.states.row(static_cast<Index>(texts[i])).data(), model_.width(),
                  batch_states_.row(static_cast<Index>(i)).data());
    return batch_states_.view();
  }
  /// Calls f(begin, texts[begin...]) for runs of about 2,048 tokens.
  template <class F>
  static void for_each_pass(const reward::TokenizedExamples& data, std::span<const std::size_t> texts, const F& f) {
    for (std::size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
      std::size_t tokens = 0;
      do tokens += data.tokens[texts[end++]].size();
      while (end < texts.size() && tokens + data.tokens[texts[end]].size() <= 2048);
      f(begin, texts.subspan(begin, end - begin));
    }
  }

  /// Figures of some examples from the rewards of texts_of(which).
  static Metrics measure(const reward::TrainingExamples& examples, std::span<const std::size_t> which, const Array& rewards,
                         double loss) {
    const auto n = static_cast<Index>(which.size());
    Metrics row = {{"loss", loss}};
    if (examples.loss == reward::ExampleLoss::preference) {
      const Array margin = rewards.head(n) - rewards.tail(n);
      row.emplace_back("accuracy",
                       static_cast<double>(std::count_if(margin.begin(), margin.end(), [](double m) { return m > 0; })) /
                           static_cast<double>(n));
      row.emplace_back("margin", margin.mean());
    } else {
      const bool logistic = examples.loss == reward::ExampleLoss::logistic;
      std::vector<double> wanted;  // a probability of one half is no sign
      for (const std::size_t i : which) wanted.push_back(examples.target[i] - (logistic ? 0.5 : 0.0));
      const auto agreed = reward::agreement({rewards.data(), which.size()}, wanted);
      if (logistic) row.emplace_back("accuracy", agreed.signed_count > 0 ? agreed.sign_accuracy : std::nan(""));
      if (!logistic) row.emplace_back("pearson", agreed.pearson);
      if (!logistic) row.emplace_back("spearman", agreed.spearman);
    }
    row.emplace_back("reward", rewards.mean());
    return row;
  }
  void require_finite(double value, std::string_view what) const {
    require<RunError>(std::isfinite(value), ErrorCode{"non_finite"}, "the ", what, " is ", value, " at step ", step_ + 1,
                      "; lower the learning rate or look at the targets");
  }

  M& model_;
  Set training_, held_out_;
  optim::AdamW optimizer_;
  RewardTrainerOptions options_;
  CheckpointStore checkpoints_;
  MetricsWriter metrics_;
  Index step_ = 0;
  Metrics row_, timing_;  // of the step that ran last
  Tensor<float> dlogits_, batch_states_;
};
}  // namespace vbon::train
