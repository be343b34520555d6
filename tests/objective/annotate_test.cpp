#include "vbon/objective/annotate.hpp"

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
RolloutBatch one_prompt(std::vector<double> rewards, std::vector<double> cached) {
  RolloutBatch batch;
  batch.add_prompt({});
  for (std::size_t i = 0; i < rewards.size(); ++i) batch.add_response(std::vector<TokenId>{0}, true);
  batch.reward = Eigen::Map<const Array>(rewards.data(), static_cast<Index>(rewards.size()));
  batch.ref_reward = {std::move(cached)};
  return batch;
}
}  // namespace

TEST_CASE("annotate gives the estimator's logs and marks the absence of ties", "[objective]") {
  auto batch = one_prompt({2, 2.5, 9}, {1, 2, 2, 3});
  annotate(batch, bon::PlugIn{});
  CHECK(batch.log_cdf[0] == Approx(std::log(0.25)));
  CHECK(batch.log_tie[0] == Approx(std::log(0.5)));
  CHECK(batch.log_cdf_le[0] == Approx(std::log(0.75)));
  CHECK(std::isnan(batch.log_tie[1]));
  CHECK(batch.log_cdf[2] == 0);
}

TEST_CASE("a cached response is left out of its own estimate", "[objective]") {
  auto batch = one_prompt({1, 2, 2, 3}, {1, 2, 2, 3});
  annotate(batch, bon::PlugIn{}, Drawn::from_cache);
  CHECK(batch.log_cdf_le[0] == -std::numeric_limits<double>::infinity());
  CHECK(batch.log_cdf[1] == Approx(std::log(1.0 / 3)));
  CHECK(batch.log_cdf_le[1] == Approx(std::log(2.0 / 3)));
  CHECK(batch.log_cdf[3] == Approx(0).margin(1e-15));
}

TEST_CASE("a large cache approaches the exact annotation", "[objective]") {
  const auto problem = TabularProblem::random({.vocabulary = 5, .length = 2}, 4, 6);
  auto batch = problem.filled(problem.policy.enumerate());
  const Array exact_cdf = batch.log_cdf, exact_le = batch.log_cdf_le;
  auto cache = problem.filled(problem.reference.sample(problem.reference.prompts(), 100000, {.seed = 1, .stream = 0}));
  batch.ref_reward = {std::vector<double>(cache.reward.begin(), cache.reward.end())};
  std::sort(batch.ref_reward[0].begin(), batch.ref_reward[0].end());
  annotate(batch);
  for (Index i = 0; i < batch.responses(); ++i) {
    if (exact_cdf[i] > -5) CHECK(batch.log_cdf[i] == Approx(exact_cdf[i]).margin(0.05));
    CHECK(batch.log_cdf_le[i] == Approx(exact_le[i]).margin(0.05));
  }
}

TEST_CASE("annotate refuses an empty cache, a NaN reward, missing prompts and strangers", "[objective][error]") {
  auto empty = one_prompt({1}, {});
  CHECK_THROWS_AS(annotate(empty), DomainError);
  auto nan = one_prompt({NAN}, {1});
  CHECK_THROWS_AS(annotate(nan), DomainError);
  auto stranger = one_prompt({1.5}, {1, 2});
  CHECK_THROWS_AS(annotate(stranger, bon::Harmonic{}, Drawn::from_cache), DomainError);
  auto missing = one_prompt({1}, {1});
  missing.ref_reward.clear();
  CHECK_THROWS_AS(annotate(missing), ShapeError);
}
