// vbon/eval/evaluate.hpp
//
// What alignment achieved on held-out prompts: how often one sample of the policy beats one of the reference, at
// which divergence, beside best-of-N itself. Best-of-N needs no draws of its own: the reference pool, weighted
// with the probability of being the best of a random N-subset, is its law without bias.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/bon/subset_weights.hpp"
#include "vbon/eval/bootstrap.hpp"
#include "vbon/eval/ideal.hpp"
#include "vbon/eval/kl.hpp"
#include "vbon/eval/win_rate.hpp"
#include "vbon/policy/concept.hpp"
#include "vbon/rollout/collect.hpp"
#include "vbon/rollout/reference_cache.hpp"

namespace vbon::eval {
struct EvaluationOptions {
  Index samples = 8;                                           // responses of the policy per prompt
  double n = 4;                                                // N of the best-of-N it is held against
  RngKey key = {};                                             // of the responses; the bootstrap has its own stream
  Index batch = 16;                                            // prompts per chunk
  Index texts = 12;                                            // rows of the table of sample texts
  std::function<bool(Index done, Index total)> progress = {};  // false stops (RunError "stopped")
};

/// A mean over prompts with its 95% interval, prompts resampled; of one prompt there is none, and both ends are NaN.
struct Estimate {
  double value = 0, low = 0, high = 0;
};
/// A mean with its standard error over prompts, NaN for one prompt.
struct MeanError {
  double value = 0, error = 0;
};

/// One policy's responses on the held-out prompts.
struct Arm {
  std::string name;
  std::vector<std::vector<double>> reward;  // [P][samples]
  std::vector<std::vector<double>> weight;  // [P][samples] sums to 1 over a prompt
  Estimate mean_reward;
  Estimate win_rate;             // against the reference
  std::vector<double> win = {};  // [P] the same prompt by prompt; empty for the reference itself
  double length = 0;             // tokens per response; NaN when not known
  double ended = 0;              // share of responses that ended by themselves; NaN when not known
};

/// The first sample of each policy for one prompt.
struct SampleText {
  std::string prompt, reference, aligned, best;
  double reference_reward = 0, aligned_reward = 0, best_reward = 0;
};

struct Evaluation {
  double n = 0;
  Index prompts = 0, samples = 0, reference_samples = 0;
  Arm reference, aligned, best;  // best: plain best-of-N over the reference pool
  MeanError kl;                  // KL(policy || reference), nats per response: exact in each step (Rao-Blackwell)
  MeanError kl_k1, kl_k3;        // the same by sampled log-ratios
  double theory_win_rate = 0;    // N / (N + 1)
  double theory_kl = 0;          // log N - (N - 1) / N
  double ideal_win_rate = 0;     // best-of-N', N' of any size, at the measured KL
  Estimate best_win_rate;        // best of N of the policy against best of N of the reference; NaN for fewer samples
  Estimate worst_win_rate;       // worst of N against worst of N, likewise
  double efficiency = 0;         // (W - 1/2) / (ideal - 1/2); NaN below least_kl, where both are noise around 0
  std::vector<SampleText> text;
};

/// The least divergence at which an efficiency is told, in nats.
inline constexpr double least_kl = 0.05;
inline constexpr std::string_view no_efficiency =
    "none below a KL of 0.05 nats, where best-of-N gains too little to compare with";

namespace detail {
inline MeanError mean_error(const std::vector<double>& values) {
  const double count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  for (const double v : values) squares += (v - sum / count) * (v - sum / count);
  return {sum / count, count > 1 ? std::sqrt(squares / (count - 1) / count) : NAN};
}
/// Where some prompt's number is infinite (a reward of -inf) the mean has no interval.
template <class = void>
Estimate estimate(const std::vector<double>& per_prompt) {
  if (per_prompt.size() == 1) return {per_prompt[0], NAN, NAN};  // resampling one prompt gives it back
  if (std::any_of(per_prompt.begin(), per_prompt.end(), [](double x) { return !std::isfinite(x); }))
    return {mean_error(per_prompt).value, NAN, NAN};
  const BootstrapInterval interval = bootstrap_mean(per_prompt);
  return {interval.estimate, interval.lower, interval.upper};
}
template <class = void>
std::vector<double> weighted_means(const Arm& arm) {
  std::vector<double> means;
  for (std::size_t p = 0; p < arm.reward.size(); ++p) {
    double mean = 0;
    for (std::size_t i = 0; i < arm.reward[p].size(); ++i)
      if (arm.weight[p][i] > 0) mean += arm.weight[p][i] * arm.reward[p][i];  // 0 x inf is no part of a mean
    means.push_back(mean);
  }
  return means;
}

/// P(the best of N of the pool's samples beats another one) + P(tie) / 2, unbiased: of N + 1 random samples the
/// first N compete against the last. Needs M > N; the win rate by resampling otherwise.
template <class = void>
double best_against_pool(std::span<const double> pool, double n) {
  const auto m = static_cast<Index>(pool.size());
  std::vector<double> sorted(pool.begin(), pool.end());
  std::sort(sorted.begin(), sorted.end());
  const bool whole = n == std::floor(n) && n < static_cast<double>(m);
  double win = 0;
  for (const double reward : sorted) {
    const auto counts = bon::count_ranks(std::span<const double>(sorted), reward);
    const Index below = counts.below, not_above = counts.below + counts.equal - 1;
    if (whole)
      win += 1 - 0.5 * (bon::unbiased_power(below, m - 1, static_cast<Index>(n)) +
                        bon::unbiased_power(not_above, m - 1, static_cast<Index>(n)));
    else
      win += 1 - 0.5 * (std::pow(static_cast<double>(below) / static_cast<double>(m), n) +
                        std::pow(static_cast<double>(below + counts.equal) / static_cast<double>(m), n));
  }
  return win / static_cast<double>(m);
}

/// The reference pool as two arms: the reference itself, and best-of-N.
template <class = void>
void pool_arms(const std::vector<const rollout::CachedPrompt*>& pool, double n, Evaluation& out) {
  std::vector<double> best_win;
  double tokens = 0, ended = 0, best_tokens = 0, best_ended = 0;
  bool known = true;
  for (const auto* entry : pool) {
    const std::size_t m = entry->reward.size();
    out.reference.reward.push_back(entry->reward);
    out.reference.weight.emplace_back(m, 1 / static_cast<double>(m));
    out.best.reward.push_back(entry->reward);
    out.best.weight.push_back(n == std::floor(n) && n <= static_cast<double>(m)
                                  ? bon::subset_max_weights(entry->reward, static_cast<Index>(n))
                                  : bon::resampled_max_weights(entry->reward, n));
    best_win.push_back(best_against_pool(entry->reward, n));
    known = known && entry->token.size() == m && entry->finished.size() == m;
    for (std::size_t i = 0; known && i < m; ++i) {
      const double length = static_cast<double>(entry->token[i].size()), weight = out.best.weight.back()[i];
      tokens += length / static_cast<double>(m);
      ended += entry->finished[i] / static_cast<double>(m);
      best_tokens += weight * length;
      best_ended += weight * entry->finished[i];
    }
  }
  const double prompts = static_cast<double>(pool.size());
  out.reference.length = known ? tokens / prompts : NAN;
  out.reference.ended = known ? ended / prompts : NAN;
  out.best.length = known ? best_tokens / prompts : NAN;
  out.best.ended = known ? best_ended / prompts : NAN;
  out.reference.mean_reward = estimate(weighted_means(out.reference));
  out.best.mean_reward = estimate(weighted_means(out.best));
  out.reference.win_rate = {0.5, 0.5, 0.5};
  out.best.win_rate = estimate(best_win);
  out.best.win = std::move(best_win);
}

template <class = void>
void add_text(const rollout::CachedPrompt& pool, const RolloutBatch& batch, Index p, double n, Evaluation& out) {
  if (batch.text.empty() || pool.text.empty()) return;
  const auto i = static_cast<std::size_t>(batch.group_offset[static_cast<std::size_t>(p)]);
  const auto draws = std::min<std::size_t>(pool.reward.size(), static_cast<std::size_t>(std::max(1.0, std::round(n))));
  const auto best = static_cast<std::size_t>(
      std::max_element(pool.reward.begin(), pool.reward.begin() + static_cast<Index>(draws)) - pool.reward.begin());
  out.text.push_back({batch.prompt[static_cast<std::size_t>(p)].text, pool.text[0], batch.text[i], pool.text[best],
                      pool.reward[0], batch.reward[static_cast<Index>(i)], pool.reward[best]});
}
}  // namespace detail

/// The reference and best-of-N alone, from the pool: what a policy is held against. No network is needed.
/// @param pool  responses of the reference on these prompts, at least two each
/// @throws DomainError unknown_prompt, empty_cache; ConfigError without a prompt
template <class = void>
Evaluation evaluate_pool(std::span<const Prompt> prompts, const rollout::ReferenceCache& pool, double n) {
  require<ConfigError>(!prompts.empty(), "eval::evaluate: at least one prompt expected");
  Evaluation out;
  out.n = n;
  out.prompts = static_cast<Index>(prompts.size());
  out.reference.name = "reference";
  out.best.name = message("best of ", n);
  std::vector<const rollout::CachedPrompt*> held;
  for (const auto& prompt : prompts) held.push_back(&pool.find(prompt.text));
  out.reference_samples = held[0]->samples();
  detail::pool_arms(held, n, out);
  out.theory_win_rate = n / (n + 1);
  out.theory_kl = std::log(n) - (n - 1) / n;
  return out;
}

namespace detail {
/// What follows from the rewards of the policy's responses.
template <class = void>
void finish_arms(Evaluation& out) {
  out.aligned.mean_reward = estimate(weighted_means(out.aligned));
  out.aligned.win = win_rate_per_prompt(std::span<const std::vector<double>>(out.aligned.reward),
                                        std::span<const std::vector<double>>(out.reference.reward));
  out.aligned.win_rate = estimate(out.aligned.win);
  std::vector<double> best, worst;
  for (std::size_t p = 0; p < out.aligned.reward.size(); ++p) {
    const auto &ours = out.aligned.reward[p], &theirs = out.reference.reward[p];
    const bool enough = out.n <= static_cast<double>(std::min(ours.size(), theirs.size()));
    best.push_back(enough ? best_of_n_win_rate(ours, theirs, out.n) : NAN);
    worst.push_back(enough ? worst_of_n_win_rate(ours, theirs, out.n) : NAN);
  }
  out.best_win_rate = estimate(best);
  out.worst_win_rate = estimate(worst);
}
}  // namespace detail

/// Responses of a law that is not known, as a decoder's: everything but KL and efficiency, which are NaN.
/// @param reward         [P][samples] of the responses to each prompt
/// @param length, ended  tokens of a response, and the share of those that ended by themselves
/// @throws as evaluate_pool; ShapeError for another number of prompts
template <class = void>
Evaluation evaluate_rewards(std::span<const Prompt> prompts, const rollout::ReferenceCache& pool, double n,
                            std::vector<std::vector<double>> reward, double length, double ended) {
  Evaluation out = evaluate_pool(prompts, pool, n);
  require<ShapeError>(reward.size() == prompts.size() && !reward[0].empty(), "eval::evaluate_rewards: rewards of ",
                      prompts.size(), " prompts expected, got ", reward.size());
  out.samples = static_cast<Index>(reward[0].size());
  out.aligned.name = "decoded";
  for (const auto& group : reward) out.aligned.weight.emplace_back(group.size(), 1 / static_cast<double>(group.size()));
  out.aligned.reward = std::move(reward);
  out.aligned.length = length;
  out.aligned.ended = ended;
  detail::finish_arms(out);
  out.kl = out.kl_k1 = out.kl_k3 = {NAN, NAN};
  out.ideal_win_rate = out.efficiency = NAN;
  return out;
}

/// @param pool  responses of the reference on the same prompts, at least two each, drawn with the same sampler
/// @throws DomainError unknown_prompt, empty_cache, nan_reward; RunError stopped
template <TrainablePolicy P, Reward R>
Evaluation evaluate(P& policy, P& reference, const R& reward, std::span<const Prompt> prompts,
                    const rollout::ReferenceCache& pool, const EvaluationOptions& options = {}) {
  require<ConfigError>(options.samples >= 1, "eval::evaluate: at least one sample expected, got ", options.samples);
  Evaluation out = evaluate_pool(prompts, pool, options.n);
  out.samples = options.samples;
  out.aligned.name = "aligned";

  std::vector<double> kl, k1, k3;
  double tokens = 0, ended = 0, responses = 0;
  for (std::size_t first = 0; first < prompts.size(); first += static_cast<std::size_t>(options.batch)) {
    const auto part = prompts.subspan(first, std::min(static_cast<std::size_t>(options.batch), prompts.size() - first));
    RolloutBatch batch = rollout::collect(policy, reward, part, options.samples, options.key);
    const Array exact = per_response(batch, policy.kl(batch, reference, &batch.ref_log_prob));
    const Array log_ratio = per_response(batch, batch.old_log_prob - batch.ref_log_prob);
    for (Index p = 0; p < batch.prompts(); ++p) {
      const Index begin = batch.group_offset[static_cast<std::size_t>(p)], size = batch.samples(p);
      const auto ratio = log_ratio.segment(begin, size);
      kl.push_back(exact.segment(begin, size).mean());
      k1.push_back(kl_k1({ratio.data(), static_cast<std::size_t>(size)}));
      k3.push_back(kl_k3({ratio.data(), static_cast<std::size_t>(size)}));
      const auto rewards = batch.reward.segment(begin, size);
      out.aligned.reward.emplace_back(rewards.begin(), rewards.end());
      out.aligned.weight.emplace_back(static_cast<std::size_t>(size), 1 / static_cast<double>(size));
      if (static_cast<Index>(out.text.size()) < options.texts)
        detail::add_text(pool.find(part[static_cast<std::size_t>(p)].text), batch, p, options.n, out);
    }
    tokens += static_cast<double>(batch.tokens());
    responses += static_cast<double>(batch.responses());
    for (const auto flag : batch.finished) ended += flag;
    const auto done = static_cast<Index>(first + part.size());
    if (options.progress && !options.progress(done, out.prompts) && done < out.prompts)
      throw RunError(message("stopped after ", done, " of ", out.prompts, " prompts of the evaluation"),
                     ErrorCode{"stopped"});
  }
  out.aligned.length = tokens / responses;
  out.aligned.ended = ended / responses;
  detail::finish_arms(out);
  out.kl = detail::mean_error(kl);
  out.kl_k1 = detail::mean_error(k1);
  out.kl_k3 = detail::mean_error(k3);
  out.ideal_win_rate = ideal_win_rate(std::max(0.0, out.kl.value));
  out.efficiency = out.kl.value < least_kl ? NAN : (out.aligned.win_rate.value - 0.5) / (out.ideal_win_rate - 0.5);
  return out;
}
}  // namespace vbon::eval
