#include "vbon/objective/chosen_baseline.hpp"

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/objective/registry.hpp"
#include "vbon/train/any_objective.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
/// The option of a rule that a program would set by name.
template <class O>
void set_baseline(O& rule, BaselineKind kind) {
  int found = 0;
  rule.each_option([&](std::string_view name, auto& field, std::string_view) {
    if constexpr (std::is_same_v<decltype(field), BaselineKind&>) {
      CHECK(name == "baseline");
      field = kind;
      ++found;
    }
  });
  CHECK(found == 1);
}
template <class O, class B>
void check_same(BaselineKind kind) {
  const TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 4, .length = 2}, 7);
  Streams streams;
  streams.policy = problem.filled(problem.policy.sample(problem.policy.prompts(), 4, {.seed = 1, .stream = 0}));
  streams.reference = problem.filled(problem.reference.sample(problem.policy.prompts(), 4, {.seed = 2, .stream = 0}));
  streams.anchor = problem.filled(problem.anchor.sample(problem.policy.prompts(), 2, {.seed = 3, .stream = 0}));
  typename O::template with_baseline<ChosenBaseline<LeaveOneOut>> chosen;
  set_baseline(chosen, kind);
  const auto expected = evaluate(typename O::template with_baseline<B>{}, streams), got = evaluate(chosen, streams);
  CHECK((got.policy == expected.policy).all());
}
}  // namespace

TEST_CASE("a baseline chosen by name is that baseline, bit for bit, in every objective that has one", "[objective]") {
  for_each_entry<Registry>([]<class O>(const O&) {
    if constexpr (requires { typename O::template with_baseline<NoBaseline>; }) {
      DYNAMIC_SECTION(O::name) {
        check_same<O, NoBaseline>(BaselineKind::none);
        check_same<O, BatchMean>(BaselineKind::batch_mean);
        check_same<O, GroupMean>(BaselineKind::group_mean);
        check_same<O, LeaveOneOut>(BaselineKind::leave_one_out);
        check_same<O, BatchLeaveOneOut>(BaselineKind::batch_leave_one_out);
      }
    }
  });
}

TEST_CASE("a moving average and an adapted KL weight are carried from batch to batch", "[objective]") {
  const TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 4, .length = 2}, 7);
  Streams streams;
  streams.policy = problem.filled(problem.policy.sample(problem.policy.prompts(), 4, {.seed = 1, .stream = 0}));
  CHECK_FALSE(train::AnyObjective(Reinforce<>{}).carried);
  CHECK_FALSE(train::AnyObjective(Ppo{}).carried);

  Reinforce<ChosenBaseline<BatchMean>> rule;
  set_baseline(rule, BaselineKind::moving_average);
  const train::AnyObjective averaged(rule);
  REQUIRE(averaged.carried == 0.0);
  const double next = *averaged.next(streams, 0.3);
  CHECK(next == Approx(0.9 * 0.3 + 0.1 * rule.score(streams.policy).mean()));
  // The baseline of a batch is the average before it, so two of them differ in the gradient of a constant.
  const Array with = averaged.call(streams, next).policy, without = averaged.call(streams, 0.0).policy;
  const Array share = streams.policy.weight / static_cast<double>(streams.policy.prompts());
  CHECK((with - without - per_token(streams.policy, share * next)).abs().maxCoeff() < 1e-12);
  CHECK((averaged.call(streams).policy == without).all());

  const Ppo adaptive{.beta = 0.2, .kl_target = 0.5, .horizon = 100};
  const train::AnyObjective ppo(adaptive);
  REQUIRE(ppo.carried == 0.2);
  const auto& batch = streams.policy;
  const double kl = (batch.weight * per_response(batch, batch.old_log_prob - batch.ref_log_prob)).sum() / 2;
  CHECK(*ppo.next(streams, 0.3) == Approx(0.3 * (1 + std::clamp(kl / 0.5 - 1, -0.2, 0.2) * 8 / 100)));
  CHECK((ppo.call(streams, 0.7).policy == train::AnyObjective(Ppo{.beta = 0.7}).call(streams).policy).all());
  CHECK_THROWS_WITH(train::AnyObjective(Ppo{.beta = 0, .kl_target = 1}).call(streams), Catch::Contains("beta"));
}

TEST_CASE("what a program must compute follows from the options", "[objective]") {
  CHECK(needs_of(Reinforce<>{}).ref_log_prob);
  CHECK(!needs_of(Reinforce<>{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Rloo{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Grpo{}).ref_log_prob);
  CHECK(needs_of(Grpo{.surrogate = {.beta = 0.04}}).ref_log_prob);
  CHECK(!needs_of(Ppo{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Pkpo{}).ref_log_prob);
  CHECK(needs_of(Pkpo{.beta = 0.1}).ref_log_prob);
  CHECK(!needs_of(PublishedPpo{}).ref_reward);
  CHECK(needs_of(PublishedPpo{.log_cdf = true}).ref_reward);
  CHECK(!needs_of(Ksample{}).answer);
  CHECK(train::AnyObjective(Ksample{.value = SampleValue::majority}).needs.answer);

  Vbon<ChosenBaseline<LeaveOneOut>> rule;
  CHECK(needs_of(rule).min_group == 2);
  set_baseline(rule, BaselineKind::batch_leave_one_out);
  CHECK(train::AnyObjective(rule).needs.min_group == 1);
}
