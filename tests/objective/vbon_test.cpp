#include "vbon/objective/vbon.hpp"

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/bon_sft.hpp"
#include "vbon/objective/quantile_regression.hpp"
#include "vbon/objective/vbon_bound.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/policy/tabular_policy.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
std::vector<double> law_of(const Table& table) {
  const Array weight = table.enumerate().weight;
  return {weight.begin(), weight.end()};
}
double kl_to_best_of_n(const TabularProblem& problem, double n) {
  return bon::kl_of_laws(law_of(problem.policy), bon::best_of_n_law(law_of(problem.reference), problem.reward[0], n));
}

/// Gradient steps in the logits, the same arithmetic that a trainer does on a network.
template <class Loss>
void descend(TabularProblem& problem, int steps, double rate, const Loss& loss) {
  for (int step = 0; step < steps; ++step) {
    problem.policy.zero_gradients();
    const RolloutBatch batch = loss.batch(step);
    problem.policy.backward(batch, loss.rule(batch).dlog_prob);
    for (Index i = 0; i < problem.policy.parameters().size(); ++i)
      problem.policy.parameters()[i] -= rate * problem.policy.gradients()[i];
  }
}
template <class O, class Draw>
struct Training {
  O rule;
  Draw batch;
};
template <class O, class Draw>
Training(O, Draw) -> Training<O, Draw>;
}  // namespace

TEST_CASE("the loss of vbon on an enumerated policy is KL(pi || pi_bon)", "[objective]") {
  const Index ties = GENERATE(0, 2, 4);
  const double n = GENERATE(1.0, 2.0, 3.5, 16.0);
  const auto problem = TabularProblem::random({.vocabulary = 8}, 5, ties);
  const auto batch = problem.filled(problem.policy.enumerate());
  CHECK(Vbon<NoBaseline>{.n = n}(batch).loss == Approx(kl_to_best_of_n(problem, n)).epsilon(1e-10));
}

TEST_CASE("the surrogates bracket the exact objective", "[objective]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(0, 20)));
  const double n = GENERATE(2.0, 5.0);
  const auto problem = TabularProblem::random({.vocabulary = 6}, 100 + seed, 3);
  const auto batch = problem.filled(problem.policy.enumerate());
  const double exact = Vbon<NoBaseline>{.n = n}(batch).loss;
  const auto surrogate = [&](Side side) { return VbonBound<NoBaseline>{.n = n, .side = side}(batch).loss - std::log(n); };
  CHECK(surrogate(Side::weak) <= exact + 1e-12);
  CHECK(surrogate(Side::mid) >= exact - 1e-12);
  // Strict is -inf at the worst level, where mid stands in, so it is a bound only without that level.
  CHECK(std::isfinite(surrogate(Side::strict)));
}

TEST_CASE("without a cached tie the level of a response holds the response alone", "[objective]") {
  const auto problem = TabularProblem::random({.vocabulary = 7}, 8);
  auto batch = problem.filled(problem.policy.enumerate());
  const auto exact = Vbon<NoBaseline>{.n = 4}(batch);
  batch.log_tie.setConstant(std::numeric_limits<double>::quiet_NaN());
  const auto alone = Vbon<NoBaseline>{.n = 4}(batch);
  CHECK(alone.loss == Approx(exact.loss).epsilon(1e-9));
}

TEST_CASE("sampled vbon with a leave-one-out baseline reaches KL(pi || pi_bon) < 0.005", "[objective]") {
  auto problem = TabularProblem::random({.vocabulary = 16}, 3);
  problem.policy = problem.reference;
  REQUIRE(kl_to_best_of_n(problem, 4) > 0.5);
  descend(problem, 3000, 0.25,
          Training{Vbon<>{.n = 4}, [&](int step) {
                     return problem.filled(problem.policy.sample(problem.policy.prompts(), 8,
                                                                 RngKey{1, 0}.fold(static_cast<std::uint64_t>(step))));
                   }});
  CHECK(kl_to_best_of_n(problem, 4) < 0.005);
}

TEST_CASE("single-precision parameters under AdamW get there too", "[objective]") {
  const auto problem = TabularProblem::random({.vocabulary = 16}, 3);
  policy::TabularPolicy policy({.vocabulary = 16});
  policy.set_law(0, 0, law_of(problem.reference));
  optim::AdamW adamw{.rate = 0.02, .weight_decay = 0};
  for (int step = 0; step < 600; ++step) {
    policy.zero_gradients();
    auto batch = problem.filled(policy.enumerate());
    batch.log_prob = policy.log_prob(batch);
    policy.backward(batch, Vbon<NoBaseline>{.n = 4}(batch).dlog_prob);
    adamw.step(policy.parameters(), policy.gradients());
  }
  const Array weight = policy.enumerate().weight;
  const std::vector<double> law(weight.begin(), weight.end());
  CHECK(bon::kl_of_laws(law, bon::best_of_n_law(law_of(problem.reference), problem.reward[0], 4)) < 0.005);
}

TEST_CASE("the warm starts lead a policy to best-of-N from cached samples alone", "[objective]") {
  auto problem = TabularProblem::random({.vocabulary = 16}, 3);
  problem.policy = problem.reference;
  const double before = kl_to_best_of_n(problem, 4);
  auto cache = problem.reference.sample(problem.reference.prompts(), 2000, {.seed = 4, .stream = 0});
  SECTION("subset weights") {
    descend(problem, 400, 1, Training{BonSft{.n = 4}, [&](int) { return problem.filled(cache); }});
  }
  SECTION("quantile regression") {
    descend(problem, 400, 0.3, Training{QuantileRegression{.phi = {.kind = PhiKind::bon_log, .n = 4}}, [&](int) {
                                          RolloutBatch batch = problem.filled(cache);
                                          batch.ref_reward = {std::vector<double>(batch.reward.begin(), batch.reward.end())};
                                          std::sort(batch.ref_reward[0].begin(), batch.ref_reward[0].end());
                                          annotate(batch, bon::Harmonic{}, Drawn::from_cache);
                                          return batch;
                                        }});
  }
  CHECK(kl_to_best_of_n(problem, 4) < 0.15 * before);
}

TEST_CASE("the published coefficients lead to a smaller effective N", "[objective]") {
  auto problem = TabularProblem::random({.vocabulary = 12}, 13);
  const double n = 4;
  problem.policy = problem.reference;
  descend(problem, 4000, 4, Training{Vbon<NoBaseline>{.n = n, .published = true}, [&](int) {
                                       return problem.filled(problem.policy.enumerate());
                                     }});
  // pi_ref (pi_bon/pi_ref)^((N-1)/N), normalised.
  const auto reference = law_of(problem.reference), best = bon::best_of_n_law(reference, problem.reward[0], n);
  std::vector<double> score;
  for (std::size_t k = 0; k < best.size(); ++k) score.push_back(std::log(best[k] / reference[k]));
  CHECK(bon::kl_of_laws(law_of(problem.policy), bon::tilted_law(reference, score, n / (n - 1))) < 1e-6);
}

TEST_CASE("vbon refuses N below 1, a group of one, and a response the reference cannot give", "[objective][error]") {
  const auto problem = TabularProblem::random({.vocabulary = 4}, 1);
  auto batch = problem.filled(problem.group({0, 1}));
  CHECK_THROWS_AS(Vbon<>{.n = 0.5}(batch), DomainError);
  CHECK_THROWS_AS((Vbon<>{.n = 1, .published = true}(batch)), DomainError);
  CHECK_THROWS_AS(Vbon<>{}(problem.filled(problem.group({2}))), DomainError);
  CHECK_THROWS_AS(Vbon<>{}(problem.filled(problem.policy.enumerate())), DomainError);  // not sampled
  batch.ref_log_prob[1] = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(Vbon<>{}(batch), DomainError);
}
