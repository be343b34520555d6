// Where two methods are one: each identity of the specification that concerns objectives.
#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/bon_sft.hpp"
#include "vbon/objective/bonbon.hpp"
#include "vbon/objective/bond.hpp"
#include "vbon/objective/infalign.hpp"
#include "vbon/objective/jbond.hpp"
#include "vbon/objective/ksample.hpp"
#include "vbon/objective/pkpo.hpp"
#include "vbon/objective/ppo.hpp"
#include "vbon/objective/quantile_regression.hpp"
#include "vbon/objective/reinforce.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/objective/vbon_bound.hpp"
#include "vbon/objective/wind.hpp"
#include "vbon/objective/wind_game.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
void check_equal(const Array& a, const Array& b, double factor = 1) {
  REQUIRE(a.size() == b.size());
  for (Index i = 0; i < a.size(); ++i) CHECK(a[i] == Approx(factor * b[i]).epsilon(1e-11).margin(1e-14));
}
RolloutBatch sampled(std::uint64_t seed, Index samples = 5, policy::TabularShape shape = {.prompts = 3, .vocabulary = 6},
                     Index ties = 0) {
  const auto problem = TabularProblem::random(shape, seed, ties);
  return problem.filled(problem.policy.sample(problem.policy.prompts(), samples, {.seed = seed, .stream = 0}));
}
}  // namespace

TEST_CASE("PKPO at k = 1 is RLOO, at k = n the k-sample maximum; the k-sample mean is RLOO over k", "[objective][laws]") {
  const auto batch = sampled(static_cast<std::uint64_t>(GENERATE(range(1, 6))));
  const Array rloo = Rloo{.beta = 0}(batch).dlog_prob;
  check_equal(Pkpo{.k = 1}(batch).dlog_prob, rloo);
  // PKPO states its weights as advantages (mean convention), the k-sample weights are a sum.
  check_equal(Pkpo{.k = 5}(batch).dlog_prob, Ksample{.value = SampleValue::max}(batch).dlog_prob);
  check_equal(Ksample{.value = SampleValue::mean}(batch).dlog_prob, rloo);
}

TEST_CASE("the weights of PKPO sum to k times the mean of the maximum, and constant rewards weigh nothing",
          "[objective][laws]") {
  const Index k = GENERATE(1, 2, 3, 6);
  Array reward(6);
  for (Index i = 0; i < 6; ++i) reward[i] = RngKey{3, 1}.normal(static_cast<std::uint64_t>(i));
  CHECK(pkpo_weights(reward, k, PkpoVariant::s).sum() == Approx(static_cast<double>(k) * SubsetMax(reward, k).mean()));
  const Array constant = Array::Constant(6, 0.1);
  CHECK(pkpo_weights(constant, k, PkpoVariant::automatic).abs().maxCoeff() == 0);
}

TEST_CASE("InfAlign with (N - 1) log u and beta 1 is the mid bound of vBoN; BOND backward is its weak bound",
          "[objective][laws]") {
  auto batch = sampled(11, 5, {.prompts = 3, .vocabulary = 6}, 4);
  annotate(batch, bon::PlugIn{});
  const double n = 4;
  // The plug-in CDF is -inf below all cached rewards; there InfAlign has its floor.
  for (Index i = 0; i < batch.responses(); ++i) REQUIRE(batch.log_cdf_le[i] > -50);
  const InfAlign<> infalign{.phi = {.kind = PhiKind::bon_log, .n = n}, .beta = 1};
  check_equal(infalign(batch).dlog_prob, VbonBound<>{.n = n, .side = objective::Side::mid}(batch).dlog_prob);
  Streams streams;
  streams.policy = batch;
  check_equal(Bond<LeaveOneOut>{.n = n, .beta = 1}(streams).policy,
              VbonBound<>{.n = n, .side = objective::Side::weak}(batch).dlog_prob);
  annotate(batch);
  streams.policy = batch;
  check_equal(Bond<LeaveOneOut>{.n = n, .beta = 1, .target = BondTarget::exact}(streams).policy,
              Vbon<>{.n = n}(batch).dlog_prob);
}

TEST_CASE("BOND at beta 0 is BoN-SFT on the reference stream", "[objective][laws]") {
  Streams streams;
  streams.reference = sampled(13);
  const auto bond = Bond<>{.n = 5, .beta = 0}(streams);
  const auto sft = BonSft{}(streams.reference);
  CHECK(bond.loss == sft.loss);
  check_equal(bond.reference, sft.dlog_prob);
  CHECK(bond.policy.size() == 0);
}

TEST_CASE("J-BOND's expected reward meets log F at the median", "[objective][laws]") {
  CHECK(expected_jbond_reward(0.5) == Approx(std::log(0.5)));
}

TEST_CASE("best-of-2 is one multiplication by the win rate, ties included", "[objective][laws]") {
  const auto problem = TabularProblem::random({.vocabulary = 7}, 17, GENERATE(0, 3));
  const Array weight = problem.reference.enumerate().weight;
  const std::vector<double> law(weight.begin(), weight.end());
  const auto rate = WindGame::from_rewards(law, problem.reward[0], PreferenceRule::step).win_rates(law);
  const auto best = bon::best_of_n_law(law, problem.reward[0], 2);
  for (std::size_t k = 0; k < law.size(); ++k) CHECK(best[k] == Approx(2 * law[k] * rate[k]).epsilon(1e-12));
}

TEST_CASE("the WIND fixed point wins half against itself and 1/2 + beta KL or more against the reference",
          "[objective][laws]") {
  const double beta = GENERATE(0.2, 1.0, 50.0);
  const auto problem = TabularProblem::random({.vocabulary = 5}, 19);
  const Array weight = problem.reference.enumerate().weight;
  const std::vector<double> law(weight.begin(), weight.end());
  const auto game = WindGame::from_rewards(law, problem.reward[0], PreferenceRule::bt);
  const auto fixed = game.fixed_point(beta);
  CHECK(bon::mean_under(fixed, game.win_rates(fixed)) == Approx(0.5));
  CHECK(bon::mean_under(fixed, game.win_rates(law)) >= 0.5 + beta * bon::kl_of_laws(fixed, law) - 1e-12);
  const auto again = game.step(fixed, beta, beta / 2);
  for (std::size_t k = 0; k < law.size(); ++k) CHECK(again[k] == Approx(fixed[k]).epsilon(1e-12));
}

TEST_CASE("the pairwise WIND loss over all outcomes is 0 at the exact step", "[objective][laws]") {
  auto problem = TabularProblem::random({.vocabulary = 4}, 23);
  const double beta = 0.3, eta = 0.7;
  std::vector<Index> all = {0, 1, 2, 3};
  // On one sample of each outcome the group's win rates are those against the even law without oneself.
  auto batch = problem.filled(problem.group(all));
  const Array rate = group_win_rate(batch.reward);
  batch.log_prob = (batch.anchor_log_prob + beta * eta * batch.ref_log_prob + eta * rate) / (1 + beta * eta);
  const auto result = Wind{.beta = beta, .eta = eta}(batch);
  CHECK(result.loss == Approx(0).margin(1e-25));
  CHECK(result.dlog_prob.abs().maxCoeff() < 1e-14);
}

TEST_CASE("BoNBoN at alpha 1 is BoN-SFT, at alpha 0 IPO at beta*", "[objective][laws]") {
  const auto batch = sampled(29, 4);
  for (const Group& g : groups(batch))
    REQUIRE(!build_pairs(PairRule::best_worst, batch.reward.segment(g.begin, g.size)).empty());
  check_equal(BonBon{.alpha = 1}(batch).dlog_prob, BonSft{}(batch).dlog_prob);
  const Preference<Ipo> ipo{.pair_loss = {{.beta = 1 / (2 * bonbon_margin(4))}}};
  check_equal(BonBon{.alpha = 0}(batch).dlog_prob, ipo(batch).dlog_prob);
  CHECK(1 / (2 * bonbon_margin(8)) == Approx(0.0275482094).epsilon(1e-8));
}

TEST_CASE("quantile regression has no loss left at the best-of-N law of distinct quantiles", "[objective][laws]") {
  RolloutBatch batch = sampled(31, 5, {.vocabulary = 6});
  const double n = 4;
  for (Index i = 0; i < batch.responses(); ++i) batch.log_cdf_le[i] = std::log(0.1 + 0.17 * static_cast<double>(i));
  batch.log_prob = batch.ref_log_prob + std::log(n) + (n - 1) * batch.log_cdf_le;
  const auto result = QuantileRegression{.phi = {.kind = PhiKind::bon_log, .n = n}, .side = objective::Side::weak}(batch);
  CHECK(result.loss == Approx(0).margin(1e-25));
}

TEST_CASE("leave-one-out advantages sum to 0, ignore a shift and scale with the rewards", "[objective][laws]") {
  auto batch = sampled(37, 4);
  const Array before = Rloo{.beta = 0}(batch).dlog_prob;
  for (const Group& g : groups(batch)) CHECK(before.segment(g.begin, g.size).sum() == Approx(0).margin(1e-15));
  batch.reward = 3 * batch.reward + 10;
  check_equal(Rloo{.beta = 0}(batch).dlog_prob, before, 3);
  batch.reward.setConstant(0.1);
  CHECK(Rloo{.beta = 0}(batch).dlog_prob.abs().maxCoeff() == 0);
}

TEST_CASE("GAE is reward-to-go minus value at lambda 1 and delta at lambda 0", "[objective][laws]") {
  const auto batch = sampled(41, 2, {.vocabulary = 3, .length = 4});
  Array reward(batch.tokens());
  for (Index t = 0; t < reward.size(); ++t) reward[t] = RngKey{5, 5}.normal(static_cast<std::uint64_t>(t));
  const Array to_go = gae(batch, reward, batch.value, {.gamma = 1, .lambda = 1}),
              delta = gae(batch, reward, batch.value, {.gamma = 0.9, .lambda = 0});
  for (Index i = 0; i < batch.responses(); ++i)
    for (Index t = 0; t < 4; ++t) {
      const Index at = batch.offset[static_cast<std::size_t>(i)] + t;
      CHECK(to_go[at] == Approx(reward.segment(at, 4 - t).sum() - batch.value[at]));
      CHECK(delta[at] == Approx(reward[at] + (t < 3 ? 0.9 * batch.value[at + 1] : 0) - batch.value[at]));
    }
}

TEST_CASE("PPO on policy without a critic and without whitening is REINFORCE per token", "[objective][laws]") {
  const auto problem =
      TabularProblem::random({.prompts = 2, .vocabulary = 4}, 43);  // one token: mean over tokens = mean over responses
  auto batch = problem.filled(problem.policy.sample(problem.policy.prompts(), 3, {.seed = 1, .stream = 0}));
  batch.old_value.resize(0);
  batch.value.resize(0);
  const auto ppo = Ppo{.beta = 0.2, .settings = {.whiten = false}}(batch);
  check_equal(ppo.dlog_prob, Reinforce<NoBaseline>{.beta = 0.2}(batch).dlog_prob);
  CHECK(ppo.dvalue.size() == 0);
}
