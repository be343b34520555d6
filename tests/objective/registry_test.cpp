#include "vbon/objective/registry.hpp"

#include "support/catch.hpp"
#include "support/tabular_problem.hpp"
#include "support/toy_objective.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
static_assert(objective::Registered<Imitation>);
struct Nameless {
  static constexpr Needs needs{};
  ObjectiveResult operator()(const RolloutBatch&) const { return {}; }
};
static_assert(!Objective<Nameless> && !objective::Registered<Nameless> && Nameless::needs.min_group == 1);
}  // namespace

TEST_CASE("an objective is found by name, with hyphens too, and its options are set by name", "[objective]") {
  double seen = 0;
  with_name<Objectives>("objective", "imitation", [&](auto entry) {
    entry.each_option([](std::string_view name, auto& value, std::string_view help) {
      CHECK(!help.empty());
      if constexpr (std::is_same_v<decltype(value), double&>)
        if (name == "scale") value = 3;
    });
    if constexpr (std::is_same_v<decltype(entry), Imitation>) seen = entry.scale;
  });
  CHECK(seen == 3);
  CHECK_NOTHROW(with_name<objective::Registry>("objective", "vbon-bound", [](const auto&) {}));
}

TEST_CASE("names are unique and an unknown one is refused with the list", "[objective][error]") {
  std::vector<std::string> names;
  for_each_entry<objective::Registry>([&]<class O>(const O&) { names.emplace_back(O::name); });
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  CHECK_THROWS_WITH(with_name<objective::Registry>("objective", "vbonn", [](const auto&) {}), Catch::Contains("vbon_bound"));
}

TEST_CASE("a one-stream objective is given the stream that its needs name", "[objective]") {
  const auto problem = TabularProblem::random({.vocabulary = 4}, 2);
  Streams streams;
  streams.reference = problem.filled(problem.reference.sample(problem.reference.prompts(), 3, {.seed = 1, .stream = 0}));
  const auto result = objective::evaluate(Imitation{}, streams);
  CHECK(result.reference.size() == 3);
  CHECK(result.policy.size() == 0);
}
