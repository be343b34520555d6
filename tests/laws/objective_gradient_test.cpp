// Runs over the registry: every objective's gradient is what its laws promise. A new entry is tested by
// being there.
#include <string>

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "support/toy_objective.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
constexpr double step = 1e-5;

/// The entry with its penalties switched on, so that no term is left untested.
template <class O>
O with_penalty(O entry) {
  entry.each_option([](std::string_view name, auto& value, std::string_view) {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, double>)
      if (name == "beta" && value == 0) value = 0.3;
  });
  return entry;
}
template <class O>
auto exact_form(const O& entry) {
  if constexpr (requires { typename O::template with_baseline<NoBaseline>; })
    return typename O::template with_baseline<NoBaseline>{};
  else
    return entry;
}

/// d f / d logits by central differences.
std::vector<double> slopes(Table& table, const std::function<double()>& f) {
  std::vector<double> out;
  for (double& logit : table.parameters()) {
    const double here = logit;
    logit = here + step;
    const double above = f();
    logit = here - step;
    const double below = f();
    logit = here;
    out.push_back((above - below) / (2 * step));
  }
  return out;
}
void check_gradient(const View<double>& got, const std::vector<double>& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    CHECK(got[static_cast<Index>(i)] == Approx(want[i]).epsilon(1e-6).margin(1e-8));
  }
}

Streams fixed_streams(const TabularProblem& problem, RolloutBatch policy_stream) {
  const auto prompts = problem.policy.prompts();
  Streams streams;
  streams.policy = problem.filled(std::move(policy_stream));
  streams.reference = problem.filled(problem.reference.sample(prompts, 4, {.seed = 11, .stream = 0}));
  streams.anchor = problem.filled(problem.anchor.sample(prompts, 2, {.seed = 12, .stream = 0}));
  return streams;
}
void backward(Table& table, const Streams& streams, const StreamsResult& result, double scale = 1) {
  if (result.policy.size() > 0) table.backward(streams.policy, scale * result.policy);
  if (result.reference.size() > 0) table.backward(streams.reference, scale * result.reference);
  if (result.anchor.size() > 0) table.backward(streams.anchor, scale * result.anchor);
}

template <class O>
void check_surrogate(const O& entry) {
  TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 3, .length = 3}, 21);
  const auto prompts = problem.policy.prompts();
  // Drawn by a policy some way off, so that ratios differ from 1 and some are clipped.
  const Table old = random_table({.prompts = 2, .vocabulary = 3, .length = 3}, 21, 1.5);
  RolloutBatch batch = problem.filled(old.sample(prompts, 4, {.seed = 5, .stream = 0}));
  for (Index t = 0; t < batch.tokens(); ++t) batch.value[t] += 0.4 * RngKey{8, 8}.normal(static_cast<std::uint64_t>(t));
  const ObjectiveResult result = entry(batch);
  const auto check = [&](Array& input, const Array& gradient) {
    for (Index t = 0; t < input.size(); ++t) {
      CAPTURE(t);
      const double here = input[t];
      input[t] = here + step;
      const double above = entry(batch).loss;
      input[t] = here - step;
      const double below = entry(batch).loss;
      input[t] = here;
      CHECK(gradient[t] == Approx((above - below) / (2 * step)).epsilon(1e-6).margin(1e-9));
    }
  };
  REQUIRE(result.dlog_prob.size() == batch.tokens());
  check(batch.log_prob, result.dlog_prob);
  if (result.dvalue.size() > 0) check(batch.value, result.dvalue);
}

template <class O>
void check_enumerable(const O& entry) {
  const auto exact = exact_form(entry);
  const Index ties = GENERATE(0, 3);
  TabularProblem problem = TabularProblem::random({.prompts = 2, .vocabulary = 3, .length = 2}, 31, ties);
  const auto loss = [&] { return evaluate(exact, fixed_streams(problem, problem.policy.enumerate())).loss; };
  const Streams streams = fixed_streams(problem, problem.policy.enumerate());
  backward(problem.policy, streams, evaluate(exact, streams));
  check_gradient(problem.policy.gradients(), slopes(problem.policy, loss));
}

template <class O>
void check_group_tuple(const O& entry) {
  const Index outcomes = 3, group = 3;
  TabularProblem problem = TabularProblem::random({.vocabulary = outcomes}, 41);
  const auto average = [&](const auto& visit) {
    const Array weight = problem.policy.enumerate().weight;
    for_each_tuple({weight.begin(), weight.end()}, group, [&](const auto& tuple, double probability) {
      const RolloutBatch batch = problem.filled(problem.group(tuple));
      visit(batch, entry(batch), probability);
    });
  };
  average([&](const RolloutBatch& batch, const ObjectiveResult& result, double probability) {
    problem.policy.backward(batch, probability * result.dlog_prob);
  });
  check_gradient(problem.policy.gradients(), slopes(problem.policy, [&] {
                   double loss = 0;
                   average([&](const RolloutBatch&, const ObjectiveResult& result, double probability) {
                     loss += probability * result.loss;
                   });
                   return loss;
                 }));
}
}  // namespace

TEST_CASE("dlog_prob is the derivative of the loss of every surrogate", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(const O& entry) {
    if constexpr (O::laws::template has<law::Surrogate>) DYNAMIC_SECTION(O::name) {
        check_surrogate(with_penalty(entry));
      }
  });
}
TEST_CASE("on an enumerated policy the gradient is that of the loss, ties included", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(const O& entry) {
    if constexpr (O::laws::template has<law::Enumerable>) DYNAMIC_SECTION(O::name) {
        check_enumerable(entry);
      }
  });
}
TEST_CASE("over all tuples of samples the mean gradient is that of the mean loss", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(const O& entry) {
    if constexpr (O::laws::template has<law::GroupTuple>) DYNAMIC_SECTION(O::name) {
        check_group_tuple(with_penalty(entry));
      }
  });
}
