// Runs over the registry: what must not change an objective's answer, and what it may read.
#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/objective/registry.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
Streams sampled_streams(const TabularProblem& problem, std::span<const Prompt> prompts) {
  Streams streams;
  streams.policy = problem.filled(problem.policy.sample(prompts, 4, {.seed = 1, .stream = 0}));
  streams.reference = problem.filled(problem.reference.sample(prompts, 4, {.seed = 2, .stream = 0}));
  streams.anchor = problem.filled(problem.anchor.sample(prompts, 2, {.seed = 3, .stream = 0}));
  return streams;
}
std::vector<double> joined(const StreamsResult& result) {
  std::vector<double> all = {result.loss};
  for (const Array* part : {&result.policy, &result.reference, &result.anchor})
    all.insert(all.end(), part->begin(), part->end());
  return all;
}
template <class Law, class F>
void for_each_with(const F& f) {
  for_each_entry<Registry>([&]<class O>(const O& entry) {
    if constexpr (O::laws::template has<Law>) DYNAMIC_SECTION(O::name) {
        f(entry);
      }
  });
}
}  // namespace

TEST_CASE("a strictly increasing map of the rewards changes no bit where only ranks count", "[objective][laws]") {
  for_each_with<law::Ranks>([](const auto& entry) {
    TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 3, .length = 2}, 51, 6);
    const auto prompts = problem.policy.prompts();
    const auto before = joined(evaluate(entry, sampled_streams(problem, prompts)));
    for (auto& row : problem.reward)
      for (double& r : row) r = std::exp(2 * r) - 7;
    CHECK(joined(evaluate(entry, sampled_streams(problem, prompts))) == before);
  });
}

TEST_CASE("two prompts together are the average of each alone", "[objective][laws]") {
  for_each_with<law::PerPrompt>([](const auto& entry) {
    const TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 4, .length = 2}, 61);
    const auto prompts = problem.policy.prompts();
    const StreamsResult both = evaluate(entry, sampled_streams(problem, prompts));
    const StreamsResult first = evaluate(entry, sampled_streams(problem, std::span(prompts).first(1)));
    const StreamsResult second = evaluate(entry, sampled_streams(problem, std::span(prompts).last(1)));
    CHECK(both.loss == Approx((first.loss + second.loss) / 2).epsilon(1e-12));
    for (const auto stream : {&StreamsResult::policy, &StreamsResult::reference, &StreamsResult::anchor}) {
      const Array &whole = both.*stream, &a = first.*stream, &b = second.*stream;
      REQUIRE(whole.size() == a.size() + b.size());
      for (Index t = 0; t < whole.size(); ++t)
        CHECK(whole[t] == Approx((t < a.size() ? a[t] : b[t - a.size()]) / 2).epsilon(1e-12).margin(1e-15));
    }
  });
}

TEST_CASE("a constant added to all log-probs of a prompt does not move a contrast", "[objective][laws]") {
  for_each_with<law::Contrast>([](const auto& entry) {
    const TabularProblem problem = TabularProblem::random({.vocabulary = 5}, 71);
    Streams streams = sampled_streams(problem, problem.policy.prompts());
    const auto before = joined(evaluate(entry, streams));
    for (RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor}) batch->log_prob -= 0.25;
    const auto after = joined(evaluate(entry, streams));
    for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == Approx(before[i]).epsilon(1e-12).margin(1e-14));
  });
}

TEST_CASE("an objective reads nothing that its needs do not declare", "[objective][laws]") {
  const bool without_kl = GENERATE(false, true);
  for_each_entry<Registry>([&]<class O>(O entry) {
    if constexpr (requires { entry.needs_now(); })
      entry.each_option([&](std::string_view option, auto& field, std::string_view) {
        if constexpr (std::is_same_v<decltype(field), double&>)
          if (option == "beta" && without_kl) field = 0;
      });
    DYNAMIC_SECTION(O::name << (without_kl ? " without KL" : "")) {
      const TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 3, .length = 2}, 81);
      Streams streams = sampled_streams(problem, problem.policy.prompts());
      const auto before = joined(evaluate(entry, streams));
      const Needs needs = needs_of(entry);
      for (RolloutBatch* batch : {&streams.policy, &streams.reference, &streams.anchor}) {
        if (!needs.ref_log_prob) batch->ref_log_prob.resize(0);
        if (!needs.old_log_prob) batch->old_log_prob.resize(0);
        if (!needs.anchor_log_prob) batch->anchor_log_prob.resize(0);
        if (!needs.value) batch->value.resize(0);
        if (!needs.value) batch->old_value.resize(0);
        if (needs.ref_reward) continue;
        batch->ref_reward.clear();
        for (Array* array : {&batch->log_cdf, &batch->log_tie, &batch->log_cdf_le}) array->resize(0);
      }
      if (needs.min_group == 0) streams.policy = {};
      if (needs.reference_group == 0) streams.reference = {};
      if (needs.anchor_group == 0) streams.anchor = {};
      CHECK(joined(evaluate(entry, streams)) == before);
    }
  });
}

TEST_CASE("groups smaller than an objective needs are refused by name", "[objective][laws][error]") {
  for_each_entry<Registry>([]<class O>(const O& entry) {
    DYNAMIC_SECTION(O::name) {
      CHECK_THROWS_AS(evaluate(entry, Streams{}), DomainError);
      constexpr Needs needs = O::needs;
      if (std::max({needs.min_group, needs.reference_group, needs.anchor_group}) < 2) return;
      const TabularProblem problem = TabularProblem::random({.vocabulary = 3}, 91);
      Streams alone;
      for (RolloutBatch* batch : {&alone.policy, &alone.reference, &alone.anchor})
        *batch = problem.filled(problem.policy.sample(problem.policy.prompts(), 1, {.seed = 1, .stream = 0}));
      CHECK_THROWS_AS(evaluate(entry, alone), DomainError);
    }
  });
}
