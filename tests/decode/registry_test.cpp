// Runs over the registry of decoders, on a table whose responses differ in length.
#include "vbon/decode/registry.hpp"

#include "support/catch.hpp"
#include "support/decode_problem.hpp"
#include "support/toy_decoder.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
using Table64 = policy::BasicTabularPolicy<double>;

struct Problem : DecodeProblem {
  Problem() : DecodeProblem({.vocabulary = 3, .length = 4, .eos = 0}, 23) {
    reward.of_prefix = [](std::span<const TokenId> tokens) { return 0.1 * static_cast<double>(tokens.size()); };
  }
  template <class D>
  Decoded run(const D& decoder, std::uint64_t seed = 1) {
    return decoder(problem.reference, reward, problem.reference.prompts()[0], {.seed = seed, .stream = 0});
  }
};
}  // namespace

TEST_CASE("every decoder returns one of its finished candidates with the reward of that response", "[decode][laws]") {
  for_each_entry<Decoders>([]<class D>(const D& entry) {
    DYNAMIC_SECTION(D::name) {
      static_assert(Decoder<D, Table64, TableReward>);
      Problem s;
      for (const std::uint64_t seed : {1ULL, 2ULL, 3ULL}) {
        const Decoded out = s.run(small(entry), seed);
        REQUIRE(out.best >= 0);
        REQUIRE(out.best < static_cast<Index>(out.candidate.size()));
        CHECK(out.answer().finished);
        CHECK(out.reward() == s.problem.reward_of(0, out.answer().token));
        CHECK(out.counters.sequences >= 1);
        CHECK(out.counters.tokens >= static_cast<Index>(out.answer().token.size()));
        CHECK(out.counters.reward_calls >= 1);
        double log_prob = 0;
        for (std::size_t t = 0; t < out.answer().token.size(); ++t)
          log_prob += s.problem.reference.next_log_probs(0, std::span(out.answer().token).first(t))[out.answer().token[t]];
        CHECK(out.answer().log_prob == Approx(log_prob));
      }
    }
  });
}

TEST_CASE("a decoder's answer depends on its key alone", "[decode][laws]") {
  for_each_entry<Decoders>([]<class D>(const D& entry) {
    DYNAMIC_SECTION(D::name) {
      Problem s;
      const Decoded a = s.run(small(entry), 7), b = s.run(small(entry), 7);
      CHECK(a.best == b.best);
      CHECK(a.answer().token == b.answer().token);
      CHECK(a.counters.tokens == b.counters.tokens);
    }
  });
}

TEST_CASE("every decoder says in a line what it does, and its defaults are valid", "[decode][laws]") {
  for_each_entry<Decoders>([]<class D>(const D& entry) {
    CAPTURE(D::name);
    CHECK(!D::about.empty());
    CHECK(D::about.find('\n') == D::about.npos);
    CHECK_NOTHROW(entry.check());
  });
}

TEST_CASE("the choices for two prompts are independent under one key", "[decode]") {
  const RngKey key{.seed = 3, .stream = 0};
  const Prompt first{.id = 0, .text = {}, .tokens = {}}, second{.id = 1, .text = {}, .tokens = {}};
  CHECK(decode::choices(key, first) == decode::choices(key, first));
  CHECK(decode::choices(key, first).uniform(0) != decode::choices(key, second).uniform(0));
}

TEST_CASE("a decoder refuses a NaN reward and settings below their range", "[decode][laws][error]") {
  for_each_entry<Decoders>([]<class D>(const D& entry) {
    DYNAMIC_SECTION(D::name) {
      Problem s;
      for (auto& row : s.problem.reward) std::fill(row.begin(), row.end(), NAN);
      CHECK_THROWS_AS(s.run(small(entry)), DomainError);
      CHECK_THROWS_WITH(s.run(small(entry)), Catch::Matchers::Contains("to prompt 0 is NaN"));
      D broken = small(entry);
      bool settable = false;
      broken.each_option([&](std::string_view, auto& value, std::string_view) {
        if constexpr (std::is_arithmetic_v<std::remove_reference_t<decltype(value)>> &&
                      !std::is_same_v<std::remove_reference_t<decltype(value)>, bool>) {
          value = -1;
          settable = true;
        }
      });
      Problem fresh;
      if (settable) CHECK_THROWS_AS(fresh.run(broken), DomainError);
      if (settable) CHECK_THROWS_AS(broken.check(), DomainError);  // before a model is loaded
    }
  });
}

TEST_CASE("counters are the cost that the methods state", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 4}, 29);
  s.reward.of_prefix = [](std::span<const TokenId> tokens) { return static_cast<double>(tokens.back()); };
  const auto prompt = s.problem.reference.prompts()[0];
  const auto run = [&](const auto& decoder) {
    return decoder(s.problem.reference, s.reward, prompt, RngKey{4, 0}).counters;
  };
  const auto best = run(decode::BestOfN{.n = 8});
  CHECK(best.sequences == 8);
  CHECK(best.tokens == 32);
  CHECK(best.reward_calls == 8);
  // 8 start, then 4, 2 and 1 go on: 8 + 4 + 2 + 1 tokens and as many scores.
  const auto pruned = run(decode::SpeculativeRejection{.n = 8, .alpha = 0.5, .checkpoint = 1});
  CHECK(pruned.tokens == 15);
  CHECK(pruned.reward_calls == 15);
  // Two layers of two tokens: 4 roots, the best two continued twice.
  const auto tree = run(decode::TreeBon<>{.n = 4, .children = 2, .layers = 2, .segment = 2});
  CHECK(tree.tokens == 16);
  CHECK(tree.reward_calls == 8);
  CHECK(tree.sequences == 6);  // two continuations are copies
  const auto guided = run(decode::ControlledDecoding<>{.beta = 1, .top_k = 0});
  CHECK(guided.tokens == 4);
  CHECK(guided.reward_calls == 13);  // 3 values a step, and the response itself
  CHECK(run(decode::Iad{.rounds = 3,
                        .n = 2,
                        .propose = [](const Prompt& p, const decode::Candidate&, const decode::Candidate&) { return p; }})
            .sequences == 6);
}

TEST_CASE("rejection falls back as told, and never clamps a reward above r_max", "[decode]") {
  DecodeProblem s({.vocabulary = 3}, 31);
  const auto prompt = s.problem.reference.prompts()[0];
  const auto run = [&](const decode::Rejection& rule) { return rule(s.problem.reference, s.reward, prompt, RngKey{4, 0}); };
  const double far = s.largest_reward() + 1000;  // nothing is ever accepted
  CHECK(run({.beta = 1, .r_max = far, .tries = 5}).candidate.size() == 6);
  const Decoded best = run({.beta = 1, .r_max = far, .tries = 5, .fallback = decode::Fallback::best});
  CHECK(best.candidate.size() == 5);
  for (const auto& candidate : best.candidate) CHECK(candidate.reward <= best.reward());
  CHECK_THROWS_AS(run({.beta = 1, .r_max = far, .tries = 5, .fallback = decode::Fallback::fail}), RunError);
  CHECK_THROWS_AS(run({.beta = 1, .r_max = -1000, .tries = 5}), DomainError);

  // The draw of the fallback too: of the largest reward there is one response, which r_max leaves out.
  std::vector<double> sorted = s.rewards;
  std::sort(sorted.begin(), sorted.end());
  const double below = (sorted[sorted.size() - 1] + sorted[sorted.size() - 2]) / 2;
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) try {
      const Decoded out = decode::Rejection{.beta = 1e-9, .r_max = below, .tries = 1}(s.problem.reference, s.reward, prompt,
                                                                                      RngKey{seed, 0});
      CHECK(out.reward() <= below);
    } catch (const DomainError&) {
      ++refused;
    }
  CHECK(refused > 0);
}

TEST_CASE("rejection never takes a reward of -inf, and counts it as a try", "[decode]") {
  DecodeProblem s({.vocabulary = 3}, 31);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto run = [&](const decode::Rejection& rule, std::uint64_t seed) {
    return rule(s.problem.reference, s.reward, s.problem.reference.prompts()[0], RngKey{seed, 0});
  };
  const double r_max = s.largest_reward();
  s.problem.reward[0][0] = -infinity;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    CHECK(run({.beta = 2, .r_max = r_max, .tries = 500}, seed).answer().token[0] != 0);
  std::fill(s.problem.reward[0].begin(), s.problem.reward[0].end(), -infinity);
  const Decoded fresh = run({.beta = infinity, .r_max = r_max, .tries = 5}, 1);
  CHECK(fresh.candidate.size() == 6);
  CHECK(fresh.reward() == -infinity);
  CHECK(run({.beta = 2, .r_max = r_max, .tries = 5, .fallback = decode::Fallback::best}, 1).best == 0);
  CHECK_THROWS_AS(run({.beta = 2, .r_max = r_max, .tries = 5, .fallback = decode::Fallback::fail}, 1), RunError);
}

TEST_CASE("TreeBoN by the implicit reward branches where the DPO policy says, and returns the best reward", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 4}, 29);
  s.reward.of_prefix = [](auto) -> double { throw std::logic_error("the reward is not asked of prefixes"); };
  const Prompt prompt = s.problem.reference.prompts()[0];
  using Implicit = decode::ImplicitRewardSoFar<Table64>;
  const auto run = [&](double beta, decode::TokenWeight weight, std::uint64_t seed) {
    const decode::TreeBon<Implicit> tree{
        .n = 4, .children = 2, .layers = 2, .segment = 2, .partial = {&s.problem.policy, beta, weight}};
    return tree(s.problem.reference, s.reward, prompt, RngKey{seed, 0});
  };
  const auto log_ratio = [&](std::span<const TokenId> tokens, std::size_t k) {
    return s.problem.policy.next_log_probs(0, tokens.first(k))[tokens[k]] -
           s.problem.reference.next_log_probs(0, tokens.first(k))[tokens[k]];
  };
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Decoded out = run(1, decode::TokenWeight::inverse_length, seed);
    CHECK(out.counters.reward_calls == 4);  // the last layer alone
    for (const auto& candidate : out.candidate) CHECK(candidate.reward <= out.reward());
    // The roots are the first draws of the policy under this key; the best two of them live on.
    auto roots = s.problem.reference.open(std::span(&prompt, 1), 4);
    roots.extend(2, RngKey{seed, 0});
    std::vector<double> score;
    for (const auto& draft : roots.drafts()) score.push_back(log_ratio(draft.token, 0) + log_ratio(draft.token, 1) / 2);
    const auto parents = decode::tree_children(score, 2);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto& root = roots.drafts()[static_cast<std::size_t>(parents[i])].token;
      CHECK(std::equal(root.begin(), root.end(), out.candidate[i].token.begin()));
    }
    CHECK(run(7, decode::TokenWeight::inverse_length, seed).answer().token == out.answer().token);
  }
  decode::TreeBon<> named{.n = 4, .children = 2, .segment = 1};
  named.partial.dpo = "folder";
  CHECK_THROWS_AS(named(s.problem.reference, s.reward, prompt, RngKey{1, 0}), ConfigError);
  named.partial = {.weight = decode::TokenWeight::mean};
  CHECK_THROWS_AS(named.check(), ConfigError);
  CHECK_THROWS_AS(
      (decode::TreeBon<Implicit>{.n = 4, .children = 2, .segment = 1}(s.problem.reference, s.reward, prompt, RngKey{1, 0})),
      ConfigError);
}

TEST_CASE("a particle of SMC that died is never chosen, and stays no number's fault while it is not replaced", "[decode]") {
  Problem s;
  s.reward.of_prefix = [](std::span<const TokenId> tokens) {
    return tokens[0] == 1 ? -std::numeric_limits<double>::infinity() : 0.1 * static_cast<double>(tokens.size());
  };
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    const Decoded out = s.run(decode::Smc{.particles = 16, .ess_threshold = 0.01, .block = 1}, seed);
    CHECK(out.answer().token[0] != 1);
  }
}

TEST_CASE("a majority vote returns the first response of the most frequent answer", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 2}, 37);
  const decode::MajorityVote vote{.n = 9, .answer = [](const decode::Candidate& c) { return std::to_string(c.token[0]); }};
  const Decoded out = vote(s.problem.reference, s.reward, s.problem.reference.prompts()[0], RngKey{4, 0});
  std::vector<Index> votes(3, 0);
  for (const auto& candidate : out.candidate) ++votes[static_cast<std::size_t>(candidate.token[0])];
  const auto answer = static_cast<std::size_t>(out.answer().token[0]);
  CHECK(votes[answer] == *std::max_element(votes.begin(), votes.end()));
  for (Index i = 0; i < out.best; ++i) CHECK(out.candidate[static_cast<std::size_t>(i)].token[0] != out.answer().token[0]);
}

TEST_CASE("an unknown decoder is refused with the list of known ones", "[decode][error]") {
  const auto find = [](std::string_view name) { with_name<decode::Registry>("decoder", name, [](const auto&) {}); };
  CHECK_NOTHROW(find("speculative-rejection"));
  CHECK_THROWS_WITH(find("beam"), Catch::Contains("best_of_n") && Catch::Contains("treebon"));
}
