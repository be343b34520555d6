#include "vbon/objective/ppo_published.hpp"

#include <algorithm>

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"

namespace vbon::test {
namespace {
using namespace objective;

/// Samples of a table, whose responses all have one length, with values and an older policy.
RolloutBatch sampled() {
  const TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 4, .length = 3}, 7);
  return problem.filled(problem.policy.sample(problem.policy.prompts(), 4, {.seed = 1, .stream = 0}));
}
/// The same without the last token of the first response.
RolloutBatch shortened(const RolloutBatch& whole) {
  RolloutBatch batch;
  std::vector<Index> kept;
  for (Index p = 0; p < whole.prompts(); ++p) {
    batch.add_prompt({});
    for (Index i = whole.group_offset[static_cast<std::size_t>(p)]; i < whole.group_offset[static_cast<std::size_t>(p) + 1];
         ++i) {
      const auto tokens = whole.response(i);
      batch.add_response(tokens.first(tokens.size() - (i == 0 ? 1 : 0)), true);
      for (std::size_t t = 0; t < tokens.size() - (i == 0 ? 1 : 0); ++t)
        kept.push_back(whole.offset[static_cast<std::size_t>(i)] + static_cast<Index>(t));
    }
  }
  batch.reward = whole.reward;
  batch.weight = whole.weight;
  for (Array RolloutBatch::*field : {&RolloutBatch::log_prob, &RolloutBatch::ref_log_prob, &RolloutBatch::old_log_prob,
                                     &RolloutBatch::value, &RolloutBatch::old_value})
    batch.*field = (whole.*field)(kept);
  return batch;
}
}  // namespace

TEST_CASE("without pads the published arithmetic of PPO is PPO", "[objective]") {
  RolloutBatch batch = sampled();
  batch.reward = batch.reward.max(-9).min(9);
  const auto own = Ppo{.beta = 0.3, .settings = {.clip = {.value_weight = 0.7}}}(batch);
  const auto published = PublishedPpo{.beta = 0.3, .clip = {.value_weight = 0.7}}(batch);
  CHECK(published.loss == Approx(own.loss));
  CHECK((published.dlog_prob - own.dlog_prob).abs().maxCoeff() < 1e-12);
  CHECK((published.dvalue - own.dvalue).abs().maxCoeff() < 1e-12);
}

TEST_CASE("with pads the published score lands behind the response and pads are whitened", "[objective]") {
  const RolloutBatch batch = shortened(sampled());
  const auto own = Ppo{.beta = 0.3, .settings = {.clip = {.value_weight = 1}}}(batch);
  const auto published = PublishedPpo{.beta = 0.3}(batch);
  REQUIRE(published.dlog_prob.size() == batch.tokens());
  CHECK((published.dlog_prob - own.dlog_prob).abs().maxCoeff() > 1e-3);
  RolloutBatch clipped = batch;
  clipped.reward[1] = 50;
  RolloutBatch at_clip = batch;
  at_clip.reward[1] = 10;
  CHECK(PublishedPpo{}(clipped).loss == Approx(PublishedPpo{}(at_clip).loss));
}

TEST_CASE("the published PPO takes the log CDF as its reward, and names settings of no meaning", "[objective][error]") {
  RolloutBatch batch = sampled();
  RolloutBatch ranked = batch;
  ranked.reward = side_log_cdf("test", batch, Side::strict);
  CHECK(PublishedPpo{.log_cdf = true}(batch).loss == Approx(PublishedPpo{}(ranked).loss));
  CHECK_THROWS_WITH(PublishedPpo{.score_clip = 0}(batch), Catch::Contains("score_clip > 0"));
  CHECK_THROWS_WITH((PublishedPpo{.gae = {.gamma = 2}}(batch)), Catch::Contains("ppo_published: gamma"));
  CHECK_THROWS_WITH((Ppo{.settings = {.gae = {.gamma = 2}}}(batch)), Catch::Contains("ppo: gamma"));
}
}  // namespace vbon::test
