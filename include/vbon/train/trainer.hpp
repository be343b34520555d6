// vbon/train/trainer.hpp
//
// The loop. A step takes its prompts, gets responses (sampled from the policy, or from the reference cache),
// scores them, looks up where their rewards stand among the reference's, asks the objective for
// d loss / d log_prob, sends it backwards in micro-batches of fixed order, clips, and moves the policy.
//
//   prompts -> sample -> score -> annotate -> reference log-probs -> objective -> backward -> clip -> AdamW
//
// An objective may also need an anchor (a copy of the policy, taken when its phase begins, that follows it and
// is sampled), a critic, or a number it carries from step to step. Everything a step does follows from these, the
// parameters, the moments and the step number.
// So a checkpoint holds just these, and a run that was killed ends with the same bits as one that was not.
#pragma once
#include <chrono>
#include <cmath>
#include <concepts>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/data/answer.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/optim/clip.hpp"
#include "vbon/policy/linear_critic.hpp"
#include "vbon/rollout/reference_cache.hpp"
#include "vbon/train/callback.hpp"
#include "vbon/train/checkpoint.hpp"
#include "vbon/train/memory.hpp"
#include "vbon/train/metrics.hpp"
#include "vbon/train/phase.hpp"
#include "vbon/train/step_metrics.hpp"

namespace vbon::train {
struct TrainerOptions {
  std::uint64_t seed = 0;
  double clip = 1;                    // bound of the global gradient norm; infinity: none
  Index micro_batch = 64;             // responses per backward pass at most (a group is never cut)
  Index checkpoint_every = 10;        // steps; 0: at the end of a phase only
  Index evaluate_every = 0;           // steps; 0: never
  AnswerOf answer = {};               // which responses agree, for objectives that count votes
  std::filesystem::path folder = {};  // checkpoints and metrics; empty: nothing is kept
};

template <TrainablePolicy P, Reward R>
class Trainer {
 public:
  /// All arguments are kept by reference, except the optimiser and the options.
  Trainer(P& policy, P& reference, const R& reward, const rollout::ReferenceCache& cache, rollout::AnyCdf cdf,
          optim::AdamW optimizer, TrainerOptions options)
      : policy_(policy),
        reference_(reference),
        reward_(reward),
        cache_(cache),
        cdf_(std::move(cdf)),
        optimizer_(std::move(optimizer)),
        options_(std::move(options)),
        checkpoints_(options_.folder) {
    require<ConfigError>(options_.micro_batch >= 1, "Trainer: micro_batch >= 1 expected, got ", options_.micro_batch);
    require<ConfigError>(options_.checkpoint_every >= 0 && options_.evaluate_every >= 0,
                         "Trainer: checkpoint_every and evaluate_every >= 0 expected");
  }

  /// Runs the phases one after the other, from the newest checkpoint on where there is one.
  ///
  /// @param prompts  training prompts; each must be in the reference cache
  /// @throws RunError non_finite (names the phase and step), no_space; DomainError nan_reward, unknown_prompt
  Outcome run(std::span<const Prompt> prompts, const std::vector<Phase>& phases, const Callbacks& callbacks = {}) {
    require<ConfigError>(!prompts.empty(), "Trainer: at least one prompt expected");
    for (const Phase& phase : phases) check(phase);
    prepare_extras(phases, prompts);
    start(static_cast<Index>(phases.size()));
    try {
      if (row_due_ || evaluation_due_) report(phases[static_cast<std::size_t>(position_.phase)], callbacks);
      for (; position_.phase < static_cast<Index>(phases.size()); position_ = {position_.phase + 1, 0}) {
        const Phase& phase = phases[static_cast<std::size_t>(position_.phase)];
        if (phase.has_anchor() && position_.step == 0) start_anchor();
        if (position_.step == 0) carried_ = phase.objective.carried;
        while (position_.step < phase.steps) {
          one_step(phase, prompts);
          report(phase, callbacks);
          const bool stop = callbacks.stop && callbacks.stop();
          if (stop || position_.step == phase.steps ||
              (options_.checkpoint_every > 0 && position_.step % options_.checkpoint_every == 0)) {
            save();
            if (callbacks.saved) callbacks.saved(phase.name, position_.step);
          }
          if (stop) return Outcome::stopped;
        }
      }
    } catch (const Error&) {
      // The world failed around a step (a full disk, a dead reward process, a reward that is NaN): keep what was
      // computed.
      if (unsaved_ && whole_) save();
      throw;
    }
    // A kill between the last checkpoint and its table would leave the table short: write it whatever came before.
    if (!options_.folder.empty()) metrics_.write_csv();
    return Outcome::finished;
  }

  /// Removes the checkpoints: the run's model is saved elsewhere.
  void remove_checkpoints() { checkpoints_.remove(); }

  const optim::AdamW& optimizer() const { return optimizer_; }

 private:
  struct Clock {
    std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
    void lap(Metrics& timing, const char* name) {
      const auto now = std::chrono::steady_clock::now();
      timing.emplace_back(name, std::chrono::duration<double>(now - last).count());
      last = now;
    }
  };
  struct Position {
    Index phase = 0, step = 0;
  };

  static void check(const Phase& phase) {
    const std::string where = "phase '" + phase.name + "'";
    train::check(phase);
    require<ConfigError>(!phase.has_anchor() || copyable, where, ": objective '", phase.objective.name,
                         "' needs an anchor, and this policy cannot be copied");
    require<ConfigError>(!phase.objective.needs.value || FeaturedPolicy<P>, where, ": objective '", phase.objective.name,
                         "' needs a critic, and this policy has no features() for one to read");
  }

  static constexpr bool clonable = requires(const P& policy) {
    { policy.clone() } -> std::same_as<P>;
  };
  static constexpr bool copyable = clonable || std::copy_constructible<P>;
  static P copy_of(const P& policy) requires(copyable) {
    if constexpr (clonable)
      return policy.clone();
    else
      return policy;
  }

  /// The anchor and the critic that some phase needs, so that a checkpoint can be read into them.
  void prepare_extras(const std::vector<Phase>& phases, std::span<const Prompt> prompts) {
    anchor_.reset();
    critic_.reset();
    for (const Phase& phase : phases) {
      if constexpr (copyable)
        if (phase.has_anchor() && !anchor_) anchor_.emplace(copy_of(policy_));
      if constexpr (FeaturedPolicy<P>)
        if (phase.objective.needs.value && !critic_) {
          // Asked of a response of one token: how wide the features are.
          RolloutBatch one;
          one.add_prompt(prompts[0]);
          one.add_response(std::vector<TokenId>{0}, true);
          critic_.emplace(policy_.features(one).cols());
          critic_optimizer_ = optim::AdamW{.weight_decay = 0};
          critic_optimizer_.state.first = Tensor<float>(critic_->parameters().size());
          critic_optimizer_.state.second = Tensor<float>(critic_->parameters().size());
        }
    }
  }
  /// The anchor starts where the policy stands when its phase begins.
  void start_anchor() {
    objective::move_anchor<float>(anchor_->parameters().span(), policy_.parameters().span(), 1);
    anchor_->parameters_changed();
  }
  void move_anchor(const objective::Anchor& rule) {
    rule.after_step<float>(position_.step, anchor_->parameters().span(), policy_.parameters().span());
    anchor_->parameters_changed();
  }

  CheckpointArrays arrays() {
    auto& state = optimizer_.state;
    const Index size = policy_.parameters().size();
    if (state.first.empty()) {
      state.first = Tensor<float>(size);
      state.second = Tensor<float>(size);
    }
    CheckpointArrays all = {policy_.parameters().span(), state.first.view().span(), state.second.view().span()};
    if (anchor_) all.push_back(anchor_->parameters().span());
    if (critic_)
      for (const auto& values :
           {critic_->parameters(), critic_optimizer_.state.first.view(), critic_optimizer_.state.second.view()})
        all.push_back(values.span());
    return all;
  }
  void start(Index phases) {
    position_ = {};
    unsaved_ = row_due_ = evaluation_due_ = false;
    std::vector<std::uint64_t> sizes;
    if (!options_.folder.empty()) {
      checkpoints_.reserve(arrays());
      if (const std::optional<io::Json> about = checkpoints_.read(arrays())) {
        position_ = {about->at("phase").get<Index>(), about->at("step").get<Index>()};
        require<ConfigError>(position_.phase < phases, "the checkpoint in ", options_.folder.string(), " is of phase ",
                             position_.phase + 1, ", this run has ", phases);
        optimizer_.state.steps = about->at("optimizer_steps").get<Index>();
        critic_optimizer_.state.steps = about->value("critic_steps", Index{0});
        if (about->contains("carried")) carried_ = about->at("carried").get<double>();
        policy_.parameters_changed();
        if (anchor_) anchor_->parameters_changed();
        sizes = about->at("sizes").get<std::vector<std::uint64_t>>();
        metric_row_.clear();
        for (const auto& pair : about->at("row"))  // a value that is not finite was written as null
          metric_row_.emplace_back(pair.at(0).get<std::string>(), pair.at(1).is_null() ? NAN : pair.at(1).get<double>());
        row_due_ = about->at("row_due").get<bool>();
        evaluation_due_ = about->at("evaluation_due").get<bool>();
      }
    }
    metrics_ = MetricsWriter(options_.folder, sizes);
  }
  void save() {
    if (options_.folder.empty()) return;
    io::Json about = {{"phase", position_.phase},
                      {"step", position_.step},
                      {"optimizer_steps", optimizer_.state.steps},
                      {"critic_steps", critic_optimizer_.state.steps},
                      {"sizes", metrics_.sizes()},
                      {"row", metric_row_},
                      {"row_due", row_due_},
                      {"evaluation_due", evaluation_due_}};
    if (carried_) about["carried"] = *carried_;
    checkpoints_.write(about, arrays());
    unsaved_ = false;
    metrics_.write_csv();
  }

  /// Everything the objective asks for: responses, rewards, their place among the reference's, log-probs.
  Streams prepare(const Phase& phase, std::span<const Prompt> prompts, std::span<const std::size_t> pairs, RngKey key) {
    Streams streams;
    Clock clock;
    if (phase.from_policy()) {
      if constexpr (RecordingPolicy<P>)
        streams.policy = policy_.sample_for_backward(prompts, phase.samples, key);
      else
        streams.policy = policy_.sample(prompts, phase.samples, key);
      clock.lap(timing_, "sample_seconds");
      rollout::score(reward_, streams.policy);
      clock.lap(timing_, "score_seconds");
      cache_.annotate(streams.policy, cdf_);
      streams.policy.log_prob = streams.policy.old_log_prob;  // nothing moved since the draw
    }
    if (phase.from_cache()) streams.reference = cached_batch(phase, prompts, key.fold(1));
    if (phase.from_pairs()) streams.reference = preference_batch(phase.pairs, pairs);
    clock.lap(timing_, "cache_seconds");
    if (phase.from_anchor()) {
      streams.anchor = anchor_->sample(prompts, phase.anchor_samples(), key.fold(2));
      rollout::score(reward_, streams.anchor);
      cache_.annotate(streams.anchor, cdf_);
      streams.anchor.anchor_log_prob = streams.anchor.old_log_prob;
    }
    if (phase.objective.needs.anchor_log_prob && streams.policy.responses() > 0)
      streams.policy.anchor_log_prob = anchor_->log_prob(streams.policy);
    if (phase.has_anchor()) clock.lap(timing_, "anchor_seconds");
    for (RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor})
      if (phase.objective.needs.ref_log_prob && batch->responses() > 0 && batch->ref_log_prob.size() == 0)
        batch->ref_log_prob = reference_.log_prob(*batch);
    for (RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor})
      if (phase.objective.needs.answer) classify_answers(*batch, options_.answer);
    clock.lap(timing_, "reference_seconds");
    return streams;
  }

  /// The critic's values of the policy's samples; returns what it read.
  Tensor<float> evaluate_critic(RolloutBatch& batch, bool first) {
    Tensor<float> features;
    if constexpr (FeaturedPolicy<P>) {
      features = policy_.features(batch);
      batch.value = critic_->value(features);
      if (first) batch.old_value = batch.value;
    }
    return features;
  }
  void step_critic(const Phase& phase, const Tensor<float>& features, const Array& dvalue) {
    critic_->backward(features, dvalue);
    const double norm = optim::global_norm(critic_->gradients());
    require_finite(norm, "gradient norm of the critic", phase);
    critic_optimizer_.rate = phase.critic_rate * phase.schedule.factor(position_.step + 1);
    critic_optimizer_.step(critic_->parameters(), critic_->gradients(),
                           std::isinf(options_.clip) ? 1 : optim::clip_factor(norm, options_.clip));
  }

  RolloutBatch cached_batch(const Phase& phase, std::span<const Prompt> prompts, RngKey key) const {
    RolloutBatch batch = cache_.batch(prompts, [&](Index p, const rollout::CachedPrompt& entry) {
      const RngKey draw = key.fold(prompts[static_cast<std::size_t>(p)].id);
      if (phase.draw == Draw::best)
        return systematic_draw(best_of_n_weights(entry.reward, phase.n), phase.samples, draw.uniform(0));
      if (phase.draw == Draw::outer) return outer_draw(entry.reward, phase.samples, draw);
      return uniform_draw(entry.samples(), phase.draw == Draw::uniform ? phase.samples : entry.samples(), draw);
    });
    if (phase.draw == Draw::weighted)
      for (Index p = 0; p < batch.prompts(); ++p) {
        const auto weight = best_of_n_weights(cache_.find(prompts[static_cast<std::size_t>(p)].text).reward, phase.n);
        std::copy(weight.begin(), weight.end(), batch.weight.data() + batch.group_offset[static_cast<std::size_t>(p)]);
      }
    cache_.annotate_left_out(batch, cdf_);
    return batch;
  }

  void one_step(const Phase& phase, std::span<const Prompt> all) {
    timing_.clear();
    const RngKey key = RngKey{options_.seed, 0}.fold(static_cast<std::uint64_t>(position_.phase) + 1);
    const auto chosen =
        examples_of_step(phase.from_pairs() ? phase.pairs.size() : all.size(), phase.prompts, position_.step, key.fold(0));
    std::vector<Prompt> prompts;
    for (const std::size_t i : chosen)
      if (!phase.from_pairs()) prompts.push_back(all[i]);
    Streams streams = prepare(phase, prompts, chosen, key.fold(1).fold(static_cast<std::uint64_t>(position_.step)));
    whole_ = false;  // from here the parameters may be half way between two steps
    std::optional<double> carried;
    for (Index update = 0; update < phase.updates; ++update) {
      Clock clock;
      std::optional<StreamsResult> done = in_one_pass(phase, streams);
      if (!done)
        for (RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor})
          if (batch->responses() > 0 && (batch->log_prob.size() == 0 || update > 0))
            batch->log_prob = policy_.log_prob(*batch);
      for (const RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor})
        require_finite(batch->log_prob.sum(), "sum of the log-probs", phase);
      const bool critic = phase.objective.needs.value;
      Tensor<float> features;
      if (critic) features = evaluate_critic(streams.policy, update == 0);
      clock.lap(timing_, done ? "forward_backward_seconds" : "forward_seconds");
      const StreamsResult result = done ? *std::move(done) : phase.objective.call(streams, carried_);
      require_finite(result.loss, "loss", phase);
      if (!done) {
        policy_.zero_gradients();
        backward(streams.policy, result.policy);
        backward(streams.reference, result.reference);
        backward(streams.anchor, result.anchor);
      }
      clock.lap(timing_, "backward_seconds");
      const double norm = optim::global_norm(policy_.gradients());
      require_finite(norm, "gradient norm", phase);
      optimizer_.rate = phase.rate * phase.schedule.factor(position_.step + 1);
      optimizer_.step(policy_.parameters(), policy_.gradients(),
                      std::isinf(options_.clip) ? 1 : optim::clip_factor(norm, options_.clip));
      policy_.parameters_changed();
      if (critic) step_critic(phase, features, result.dvalue);
      clock.lap(timing_, "optimizer_seconds");
      if (update == 0) {
        metric_row_ = step_metrics(streams, result, norm, optimizer_.rate);
        carried = phase.objective.next(streams, carried_);  // all updates of a rollout see the same number
      }
    }
    if (phase.has_anchor()) move_anchor(phase.objective.anchor);
    carried_ = carried;
    ++position_.step;
    double seconds = 0;
    for (const auto& [name, value] : timing_) seconds += value;
    timing_.emplace_back("step_seconds", seconds);
    timing_.emplace_back(
        "tokens_per_second",
        static_cast<double>(streams.policy.tokens() + streams.reference.tokens() + streams.anchor.tokens()) / seconds);
    timing_.emplace_back("resident_megabytes", resident_megabytes());
    evaluation_due_ = options_.evaluate_every > 0 && position_.step % options_.evaluate_every == 0;
    whole_ = unsaved_ = row_due_ = true;
  }

  /// Cached responses under a loss that is the mean over prompts: their log-probs are not known from sampling, and one
  /// forward pass serves them and the gradient, a few prompts after another. Fills reference.log_prob and the gradients;
  /// nothing where this cannot be.
  std::optional<StreamsResult> in_one_pass(const Phase& phase, Streams& streams) {
    RolloutBatch& batch = streams.reference;
    if constexpr (!requires(P & policy) { policy.cuts_for_backward(batch, Index{}); }) {
      return std::nullopt;
    } else {
      if (!phase.objective.by_prompt || phase.objective.needs.value || batch.responses() == 0 ||
          streams.policy.responses() > 0 || streams.anchor.responses() > 0)
        return std::nullopt;
      const std::vector<Index> cuts = policy_.cuts_for_backward(batch, options_.micro_batch);
      if (cuts.empty()) return std::nullopt;
      policy_.zero_gradients();
      Array log_prob(batch.tokens());
      StreamsResult result;
      const auto prompts = static_cast<double>(batch.prompts());
      for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
        Streams part;
        part.reference = rollout::slice(batch, cuts[k], cuts[k + 1] - cuts[k]);
        const double share = static_cast<double>(part.reference.prompts()) / prompts;
        const Index begin = batch.offset[static_cast<std::size_t>(batch.group_offset[static_cast<std::size_t>(cuts[k])])];
        policy_.backward_through(part.reference, [&](const Array& made) -> Array {
          log_prob.segment(begin, made.size()) = made;
          part.reference.log_prob = made;
          require_finite(made.sum(), "sum of the log-probs", phase);
          const StreamsResult own = phase.objective.call(part, carried_);
          result.loss += share * own.loss;
          return share * own.reference;
        });
      }
      batch.log_prob = std::move(log_prob);
      return result;
    }
  }

  /// Whole groups of at most micro_batch responses, in order: the gradient is the same to rounding however it is cut.
  void backward(const RolloutBatch& batch, const Array& dlog_prob) {
    if (batch.responses() == 0 || dlog_prob.size() == 0) return;
    require<ShapeError>(dlog_prob.size() == batch.tokens(), "Trainer: ", batch.tokens(), " derivatives expected, got ",
                        dlog_prob.size());
    for (Index first = 0; first < batch.prompts();) {
      Index last = first + 1;
      const Index begin = batch.group_offset[static_cast<std::size_t>(first)];
      while (last < batch.prompts() &&
             batch.group_offset[static_cast<std::size_t>(last) + 1] - begin <= options_.micro_batch)
        ++last;
      const Index token_begin = batch.offset[static_cast<std::size_t>(begin)];
      const Index token_end = batch.offset[static_cast<std::size_t>(batch.group_offset[static_cast<std::size_t>(last)])];
      policy_.backward(rollout::slice(batch, first, last - first), dlog_prob.segment(token_begin, token_end - token_begin));
      first = last;
    }
  }

  /// Writes the row of the step and evaluates where that is due. What fails here is made up for after a resume.
  void report(const Phase& phase, const Callbacks& callbacks) {
    if (row_due_) metrics_.write(phase.name, position_.step, metric_row_, timing_);
    row_due_ = false;
    if (callbacks.step) callbacks.step({phase.name, position_.step, phase.steps, metric_row_, timing_});
    if (evaluation_due_ && callbacks.evaluate)
      metrics_.write("evaluate " + phase.name, position_.step, callbacks.evaluate(position_.step), {});
    evaluation_due_ = false;
  }

  void require_finite(double value, std::string_view what, const Phase& phase) const {
    require<RunError>(std::isfinite(value), ErrorCode{"non_finite"}, "the ", what, " is ", value, " in phase '", phase.name,
                      "' at step ", position_.step + 1, "; lower the learning rate or look at the rewards of that step");
  }

  P& policy_;
  P& reference_;
  const R& reward_;
  const rollout::ReferenceCache& cache_;
  rollout::AnyCdf cdf_;
  optim::AdamW optimizer_;
  std::optional<P> anchor_;
  std::optional<policy::LinearCritic> critic_;
  optim::AdamW critic_optimizer_;
  TrainerOptions options_;
  CheckpointStore checkpoints_;
  MetricsWriter metrics_;
  Position position_;
  std::optional<double> carried_;                  // by the objective of the phase, from step to step
  Metrics metric_row_, timing_;                    // of the step that ran last
  bool whole_ = true;                              // the parameters are those of a finished step
  bool unsaved_ = false;                           // a finished step is not in a checkpoint yet
  bool row_due_ = false, evaluation_due_ = false;  // not written yet for that step
};
}  // namespace vbon::train
