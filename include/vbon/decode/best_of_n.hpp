// vbon/decode/best_of_n.hpp
//
// Draw N whole responses, return one of them by its reward: the best, the worst, the best of a random
// number, one by softmax, or the one whose answer most of them give. Exact laws: bon/finite_law.hpp and
// soft_bon_law.hpp.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "vbon/decode/particles.hpp"

namespace vbon::decode {
/// The best of N draws; `worst` for worst-of-N.
struct BestOfN {
  static constexpr std::string_view name = "best_of_n";
  static constexpr std::string_view about = "the best of N draws, or the worst";
  static constexpr bool ranks_only = true;
  Index n = 4;
  bool worst = false;
  void each_option(auto&& f) {
    f("n", n, "responses drawn, >= 1");
    f("worst", worst, "return the worst instead");
  }
  /// @throws DomainError for n < 1
  void check() const { require_count(static_cast<double>(n), "n", name); }

  /// @throws DomainError as check(), and for a NaN reward
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> particles(policy, reward, prompt, n, key);
    return steer(particles, whole_response, by_reward,
                 [&](auto& s) { return std::optional(worst ? worst_index(s.score()) : best_index(s.score())); });
  }
};

/// The best of 1 + Poisson(mu) draws: mixes between the reference (mu = 0) and large N without a step.
/// Source: Khalaf et al., arXiv 2506.19248.
struct BestOfPoisson {
  static constexpr std::string_view name = "best_of_poisson";
  static constexpr std::string_view about = "the best of a random number of draws, 1 + Poisson(mu)";
  static constexpr bool ranks_only = true;
  double mu = 3;
  void each_option(auto&& f) { f("mu", mu, "mean number of draws beyond the first, in [0, 700]"); }
  /// @throws DomainError for mu outside [0, 700]
  void check() const { require<DomainError>(mu >= 0 && mu <= 700, "best_of_poisson: mu in [0, 700] expected, got ", mu); }

  /// The smallest k whose cumulative Poisson probability exceeds u.
  static Index poisson(double mu, double u) {
    double mass = std::exp(-mu), cumulative = mass;
    Index k = 0;
    while (cumulative <= u && mass > 0) {
      ++k;
      mass *= mu / static_cast<double>(k);
      cumulative += mass;
    }
    return k;
  }

  /// @throws DomainError as check(), and for a NaN reward
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    return BestOfN{.n = 1 + poisson(mu, choices(key, prompt).uniform(0))}(policy, reward, prompt, key);
  }
};

/// One of N draws with probability softmax(r/lambda): best-of-N at lambda = 0, the reference at +inf, and
/// pi_ref e^(r/lambda)/Z as N grows. Source: Verdun et al., arXiv 2505.03156.
struct SoftBestOfN {
  static constexpr std::string_view name = "soft_best_of_n";
  static constexpr std::string_view about = "one of N draws, with probability softmax(reward/lambda)";
  static constexpr bool ranks_only = false;
  Index n = 16;
  double lambda = 0.5;
  void each_option(auto&& f) {
    f("n", n, "responses drawn, >= 1");
    f("lambda", lambda, "temperature of the choice, >= 0");
  }
  /// @throws DomainError for n < 1, lambda < 0
  void check() const {
    require_count(static_cast<double>(n), "n", name);
    require<DomainError>(lambda >= 0, "soft_best_of_n: lambda >= 0 expected, got ", lambda);
  }

  /// @throws DomainError as check(), and for a reward that is not finite
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> particles(policy, reward, prompt, n, key);
    return steer(particles, whole_response, by_reward, [&](auto& s) {
      require_finite_scores(s.score(), name);
      return std::optional(pick(softmax_weights(s.score(), lambda), choices(key, prompt).uniform(0)));
    });
  }
};

/// The first response whose answer is the most frequent one; the reward is only reported.
struct MajorityVote {
  static constexpr std::string_view name = "majority_vote";
  static constexpr std::string_view about = "the response that most of N draws agree on; the reward is only reported";
  static constexpr bool ranks_only = true;
  Index n = 16;
  /// What counts as the same answer; by default the whole response.
  std::function<std::string(const Candidate&)> answer = {};
  void each_option(auto&& f) { f("n", n, "responses drawn, >= 1"); }
  /// @throws DomainError for n < 1
  void check() const { require_count(static_cast<double>(n), "n", name); }

  /// @throws DomainError as check(), and for a NaN reward
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Decoded out = BestOfN{.n = n}(policy, reward, prompt, key);
    std::map<std::string, Index> votes;
    std::vector<std::string> answers;
    for (const Candidate& candidate : out.candidate) {
      answers.push_back(answer ? answer(candidate) : whole(candidate));
      ++votes[answers.back()];
    }
    out.best = 0;
    for (std::size_t i = 1; i < answers.size(); ++i)
      if (votes[answers[i]] > votes[answers[static_cast<std::size_t>(out.best)]]) out.best = static_cast<Index>(i);
    return out;
  }

 private:
  template <class = void>
  static std::string whole(const Candidate& candidate) {
    if (!candidate.text.empty()) return candidate.text;
    std::string tokens;
    for (const TokenId token : candidate.token) tokens += std::to_string(token) + " ";
    return tokens;
  }
};
}  // namespace vbon::decode
