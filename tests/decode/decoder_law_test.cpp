// Decoders that draw whole responses, against their exact laws: 1e5 runs on a table, chi-square.
#include "vbon/decode/registry.hpp"

#include "support/catch.hpp"
#include "support/decode_problem.hpp"
#include "vbon/decode/soft_bon_law.hpp"

using namespace vbon;
using namespace vbon::test;

TEST_CASE("best-of-N, worst-of-N, best-of-Poisson and soft best-of-N follow their laws, ties included", "[decode]") {
  DecodeProblem s({.vocabulary = 5}, 3, GENERATE(0, 3));
  CHECK(follows(s.counts(decode::BestOfN{.n = 4}), bon::best_of_n_law(s.probability, s.rewards, 4)));
  CHECK(follows(s.counts(decode::BestOfN{.n = 3, .worst = true}), bon::worst_of_n_law(s.probability, s.rewards, 3)));
  CHECK(follows(s.counts(decode::BestOfPoisson{.mu = 1.5}), bon::best_of_poisson_law(s.probability, s.rewards, 1.5)));
  CHECK(follows(s.counts(decode::SoftBestOfN{.n = 4, .lambda = 0.7}),
                decode::soft_best_of_n_law(s.probability, s.rewards, 4, 0.7)));
  CHECK(!follows(s.counts(decode::BestOfN{.n = 4}), bon::best_of_n_law(s.probability, s.rewards, 3)));  // the test can fail
}

TEST_CASE("rejection sampling and pessimism follow their laws", "[decode]") {
  DecodeProblem s({.vocabulary = 4}, 5);
  const double r_max = s.largest_reward();
  std::vector<double> accept;
  for (const double r : s.rewards) accept.push_back(decode::tilted_acceptance(r, r_max, 0.8));
  CHECK(follows(s.counts(decode::Rejection{.beta = 0.8, .r_max = r_max, .tries = 3}),
                decode::rejection_law(s.probability, accept, 3).law));
  // Pessimism: average over the pilot samples that fix lambda.
  const Index n = 3;
  std::vector<double> law(s.rewards.size(), 0);
  for_each_tuple(s.probability, n, [&](const std::vector<Index>& pilot, double probability) {
    std::vector<double> seen, weight(static_cast<std::size_t>(n), 1.0 / static_cast<double>(n)), test;
    for (const Index k : pilot) seen.push_back(s.rewards[static_cast<std::size_t>(k)]);
    const double lambda = decode::pessimism_normalizer(weight, seen, 1.5);
    for (const double r : s.rewards) test.push_back(decode::pessimism_acceptance(r, lambda, r_max));
    const auto given = decode::rejection_law(s.probability, test, static_cast<double>(n)).law;
    for (std::size_t k = 0; k < law.size(); ++k) law[k] += probability * given[k];
  });
  CHECK(follows(s.counts(decode::Pessimism{.n = n, .beta = 1.5, .r_max = r_max}), law));
}

TEST_CASE("speculative rejection with alpha 0, TreeBoN with one layer and IAD without feedback are best-of-N", "[decode]") {
  DecodeProblem s({.vocabulary = 3, .length = 2}, 7);
  s.reward.of_prefix = [](auto) { return 0.0; };
  const auto law = bon::best_of_n_law(s.probability, s.rewards, 4);
  CHECK(follows(s.counts(decode::SpeculativeRejection{.n = 4, .alpha = 0, .checkpoint = 1}), law));
  CHECK(follows(s.counts(decode::TreeBon<>{.n = 4, .children = 2, .layers = 1, .segment = 1}), law));
  const auto same = [](const Prompt& prompt, const decode::Candidate&, const decode::Candidate&) { return prompt; };
  CHECK(follows(s.counts(decode::Iad{.rounds = 2, .n = 2, .propose = same}), law));
}
