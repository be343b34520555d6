#include "vbon/objective/quantile_regression.hpp"

#include "support/catch.hpp"
#include "vbon/core/random.hpp"
#include "vbon/objective/infalign.hpp"

using namespace vbon;
using namespace vbon::objective;

namespace {
/// Two prompts with four one-token responses each, rewards without ties, quantiles known exactly.
RolloutBatch two_groups(RngKey key) {
  RolloutBatch batch;
  for (int p = 0; p < 2; ++p) {
    batch.add_prompt({});
    for (int i = 0; i < 4; ++i) batch.add_response(std::vector<TokenId>{0}, true);
  }
  batch.weight = uniform_weight(batch);
  batch.log_cdf.resize(8);
  batch.ref_log_prob.resize(8);
  batch.log_prob.resize(8);
  for (Index i = 0; i < 8; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    batch.log_cdf[i] = std::log(0.05 + 0.9 * key.uniform(at));
    batch.ref_log_prob[i] = -3 - 4 * key.uniform(at + 100);
    batch.log_prob[i] = batch.ref_log_prob[i] + key.normal(at + 200);
  }
  batch.log_cdf_le = batch.log_cdf;
  return batch;
}
}  // namespace

TEST_CASE("the centred regression needs no partition function: a shift per prompt changes nothing", "[objective]") {
  const QuantileRegression rule{.centred = true};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto batch = two_groups({seed, 1});
    const auto before = rule(batch);
    batch.log_prob.head(4) += 0.75;
    batch.log_prob.tail(4) -= 1.25;
    const auto after = rule(batch);
    CHECK(after.loss == Approx(before.loss).epsilon(1e-10));
    CHECK((after.dlog_prob - before.dlog_prob).abs().maxCoeff() < 1e-10);
    CHECK(std::abs(after.dlog_prob.head(4).sum()) < 1e-10);
  }
}

TEST_CASE("the centred regression rests at best-of-N and only there", "[objective]") {
  const QuantileRegression rule{.phi = {.kind = PhiKind::bon_log, .n = 4}, .centred = true};
  auto batch = two_groups({3, 1});
  batch.log_prob = batch.ref_log_prob + 3 * batch.log_cdf + 0.4;
  CHECK(rule(batch).loss < 1e-20);
  CHECK(rule(batch).dlog_prob.abs().maxCoeff() < 1e-10);
  batch.log_prob[2] += 0.1;
  CHECK(rule(batch).loss > 1e-4);
}

TEST_CASE("both forms of the regression have the gradient of their loss", "[objective]") {
  for (const bool centred : {false, true}) {
    const QuantileRegression rule{.centred = centred};
    auto batch = two_groups({5, 2});
    batch.weight.head(4) << 0.1, 0.2, 0.3, 0.4;  // any weights that sum to 1
    const Array gradient = rule(batch).dlog_prob;
    for (Index i = 0; i < batch.tokens(); ++i) {
      auto up = batch, down = batch;
      up.log_prob[i] += 1e-5;
      down.log_prob[i] -= 1e-5;
      CHECK(gradient[i] == Approx((rule(up).loss - rule(down).loss) / 2e-5).margin(1e-7));
    }
  }
}

TEST_CASE("the partition function of a floored logarithm is its integral", "[objective]") {
  for (const double floor : {0.0, 0.1, 0.5, 1.0})
    for (const double beta : {0.3, 1.0, 2.0})
      for (const Phi phi :
           {Phi{.kind = PhiKind::log, .floor = floor}, Phi{.kind = PhiKind::bon_log, .n = 4, .floor = floor}}) {
        const int cells = 200000;
        double sum = 0;
        for (int k = 0; k < cells; ++k) sum += std::exp(phi((k + 0.5) / cells) / beta) / cells;
        CHECK(log_partition(phi, beta) == Approx(std::log(sum)).margin(1e-8));
      }
}

TEST_CASE("the partition function of steep transforms is that of the exponential integral", "[objective]") {
  // (Ei(e^t/beta) - Ei(1/beta))/t, for t < 0 (E1(e^t/beta) - E1(1/beta))/(-t), to 40 digits.
  struct Known {
    double t, beta, log_z;
  };
  for (const auto& [t, beta, log_z] :
       {Known{10, 1, 22014.163255116743}, Known{5, 45, 1.1218272207816685}, Known{0.1, 1000, 0.0010517096415515944},
        Known{-10, 1, -0.08300713557193072}, Known{-700, 0.001, -0.010750394609299076}}) {
    CAPTURE(t, beta);
    CHECK(log_partition({.kind = PhiKind::exp, .t = t}, beta) == Approx(log_z).epsilon(1e-12));
  }
  CHECK(log_partition({.kind = PhiKind::bon_first_order, .n = 64}, 0.1) == Approx(311.90242435005686).epsilon(1e-12));
  CHECK_THROWS_WITH(log_partition({.kind = PhiKind::exp, .t = 700}, 1e-10), Catch::Contains("larger beta"));
}

TEST_CASE("a logarithm of the quantile has a floor of its own in InfAlign", "[objective]") {
  auto batch = two_groups({9, 1});
  batch.reward.resize(8);
  for (Index i = 0; i < 8; ++i) batch.reward[i] = static_cast<double>(i % 4);
  batch.ref_reward = {{0.5, 1.5, 2.5, 3.5}, {0.5, 1.5, 2.5, 3.5}};
  batch.log_prob = batch.ref_log_prob;
  const InfAlign<> rule{.phi = {.kind = PhiKind::log}, .beta = 1};
  CHECK(rule.score(batch)[0] == Approx(std::log(1.0 / 8)));  // below all four
  CHECK(rule.score(batch)[2] == Approx(std::log(2.0 / 4)));
  const InfAlign<> given{.phi = {.kind = PhiKind::log, .floor = 0.2}, .beta = 1};
  CHECK(given.score(batch)[0] == Approx(std::log(0.2)));
  CHECK_THROWS_WITH((Phi{.kind = PhiKind::log}(0)), Catch::Contains("floor"));
}
