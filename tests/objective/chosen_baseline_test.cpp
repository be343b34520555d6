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

TEST_CASE("what a program must compute follows from the options", "[objective]") {
  CHECK(needs_of(Reinforce<>{}).ref_log_prob);
  CHECK(!needs_of(Reinforce<>{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Rloo{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Grpo{}).ref_log_prob);
  CHECK(needs_of(Grpo{.surrogate = {.beta = 0.04}}).ref_log_prob);
  CHECK(!needs_of(Ppo{.beta = 0}).ref_log_prob);
  CHECK(!needs_of(Ksample{}).answer);
  CHECK(train::AnyObjective(Ksample{.value = SampleValue::majority}).needs.answer);

  Vbon<ChosenBaseline<LeaveOneOut>> rule;
  CHECK(needs_of(rule).min_group == 2);
  set_baseline(rule, BaselineKind::batch_leave_one_out);
  CHECK(train::AnyObjective(rule).needs.min_group == 1);
}
