#include "vbon/objective/quantile_regression.hpp"

#include "support/catch.hpp"
#include "vbon/core/random.hpp"

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
      for (const Phi phi : {Phi{.kind = PhiKind::log, .floor = floor}, Phi{.kind = PhiKind::bon_log, .n = 4, .floor = floor}}) {
        const int cells = 200000;
        double sum = 0;
        for (int k = 0; k < cells; ++k) sum += std::exp(phi((k + 0.5) / cells) / beta) / cells;
        CHECK(log_partition(phi, beta) == Approx(std::log(sum)).margin(1e-8));
      }
}
