// Where exact laws of decoders are one, and what their limits are.
#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/decode/controlled_law.hpp"
#include "vbon/decode/hedge.hpp"
#include "vbon/decode/iad_law.hpp"
#include "vbon/decode/rejection_law.hpp"
#include "vbon/decode/resample.hpp"
#include "vbon/decode/soft_bon_law.hpp"
#include "vbon/decode/tree_law.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
struct Problem {
  std::vector<double> probability, reward;
};
Problem random_problem(Index ties = 0, std::uint64_t seed = 5) {
  const auto problem = TabularProblem::random({.vocabulary = 5}, seed, ties);
  const Array weight = problem.reference.enumerate().weight;
  return {{weight.begin(), weight.end()}, problem.reward[0]};
}
void check_equal(const std::vector<double>& a, const std::vector<double>& b, double within = 1e-12) {
  REQUIRE(a.size() == b.size());
  for (std::size_t k = 0; k < a.size(); ++k) CHECK(a[k] == Approx(b[k]).epsilon(within).margin(within));
}
}  // namespace

TEST_CASE("best-of-a of best-of-b is best-of-ab; N = 1 and mu = 0 are the reference", "[decode][laws]") {
  const auto [p, r] = random_problem(GENERATE(0, 3));
  check_equal(bon::best_of_n_law(bon::best_of_n_law(p, r, 3), r, 2.5), bon::best_of_n_law(p, r, 7.5));
  check_equal(bon::best_of_n_law(p, r, 1), p);
  check_equal(bon::worst_of_n_law(p, r, 1), p);
  check_equal(bon::best_of_poisson_law(p, r, 0), p);
}

TEST_CASE("soft best-of-N runs from the reference to best-of-N, and to the tilted law as N grows", "[decode][laws]") {
  const auto [p, r] = random_problem(GENERATE(0, 3));
  check_equal(decode::soft_best_of_n_law(p, r, 4, 0), bon::best_of_n_law(p, r, 4));
  check_equal(decode::soft_best_of_n_law(p, r, 4, 1e-9), bon::best_of_n_law(p, r, 4), 1e-9);
  check_equal(decode::soft_best_of_n_law(p, r, 4, std::numeric_limits<double>::infinity()), p);
  check_equal(decode::soft_best_of_n_law(p, r, 1, 0.5), p);
  const auto gap = [&](Index n) {
    return bon::kl_of_laws(bon::tilted_law(p, r, 1), decode::soft_best_of_n_law(p, r, n, 1));
  };
  CHECK(gap(32) < gap(8));
  CHECK(gap(32) < 0.05);
}

TEST_CASE("rejection without a limit, guidance by the soft value and the tilted law are one", "[decode][laws]") {
  const auto [p, r] = random_problem();
  const double r_max = *std::max_element(r.begin(), r.end());
  std::vector<double> accept;
  for (const double x : r) accept.push_back(decode::tilted_acceptance(x, r_max, 0.6));
  check_equal(decode::rejection_law(p, accept, 1e6).law, bon::tilted_law(p, r, 0.6), 1e-10);
}

TEST_CASE("pessimism: weights average 1, a shift moves lambda, large beta gives the reference", "[decode][laws]") {
  auto [p, r] = random_problem();
  const double beta = GENERATE(0.05, 0.7, 20.0);
  const double lambda = decode::pessimism_normalizer(p, r, beta);
  double mean = 0, chi2 = -1;
  for (std::size_t k = 0; k < p.size(); ++k) {
    const double w = decode::pessimism_weight(r[k], lambda, beta);
    mean += p[k] * w;
    chi2 += p[k] * w * w;
  }
  CHECK(mean == Approx(1).epsilon(1e-12));
  CHECK(chi2 >= -1e-12);
  for (double& x : r) x += 5;
  CHECK(decode::pessimism_normalizer(p, r, beta) == Approx(lambda + 5));
  const double huge = decode::pessimism_normalizer(p, r, 1e9);
  for (const double x : r) CHECK(decode::pessimism_weight(x, huge, 1e9) == Approx(1).epsilon(1e-6));
}

TEST_CASE("a tree of chains and rounds that ignore feedback are best-of-N", "[decode][laws]") {
  const std::vector<double> first = {0.3, 0.7}, partial = {1, -1};
  const std::vector<std::vector<double>> second = {{0.5, 0.5}, {0.2, 0.8}}, reward = {{0.1, 0.9}, {0.4, -0.3}};
  std::vector<double> joint, flat, law;
  for (std::size_t k = 0; k < 2; ++k)
    for (std::size_t l = 0; l < 2; ++l) {
      joint.push_back(first[k] * second[k][l]);
      flat.push_back(reward[k][l]);
    }
  for (const auto& row : decode::two_layer_law(first, second, partial, reward, 3, 1))
    law.insert(law.end(), row.begin(), row.end());
  check_equal(law, bon::best_of_n_law(joint, flat, 3));
  const auto [p, r] = random_problem(3);
  const std::vector<std::vector<std::vector<double>>> deaf(p.size(), std::vector<std::vector<double>>(p.size(), p));
  check_equal(decode::iad_law(p, r, deaf, 3, 2), bon::best_of_n_law(p, r, 6));
}

TEST_CASE("every resampling scheme keeps n W_i copies of a particle on average", "[decode][laws]") {
  const auto scheme = GENERATE(decode::Resampling::systematic, decode::Resampling::stratified,
                               decode::Resampling::multinomial, decode::Resampling::residual);
  const std::vector<double> weight = {0.45, 0.05, 0.3, 0.2};
  std::vector<double> copies(4, 0);
  const int rounds = 40000;
  for (int i = 0; i < rounds; ++i) {
    std::vector<double> uniform(4);
    for (std::size_t j = 0; j < 4; ++j) uniform[j] = RngKey{9, static_cast<std::uint64_t>(i)}.uniform(j);
    const auto ancestor = decode::resample(scheme, weight, uniform);
    REQUIRE(ancestor.size() == 4);
    for (const Index a : ancestor) ++copies[static_cast<std::size_t>(a)];
  }
  for (std::size_t k = 0; k < 4; ++k) CHECK(copies[k] / rounds == Approx(4 * weight[k]).margin(0.03));
}

TEST_CASE("hedging with the proxy as truth never loses by a larger N", "[decode][laws]") {
  const auto [p, r] = random_problem(3);
  const decode::HedgeCurve curve(r, r);
  for (double n = 1; n < 40; ++n) CHECK(curve.best_of_n(n + 1) >= curve.best_of_n(n) - 1e-12);
  for (Index n = 1; n < 5; ++n) CHECK(curve.best_of_n_unbiased(n + 1) >= curve.best_of_n_unbiased(n) - 1e-12);
  const std::vector<double> rising = {1, 2, 3}, peaked = {1, 3, 3};
  CHECK(decode::hedge_choice(rising).at_end);
  CHECK(decode::hedge_choice(peaked).index == 1);
  CHECK(!decode::hedge_choice(peaked).at_end);
}
