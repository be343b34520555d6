// vbon/decode/particles.hpp
//
// The loop behind every decoder: extend -> weigh -> select. Particles are responses of one prompt that grow
// together in a session of the policy; a response that is dropped frees its share of the cache, one that
// is kept twice shares it.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/decode/concept.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
inline constexpr Index until_the_end = std::numeric_limits<Index>::max();

/// The decoder's own draws, apart from those of the session. Like those they depend on the prompt's id: with one key
/// for all prompts, choices of different prompts are independent.
inline RngKey choices(RngKey key, const Prompt& prompt) {
  return key.fold(std::numeric_limits<std::uint64_t>::max()).fold(prompt.id);
}
/// The first `count` uniforms of a stream.
inline std::vector<double> uniforms(RngKey key, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = key.uniform(i);
  return values;
}

/// Scores of responses of one prompt, given as tokens.
/// @throws ShapeError when the reward returns another count; DomainError `nan_reward`
template <Policy P, Reward R>
std::vector<double> score_tokens(P& policy, const R& reward, const Prompt& prompt,
                                 const std::vector<std::vector<TokenId>>& responses, const std::vector<bool>& finished) {
  RolloutBatch batch;
  batch.add_prompt(prompt);
  for (std::size_t i = 0; i < responses.size(); ++i) {
    batch.add_response(responses[i], finished[i]);
    if constexpr (requires { policy.tokenizer(); })
      if (policy.has_tokenizer()) batch.text.push_back(policy.tokenizer().decode(responses[i]));
  }
  const Array value = reward(batch);
  require<ShapeError>(value.size() == batch.responses(), "decode: ", batch.responses(), " rewards expected, got ",
                      value.size());
  for (Index i = 0; i < value.size(); ++i)
    require<DomainError>(!std::isnan(value[i]), ErrorCode{"nan_reward"}, "decode: the reward of response ", i, " to prompt ",
                         prompt.id, " is NaN");
  return {value.begin(), value.end()};
}

template <SteppedPolicy P, Reward R>
class Particles {
 public:
  Particles(P& policy, const R& reward, const Prompt& prompt, Index count, RngKey key)
      : policy_(&policy),
        reward_(&reward),
        prompt_(prompt),
        key_(key),
        session_(policy.open(std::span(&prompt, 1), count)),
        score_(static_cast<std::size_t>(count), -std::numeric_limits<double>::infinity()),
        scored_(score_.size(), 0),
        log_weight(score_.size(), 0) {
    counters_.sequences = count;
  }

  Index size() const { return static_cast<Index>(session_.drafts().size()); }
  const std::vector<policy::Draft>& drafts() const { return session_.drafts(); }
  bool all_ended() const { return session_.live().empty(); }
  const Prompt& prompt() const { return prompt_; }
  Counters& counters() { return counters_; }

  /// Draws up to `tokens` more tokens for everything that can still grow.
  void extend(Index tokens) {
    const Index before = total_tokens();
    session_.extend(tokens, key_);
    counters_.tokens += total_tokens() - before;
  }
  /// As extend, but at the last place before the limit stands an end token, whatever the policy would draw there; log
  /// P(an end token) goes to the log-weight. Policies without end tokens have no such place.
  void extend_and_end(Index tokens) {
    const std::span<const TokenId> ends = session_.end_tokens();
    const Index room = session_.room();
    if (ends.empty() || tokens < room) return extend(tokens);
    extend(room - 1);
    const std::vector<Index> live = session_.live();
    if (live.empty()) return;
    const Tensor<float> next = session_.next_log_probs();
    std::vector<TokenId> last;
    for (std::size_t i = 0; i < live.size(); ++i) {
      const auto row = next.row(static_cast<Index>(i));
      double mass = 0;
      for (const TokenId end : ends) mass += std::exp(static_cast<double>(row[end]));
      log_weight[static_cast<std::size_t>(live[i])] += std::log(mass);
      last.push_back(*std::max_element(ends.begin(), ends.end(), [&](TokenId a, TokenId b) { return row[a] < row[b]; }));
    }
    session_.append(last);
    counters_.tokens += static_cast<Index>(last.size());
  }
  auto& session() { return session_; }
  void count_tokens(Index tokens) { counters_.tokens += tokens; }

  /// From now on score() takes what can still grow to `value`, a reward over prefixes that outlives the particles.
  template <Reward V>
  void value_prefixes_by(const V& value) {
    value_.of = [&value](const RolloutBatch& batch) { return value(batch); };
  }
  /// Scores of all particles; what has not grown since the last call keeps its score without a new one.
  const std::vector<double>& score() {
    if (!value_.of) return score_those([](const policy::Draft&) { return true; }, *reward_);
    score_those([](const policy::Draft& draft) { return !draft.live; }, *reward_);
    return score_those([](const policy::Draft& draft) { return draft.live; }, value_);
  }

  /// Goes on with these particles, in this order; scores and log-weights move along.
  void keep(std::span<const Index> numbers) {
    const auto moved = [&](const auto& values) {
      std::decay_t<decltype(values)> out;
      for (const Index i : numbers) out.push_back(values[static_cast<std::size_t>(i)]);
      return out;
    };
    counters_.sequences += std::max<Index>(0, static_cast<Index>(numbers.size()) - distinct(numbers));
    score_ = moved(score_);
    scored_ = moved(scored_);
    log_weight = moved(log_weight);
    session_.keep(numbers);
  }

  Decoded decoded(Index chosen) {
    Decoded out{.best = chosen, .candidate = {}, .counters = counters_};
    for (std::size_t i = 0; i < score_.size(); ++i) {
      const policy::Draft& draft = drafts()[i];
      Candidate candidate{.token = draft.token,
                          .text = {},
                          .log_prob = std::accumulate(draft.log_prob.begin(), draft.log_prob.end(), 0.0),
                          .reward = score_[i],
                          .finished = draft.finished};
      if constexpr (requires { policy_->tokenizer(); })
        if (policy_->has_tokenizer()) candidate.text = policy_->tokenizer().decode(draft.token);
      out.candidate.push_back(std::move(candidate));
    }
    return out;
  }

 private:
  struct PrefixValue {
    static constexpr std::string_view name = "value of prefixes";
    std::function<Array(const RolloutBatch&)> of = {};  // empty: the reward
    Array operator()(const RolloutBatch& batch) const { return of(batch); }
  };
  template <class Which, class By>
  const std::vector<double>& score_those(const Which& wanted, const By& by) {
    std::vector<std::vector<TokenId>> responses;
    std::vector<bool> finished;
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < score_.size(); ++i) {
      const policy::Draft& draft = drafts()[i];
      if (scored_[i] == static_cast<Index>(draft.token.size()) || !wanted(draft)) continue;
      responses.push_back(draft.token);
      finished.push_back(draft.finished);
      which.push_back(i);
    }
    if (which.empty()) return score_;
    const std::vector<double> value = score_tokens(*policy_, by, prompt_, responses, finished);
    for (std::size_t i = 0; i < which.size(); ++i) {
      score_[which[i]] = value[i];
      scored_[which[i]] = static_cast<Index>(responses[i].size());
    }
    counters_.reward_calls += static_cast<Index>(which.size());
    return score_;
  }
  Index total_tokens() const {
    Index total = 0;
    for (const policy::Draft& draft : drafts()) total += static_cast<Index>(draft.token.size());
    return total;
  }
  static Index distinct(std::span<const Index> numbers) {
    std::vector<Index> sorted(numbers.begin(), numbers.end());
    std::sort(sorted.begin(), sorted.end());
    return std::unique(sorted.begin(), sorted.end()) - sorted.begin();
  }

  P* policy_;
  const R* reward_;
  PrefixValue value_;  // of what can still grow
  Prompt prompt_;
  RngKey key_;
  decltype(std::declval<P&>().open(std::span<const Prompt>(), Index{1})) session_;
  std::vector<double> score_;
  std::vector<Index> scored_;  // tokens the score has seen; 0: never scored
  Counters counters_;

 public:
  std::vector<double> log_weight;  // of sequential Monte Carlo
};

/// extend -> weigh -> select, until the selector names the particle to return.
template <class P, class R, class Extend, class Weigh, class Select>
Decoded steer(Particles<P, R>& particles, const Extend& extend, const Weigh& weigh, const Select& select) {
  for (;;) {
    extend(particles);
    weigh(particles);
    if (const std::optional<Index> chosen = select(particles)) return particles.decoded(*chosen);
  }
}
inline constexpr auto whole_response = [](auto& particles) { particles.extend(until_the_end); };
inline constexpr auto by_reward = [](auto& particles) { particles.score(); };
}  // namespace vbon::decode
