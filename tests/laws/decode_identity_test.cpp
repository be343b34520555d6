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

TEST_CASE("soft best-of-N as an integral is the sum over multisets", "[decode][laws]") {
  const auto [p, r] = random_problem(GENERATE(0, 3), GENERATE(range<std::uint64_t>(1, 6)));
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Index n : {1, 2, 3, 7})
    for (const double lambda : {0.0, 1e-300, 1e-4, 0.03, 0.4, 1.0, 30.0, 1e9, infinity})
      check_equal(decode::soft_best_of_n_integral(p, r, n, lambda), decode::soft_best_of_n_law(p, r, n, lambda), 1e-13);
  // Many draws of many outcomes: the law's limits.
  const auto [q, s] = random_problem(0, 9);
  check_equal(decode::soft_best_of_n_integral(q, s, 1000000, 0), bon::best_of_n_law(q, s, 1e6));
  check_equal(decode::soft_best_of_n_integral(q, s, 1000000, 0.7), bon::tilted_law(q, s, 0.7), 1e-4);
}

TEST_CASE("in soft best-of-N -inf has no weight beside another reward, +inf all of it", "[decode][laws]") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> p = {0.1, 0.2, 0.3, 0.4};
  for (const double lambda : {0.0, 0.5, infinity}) {
    CAPTURE(lambda);
    // Two draws: all -inf with probability 0.5^2, shared as 0.1 to 0.4; else one of those in the middle.
    const std::vector<double> low = {-infinity, 1, 1, -infinity};
    check_equal(decode::soft_best_of_n_integral(p, low, 2, lambda), {0.25 * 0.2, 0.75 * 0.4, 0.75 * 0.6, 0.25 * 0.8});
    const std::vector<double> high = {infinity, 1, 1, infinity};
    check_equal(decode::soft_best_of_n_integral(p, high, 2, lambda), {0.75 * 0.2, 0.25 * 0.4, 0.25 * 0.6, 0.75 * 0.8});
    check_equal(decode::soft_best_of_n_integral(p, std::vector<double>(4, -infinity), 3, lambda), p);
  }
  CHECK_THROWS_AS(decode::soft_best_of_n_integral(p, std::vector<double>{0, 1, NAN, 2}, 2, 1), DomainError);
  CHECK_THROWS_AS(decode::soft_best_of_n_integral(p, p, 0, 1), DomainError);
  CHECK_THROWS_AS(decode::soft_best_of_n_integral(p, p, 2, -1), DomainError);
  CHECK_THROWS_AS(decode::soft_best_of_n_integral(p, std::vector<double>(3), 2, 1), ShapeError);
}

TEST_CASE("rejection without a limit, guidance by the soft value and the tilted law are one", "[decode][laws]") {
  const auto [p, r] = random_problem();
  const double r_max = *std::max_element(r.begin(), r.end());
  std::vector<double> accept;
  for (const double x : r) accept.push_back(decode::tilted_acceptance(x, r_max, 0.6));
  check_equal(decode::rejection_law(p, accept, 1e6).law, bon::tilted_law(p, r, 0.6), 1e-10);
  // What is impossible is never accepted, at any temperature; what has no reward is an error.
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double beta : {1e-300, 0.6, infinity}) CHECK(decode::tilted_acceptance(-infinity, r_max, beta) == 0);
  CHECK_THROWS_AS(decode::tilted_acceptance(NAN, r_max, 0.6), DomainError);
  CHECK_THROWS_AS(decode::tilted_acceptance(infinity, r_max, 0.6), DomainError);
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

TEST_CASE("the last digit of a sum decides no choice of hedging", "[decode][laws]") {
  for (const double scale : {1e-200, 1.0, 1e200}) {
    CAPTURE(scale);
    const std::vector<double> flat = {0.1 * scale, 0.3 * scale, (0.1 + 0.2) * scale};  // 0.1 + 0.2 > 0.3
    REQUIRE(flat[2] > flat[1]);
    CHECK(decode::hedge_choice(flat).index == 1);
    CHECK(decode::hedge_choice(flat).value == flat[1]);
    CHECK(!decode::hedge_choice(flat).at_end);
    CHECK(decode::hedge_choice(flat).last_ties);
    const std::vector<double> rising = {scale, scale * (1 + 1e-11)};
    CHECK(decode::hedge_choice(rising).at_end);
    const std::vector<double> below = {-scale, -0.3 * scale, -0.1 * scale - 0.2 * scale};  // none is positive
    CHECK(decode::hedge_choice(below).index == 1);
  }
  CHECK(!decode::hedge_choice(std::vector<double>{1, 2, 1}).last_ties);
  const std::vector<double> zero = {0, 0, 0};
  CHECK(decode::hedge_choice(zero).index == 0);
}

TEST_CASE("hedging of lambda and of beta runs from the plain mean to the best", "[decode][laws]") {
  const auto [unused, proxy] = random_problem(GENERATE(0, 3));
  const auto truth = random_problem(0, 8).reward;
  const decode::HedgeCurve curve(proxy, truth);
  const std::vector<double> even(proxy.size(), 1 / static_cast<double>(proxy.size()));
  const double mean = bon::mean_under(even, truth), infinity = std::numeric_limits<double>::infinity();
  for (const Index n : {1, 3, 5})
    for (const double lambda : {0.1, 1.0})
      CHECK(curve.soft_best_of_n(n, lambda) ==
            Approx(bon::mean_under(decode::soft_best_of_n_law(even, proxy, n, lambda), truth)).epsilon(1e-12));
  CHECK(curve.soft_best_of_n(4, 0) == Approx(curve.best_of_n(4)).epsilon(1e-12));
  CHECK(curve.soft_best_of_n(4, infinity) == Approx(mean).epsilon(1e-12));
  CHECK(curve.pessimism(1e9) == Approx(mean).epsilon(1e-6));
  CHECK(curve.pessimism(1e-9) == Approx(curve.best_of_n(1e9)).epsilon(1e-12));
  // Two levels, the better one with a third of the pairs: lambda = 1/3 - beta while both have weight.
  const std::vector<double> two = {0, 1, 0}, judged = {3, 9, 6};
  const decode::HedgeCurve small(two, judged);
  CHECK(small.pessimism(2) == Approx((3 * (5.0 / 3) + 9 * (8.0 / 3) + 6 * (5.0 / 3)) / 6).epsilon(1e-12));
  CHECK(small.pessimism(0.1) == Approx(9).epsilon(1e-12));  // below 1/3 the worse level has none
  CHECK_THROWS_AS(small.pessimism(0), DomainError);
  CHECK_THROWS_AS(small.soft_best_of_n(0, 1), DomainError);
  CHECK_THROWS_AS(small.soft_best_of_n(2, -1), DomainError);
  const std::vector<double> dead = {-infinity, 1, 0};
  const decode::HedgeCurve one_dead(dead, judged);
  CHECK_THROWS_AS(one_dead.pessimism(1), DomainError);  // it computes with what the others rank
  // Two draws: both dead 1/9, one of the others alone 3/9 each, both of them 2/9.
  const double better = 1 / (1 + std::exp(-1.0));
  CHECK(one_dead.soft_best_of_n(2, 1) ==
        Approx((3 + 3 * 9 + 3 * 6 + 2 * (9 * better + 6 * (1 - better))) / 9).epsilon(1e-12));
}
