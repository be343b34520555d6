// Decoders that steer as they go, against their exact laws: 1e5 runs on a table, chi-square.
#include "vbon/decode/registry.hpp"

#include "support/catch.hpp"
#include "support/decode_problem.hpp"
#include "vbon/decode/controlled_law.hpp"
#include "vbon/decode/smc_law.hpp"
#include "vbon/decode/soft_bon_law.hpp"

using namespace vbon;
using namespace vbon::test;

TEST_CASE("TreeBoN follows its exact two-layer law", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 2}, 9);
  const std::vector<double> partial = {0.3, 1.1, -0.4};
  s.reward.of_prefix = [&](std::span<const TokenId> tokens) { return partial[static_cast<std::size_t>(tokens[0])]; };
  std::vector<double> first;
  std::vector<std::vector<double>> second, reward;
  const Array root = s.problem.reference.next_log_probs(0, {}).exp();
  for (TokenId k = 0; k < 3; ++k) {
    const std::vector<TokenId> prefix = {k};
    const Array next = s.problem.reference.next_log_probs(0, prefix).exp();
    first.push_back(root[k]);
    second.emplace_back(next.begin(), next.end());
    reward.emplace_back(s.rewards.begin() + 3 * k, s.rewards.begin() + 3 * k + 3);
  }
  std::vector<double> law;
  for (const auto& row : decode::two_layer_law(first, second, partial, reward, 4, 2))
    law.insert(law.end(), row.begin(), row.end());
  CHECK(follows(s.counts(decode::TreeBon<>{.n = 4, .children = 2, .layers = 2, .segment = 1}), law));
}

TEST_CASE("speculative rejection follows the law of its own rule", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 2}, 11);
  const std::vector<double> partial = {0.2, 0.9, -0.5};
  s.reward.of_prefix = [&](std::span<const TokenId> tokens) { return partial[static_cast<std::size_t>(tokens[0])]; };
  // All whole responses in advance; the recorded run says which one survives.
  std::vector<double> law(s.probability.size(), 0);
  for_each_tuple(s.probability, 3, [&](const std::vector<Index>& outcome, double probability) {
    std::vector<std::vector<double>> score;
    for (const Index k : outcome)
      score.push_back({partial[static_cast<std::size_t>(k / 3)], s.rewards[static_cast<std::size_t>(k)]});
    const auto run = decode::prune_run(score, std::vector<Index>(3, 2), 0.5, 1, 2);
    law[static_cast<std::size_t>(outcome[static_cast<std::size_t>(run.selected)])] += probability;
  });
  CHECK(follows(s.counts(decode::SpeculativeRejection{.n = 3, .alpha = 0.5, .checkpoint = 1}), law));
}

TEST_CASE("SMC follows its exact law, and with the potential at the end it is soft best-of-n", "[decode]") {
  DecodeProblem s({.vocabulary = 2, .length = 2}, 13);
  const std::vector<double> partial = {0.6, -0.3};
  s.reward.of_prefix = [&](std::span<const TokenId> tokens) { return partial[static_cast<std::size_t>(tokens[0])]; };
  const double lambda = 0.8, threshold = GENERATE(0.0, 0.9, 1.0);
  const decode::SmcLaw exact(
      {.next_law =
           [&](const decode::Tokens& prefix) {
             const Array next =
                 s.problem.reference.next_log_probs(0, std::vector<TokenId>(prefix.begin(), prefix.end())).exp();
             return std::vector<double>(next.begin(), next.end());
           },
       .twist =
           [&](const decode::Tokens& prefix) {
             return std::exp((prefix.size() == 2 ? s.rewards[static_cast<std::size_t>(2 * prefix[0] + prefix[1])]
                                                 : partial[static_cast<std::size_t>(prefix[0])]) /
                             lambda);
           },
       .particles = 3,
       .length = 2,
       .ess_threshold = threshold});
  std::vector<double> law;
  for (const auto& [tokens, probability] : exact.law()) law.push_back(probability);
  decode::Smc smc{
      .particles = 3, .lambda = lambda, .ess_threshold = threshold, .scheme = decode::Resampling::multinomial, .block = 1};
  CHECK(follows(s.counts(smc), law));
  smc.twisted = false;
  CHECK(follows(s.counts(smc), decode::soft_best_of_n_law(s.probability, s.rewards, 3, lambda)));
}

TEST_CASE("token guidance by the soft value samples the tilted law; blocks follow best-of-K", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 2}, 15);
  const double beta = 0.7;
  const auto next_of = [&](std::vector<TokenId> prefix) {
    const Array next = s.problem.reference.next_log_probs(0, prefix).exp();
    return std::vector<double>(next.begin(), next.end());
  };
  const auto value = [&](decode::PrefixValue kind) {
    return [&s, &next_of, kind, beta](std::span<const TokenId> tokens) {
      const auto from = s.rewards.begin() + 3 * tokens[0];
      return decode::prefix_value(kind, next_of({tokens[0]}), std::vector<double>(from, from + 3), beta);
    };
  };
  s.reward.of_prefix = value(decode::PrefixValue::soft);
  CHECK(follows(s.counts(decode::ControlledDecoding<>{.beta = beta, .top_k = 0}),
                bon::tilted_law(s.probability, s.rewards, beta)));

  s.reward.of_prefix = value(decode::PrefixValue::mean);
  std::vector<std::vector<double>> second, reward;
  for (TokenId k = 0; k < 3; ++k) {
    second.push_back(next_of({k}));
    reward.emplace_back(s.rewards.begin() + 3 * k, s.rewards.begin() + 3 * k + 3);
  }
  const auto first = next_of({});
  std::vector<double> law;
  for (const auto& row : decode::controlled_block_law({first, second, reward}, 3).joint)
    law.insert(law.end(), row.begin(), row.end());
  CHECK(follows(s.counts(decode::ControlledBlocks<>{.k = 3, .block = 1}), law));

  // A value of its own is asked of prefixes alone: what it says of whole responses does not count.
  TabularProblem other = s.problem;
  for (auto& row : other.reward) std::fill(row.begin(), row.end(), -7.0);
  const TableReward prefixes{&other, s.reward.of_prefix};
  s.reward.of_prefix = [](std::span<const TokenId>) { return 0.0; };
  CHECK(follows(s.counts(decode::ControlledBlocks<>{.k = 3, .block = 1}.with_value(prefixes)), law));
}

TEST_CASE("IAD follows its Markov chain", "[decode]") {
  // Prompt 0 is the base; prompt 1 + best K + worst is what a round sees after that feedback.
  const Index k = 3;
  DecodeProblem s({.prompts = 1 + k * k, .vocabulary = k}, 17);
  for (auto& row : s.problem.reward) row = s.rewards;
  std::vector<std::vector<std::vector<double>>> kernel;
  for (Index best = 0; best < k; ++best) {
    kernel.emplace_back();
    for (Index worst = 0; worst < k; ++worst) {
      const Array next = s.problem.reference.next_log_probs(1 + best * k + worst, {}).exp();
      kernel.back().emplace_back(next.begin(), next.end());
    }
  }
  const auto propose = [](const Prompt& prompt, const decode::Candidate& best, const decode::Candidate& worst) {
    Prompt next = prompt;
    next.id = static_cast<std::uint64_t>(1 + best.token[0] * k + worst.token[0]);
    return next;
  };
  s.probability.resize(static_cast<std::size_t>(k));
  const std::vector<double> base(s.probability.begin(), s.probability.end());
  CHECK(follows(s.counts(decode::Iad{.rounds = 3, .n = 2, .propose = propose}),
                decode::iad_law(base, s.rewards, kernel, 3, 2)));
}
