#include "vbon/train/exact.hpp"
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <map>

#include "support/catch.hpp"
#include "vbon/objective/optimum.hpp"

namespace vbon::test {
namespace {
using namespace train;
using objective::FiniteProblem;
const bon::Law law = {0.1, 0.25, 0.3, 0.35};
const std::vector<double> without_tie = {1.2, -0.4, 0.3, -1.1}, with_tie = {1.2, -0.4, 0.3, -0.4};

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}
}  // namespace

TEST_CASE("multisets are tuples without their order", "[train]") {
  for (const Index n : {1, 2, 3, 5}) {
    std::map<std::vector<Index>, double> tuples, sets;
    double total = 0;
    for_each_tuple(law, n, [&](std::vector<Index> tuple, double probability) {
      std::sort(tuple.begin(), tuple.end());
      tuples[tuple] += probability;
    });
    for_each_multiset(law, n, [&](const std::vector<Index>& tuple, double probability) {
      CHECK(sets.emplace(tuple, probability).second);
      total += probability;
    });
    REQUIRE(sets.size() == tuples.size());
    CHECK(total == Approx(1));
    for (const auto& [tuple, probability] : sets) CHECK(probability == Approx(tuples.at(tuple)));
  }
}

TEST_CASE("a symmetric matrix is turned into its eigenvalues", "[train]") {
  const auto n = static_cast<Index>(GENERATE(1, 2, 5, 12));
  const bool singular = GENERATE(false, true);
  CAPTURE(n, singular);
  Eigen::MatrixXd matrix(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) matrix(i, j) = std::sin(static_cast<double>(3 * i * i + 7 * j + i * j));
  matrix = (matrix + matrix.transpose()).eval();
  if (singular) matrix = (matrix.col(0) * matrix.col(0).transpose()).eval();  // rank 1: all eigenvalues but one are rounding
  Eigen::MatrixXd left = matrix, axes;
  train::detail::diagonalize(left, axes);
  const double rounding = 1e-14 * static_cast<double>(n) * matrix.norm();
  CHECK((axes.transpose() * axes - Eigen::MatrixXd::Identity(n, n)).norm() < 1e-13);
  CHECK((axes * left.diagonal().asDiagonal() * axes.transpose() - matrix).norm() <= rounding);
  Eigen::VectorXd values = left.diagonal();
  std::sort(values.begin(), values.end());
  CHECK((values - Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(matrix).eigenvalues()).norm() <= rounding);
}

TEST_CASE("the exact gradient is the slope of the exact loss", "[train]") {
  for (const auto& rewards : {without_tie, with_tie}) {
    ExactProblem problem(law, rewards, rewards);
    problem.set_logits({0.3, -0.2, 0.1, 0.4});
    const std::vector<std::pair<AnyObjective, ExactGroups>> all = {
        {objective::Vbon<>{.n = 3}, {}},
        {objective::Bond<>{.n = 3}, {.reference = 3}},
        {objective::Jbond<>{}, {}},
        {objective::Pkpo{.beta = 0.4}, {.policy = 3}},
        {objective::BonBon{.alpha = 0.3}, {.reference = 3}},
        {objective::Wind{.eta = 0.5}, {.anchor = 3}},
        {objective::Preference<objective::Dpo>{.pairs = objective::PairRule::bradley_terry}, {.reference = 3}}};
    for (const auto& [rule, groups] : all) {
      CAPTURE(rule.name);
      const std::vector<double> start = problem.logits();
      const auto slope = exact_gradient(problem, rule, groups).dlogits;
      for (std::size_t k = 0; k < start.size(); ++k) {
        const auto loss = [&](double shift) {
          std::vector<double> logits = start;
          logits[k] += shift;
          problem.set_logits(logits);
          return exact_gradient(problem, rule, groups).loss;
        };
        CHECK(slope[k] == Approx((loss(1e-5) - loss(-1e-5)) / 2e-5).margin(1e-8));
      }
      problem.set_logits(start);
    }
  }
}

TEST_CASE("optima that were solved for are where the gradient vanishes, ties or not", "[train]") {
  for (const auto& rewards : {without_tie, with_tie}) {
    ExactProblem problem(law, rewards);
    const auto check = [&](const auto& rule, const ExactGroups& groups, Index group) {
      CAPTURE(rule.name);
      problem.set_policy(optimum(rule, FiniteProblem{.reference = law, .reward = rewards, .group = group}));
      CHECK(largest(exact_gradient(problem, rule, groups).dlogits) < 1e-9);
    };
    using namespace objective;
    for (const Side side : {Side::strict, Side::mid, Side::weak}) check(VbonBound<>{.n = 3, .side = side}, {}, 3);
    check(Vbon<>{.n = 3, .published = true}, {}, 3);
    check(Bond<>{.n = 3, .beta = 0.3}, {.reference = 3}, 3);
    check(Bond<>{.n = 3, .beta = 1}, {.reference = 3}, 3);
    check(Jbond<>{.beta = 0.2, .gamma = 0.7}, {}, 2);
    check(Jbond<>{.beta = 0, .gamma = 0}, {}, 2);
    check(BonBon{.alpha = 0.005}, {.reference = 4}, 4);
    check(BonBon{.alpha = 0.5}, {.reference = 3}, 3);
    check(Pkpo{.k = 1, .beta = 0.7}, {.policy = 2}, 2);
    check(Pkpo{.k = 3, .beta = 0.2}, {.policy = 4}, 2);
    check(Preference<Ipo>{}, {}, 2);
    check(Preference<Ipo>{.pairs = PairRule::bradley_terry}, {}, 2);
    check(QuantileRegression{.phi = {.kind = PhiKind::exp, .t = 1}, .centred = true}, {}, 2);
    check(BonSft{.n = 2}, {.reference = 4}, 4);
  }
}

TEST_CASE("exact training ends at the optimum, with an anchor that follows too", "[train]") {
  ExactProblem problem(law, without_tie);
  const auto outcome = train_exactly(problem, objective::Rloo{.beta = 0.5});
  CHECK(outcome.settled);
  CHECK(bon::kl_of_laws(problem.policy(), bon::tilted_law(law, without_tie, 0.5)) < 1e-10);

  for (const Index n : {2, 3}) {  // the group decides how hard the win rate pulls
    ExactProblem game(law, without_tie);
    const objective::Wind wind{.beta = 0.5, .eta = 0.3};
    const auto rounds = train_exactly(game, wind, {.groups = {.anchor = n}});
    CHECK(rounds.settled);
    CHECK(rounds.rounds > 5);
    const FiniteProblem finite{.reference = law, .reward = without_tie, .group = n};
    CHECK(bon::kl_of_laws(game.policy(), optimum(wind, finite)) < 1e-10);
  }
}

TEST_CASE("settings without an optimum are named", "[train][error]") {
  const FiniteProblem problem{.reference = law, .reward = without_tie};
  CHECK_THROWS_AS(optimum(objective::Preference<objective::Dpo>{}, problem), ConfigError);
  CHECK_THROWS_AS(optimum(objective::Pkpo{}, problem), ConfigError);
  CHECK_THROWS_AS(optimum(objective::Ppo{}, problem), ConfigError);
  CHECK_THROWS_AS(optimum(objective::QuantileRegression{}, problem), ConfigError);
  CHECK_THROWS_AS(ExactProblem({0.5, 0}, {1, 2}), DomainError);
  static_assert(!objective::HasOptimum<objective::Grpo>);
}
}  // namespace vbon::test
