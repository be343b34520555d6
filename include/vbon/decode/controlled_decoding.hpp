// vbon/decode/controlled_decoding.hpp
//
// Controlled decoding: steer the policy by a value V of prefixes. Token by token the next token follows
// softmax(log p + V/beta) (over the top_k most probable ones, renormalised); blockwise the best of K
// continuations by V is kept. V on complete responses is the reward; on prefixes it is whatever the
// reward says of them, unless a value of their own is given. Source: Mudgal et al., arXiv 2310.17022.
#pragma once
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "vbon/decode/particles.hpp"

namespace vbon::decode {
/// The reward itself values prefixes.
struct SameAsReward {
  std::string named = {};  // for programs: the name of another one, for which they ask with_value()
  void each_option(auto&& f) {
    f("value", named, "what values prefixes, as --reward names it, without commas; empty: the reward does");
  }
};

namespace detail {
/// @throws ConfigError where a name stands for a value that a program must open
inline void require_no_name(const SameAsReward& value, std::string_view name) {
  require<ConfigError>(value.named.empty(), name, ": value = '", value.named,
                       "' is the name of a reward that a program opens; in code use with_value()");
}
}  // namespace detail

/// @tparam Value  a Reward over prefixes, on the scale of the reward: it is the reward's mean or soft value that makes the
///                law right
template <class Value = SameAsReward>
struct ControlledDecoding {
  static constexpr std::string_view name = "controlled_decoding";
  static constexpr std::string_view about = "token by token, steered by the reward of the text so far";
  static constexpr bool ranks_only = false;
  double beta = 1;
  Index top_k = 16;
  Value value = {};
  void each_option(auto&& f) {
    f("beta", beta, "temperature of the value, > 0");
    f("top_k", top_k, "next tokens that are valued, >= 0; 0: all");
    if constexpr (requires { value.each_option(f); }) value.each_option(f);
  }
  /// The same with a value of prefixes.
  template <class V>
  ControlledDecoding<V> with_value(V other) const {
    return {.beta = beta, .top_k = top_k, .value = std::move(other)};
  }
  /// @throws DomainError for beta <= 0, top_k < 0
  void check() const {
    require<DomainError>(beta > 0, "controlled_decoding: beta > 0 expected, got ", beta);
    require<DomainError>(top_k >= 0, "controlled_decoding: top_k >= 0 expected, got ", top_k);
  }

  /// @throws DomainError as check(), and for a value that is not finite
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> one(policy, reward, prompt, 1, key);
    std::uint64_t position = 0;
    const auto extend = [&](auto& s) {
      const Tensor<float> next = s.session().next_log_probs();
      const std::vector<double> log_prob(next.data(), next.data() + next.cols());
      const std::vector<Index> token = best_indices(log_prob, top_k > 0 ? std::min(top_k, next.cols()) : next.cols());
      std::vector<std::vector<TokenId>> prefix(token.size(), s.drafts()[0].token);
      for (std::size_t k = 0; k < token.size(); ++k) prefix[k].push_back(static_cast<TokenId>(token[k]));
      const std::span<const TokenId> ends = s.session().end_tokens();
      std::vector<bool> ended;
      for (const auto& tokens : prefix) ended.push_back(std::find(ends.begin(), ends.end(), tokens.back()) != ends.end());
      const bool last = s.session().room() == 1;  // at the limit every response is complete
      std::vector<double> logit = values(policy, reward, prompt, prefix, ended, last);
      require_finite_scores(logit, name);
      s.counters().reward_calls += static_cast<Index>(token.size());
      for (std::size_t k = 0; k < token.size(); ++k)
        logit[k] = log_prob[static_cast<std::size_t>(token[k])] + logit[k] / beta;
      const Index chosen = pick(softmax_of(logit), choices(key, prompt).uniform(position++));
      const std::vector<TokenId> appended = {prefix[static_cast<std::size_t>(chosen)].back()};
      s.session().append(appended);
      s.count_tokens(1);
    };
    return steer(
        one, extend, [](auto&) {},
        [](auto& s) -> std::optional<Index> {
          if (!s.all_ended()) return std::nullopt;
          s.score();
          return 0;
        });
  }

 private:
  /// V: the reward of complete responses, the value of prefixes.
  template <class P, class R>
  std::vector<double> values(P& policy, const R& reward, const Prompt& prompt,
                             const std::vector<std::vector<TokenId>>& prefix, const std::vector<bool>& ended,
                             bool last) const {
    if constexpr (std::is_same_v<Value, SameAsReward>) {
      detail::require_no_name(value, name);
      return score_tokens(policy, reward, prompt, prefix, ended);
    } else {
      std::vector<double> out(prefix.size());
      const auto fill = [&](bool complete, const auto& by) {
        std::vector<std::size_t> which;
        std::vector<std::vector<TokenId>> tokens;
        std::vector<bool> finished;
        for (std::size_t k = 0; k < prefix.size(); ++k)
          if ((ended[k] || last) == complete) {
            which.push_back(k);
            tokens.push_back(prefix[k]);
            finished.push_back(ended[k]);
          }
        if (which.empty()) return;
        const std::vector<double> score = score_tokens(policy, by, prompt, tokens, finished);
        for (std::size_t i = 0; i < which.size(); ++i) out[which[i]] = score[i];
      };
      fill(true, reward);
      fill(false, value);
      return out;
    }
  }
  /// Removed tokens have log-prob -inf and get no weight.
  static std::vector<double> softmax_of(const std::vector<double>& logit) {
    const double peak = *std::max_element(logit.begin(), logit.end());
    std::vector<double> weight;
    double total = 0;
    for (const double x : logit) total += weight.emplace_back(std::exp(x - peak));
    for (double& w : weight) w /= total;
    return weight;
  }
};

/// Best of K blocks by the value of what there is so far, block after block; K = 1 is the policy.
/// @tparam Value  as of ControlledDecoding
template <class Value = SameAsReward>
struct ControlledBlocks {
  static constexpr std::string_view name = "controlled_blocks";
  static constexpr std::string_view about = "block by block, the best of K continuations by the reward of the text so far";
  static constexpr bool ranks_only = true;
  Index k = 4;
  Index block = 8;
  Value value = {};
  void each_option(auto&& f) {
    f("k", k, "continuations tried for each block, >= 1");
    f("block", block, "tokens of a block, >= 1");
    if constexpr (requires { value.each_option(f); }) value.each_option(f);
  }
  /// The same with a value of prefixes.
  template <class V>
  ControlledBlocks<V> with_value(V other) const {
    return {.k = k, .block = block, .value = std::move(other)};
  }
  /// @throws DomainError for settings outside the ranges above
  void check() const {
    require_count(static_cast<double>(k), "k", name);
    require_count(static_cast<double>(block), "block", name);
  }

  /// @throws DomainError as check(), and for a NaN score
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> particles(policy, reward, prompt, k, key);
    if constexpr (std::is_same_v<Value, SameAsReward>)
      detail::require_no_name(value, name);
    else
      particles.value_prefixes_by(value);
    return steer(
        particles, [&](auto& s) { s.extend(block); }, by_reward,
        [&](auto& s) -> std::optional<Index> {
          const Index best = best_index(s.score());
          if (!s.drafts()[static_cast<std::size_t>(best)].live) return best;
          s.keep(std::vector<Index>(static_cast<std::size_t>(k), best));
          return std::nullopt;
        });
  }
};
}  // namespace vbon::decode
