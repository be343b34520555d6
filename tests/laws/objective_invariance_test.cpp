// Runs over the registry: what must not change an objective's answer, and what it may read.
#include "support/catch.hpp"
#include "support/increasing_maps.hpp"
#include "support/options.hpp"
#include "support/tabular_problem.hpp"
#include "support/toy_objective.hpp"

using namespace vbon;
using namespace vbon::objective;
using namespace vbon::test;

namespace {
constexpr policy::TabularShape unequal_lengths{.prompts = 2, .vocabulary = 3, .length = 4, .eos = 0};

/// Drawn by another policy than that of now, with a critic that has moved since. What stands at a prompt does not depend
/// on which others are there.
Streams sampled_streams(const TabularProblem& problem, std::span<const Prompt> prompts) {
  Streams streams;
  const Table old = random_table(problem.policy.shape(), 99);
  streams.policy = problem.filled(old.sample(prompts, 4, {.seed = 1, .stream = 0}));
  streams.reference = problem.filled(problem.reference.sample(prompts, 4, {.seed = 2, .stream = 0}));
  streams.anchor = problem.filled(problem.anchor.sample(prompts, 2, {.seed = 3, .stream = 0}));
  RolloutBatch& batch = streams.policy;
  for (const Group& g : groups(batch)) {
    const RngKey key = RngKey{4, 0}.fold(batch.prompt[static_cast<std::size_t>(g.prompt)].id);
    const Index begin = batch.offset[static_cast<std::size_t>(g.begin)],
                end = batch.offset[static_cast<std::size_t>(g.end())];
    for (Index t = begin; t < end; ++t) {
      batch.old_value[t] = key.fold(0).normal(static_cast<std::uint64_t>(t - begin));
      batch.value[t] = batch.old_value[t] + 0.4 * key.fold(1).normal(static_cast<std::uint64_t>(t - begin));
    }
  }
  return streams;
}
std::vector<double> joined(const StreamsResult& result) {
  std::vector<double> all = {result.loss};
  for (const Array* part : {&result.policy, &result.reference, &result.anchor, &result.dvalue})
    all.insert(all.end(), part->begin(), part->end());
  return all;
}
template <class Law, class F>
void for_each_with(const F& f) {
  for_each_entry<Objectives>([&]<class O>(const O& entry) {
    if constexpr (O::laws::template has<Law>) DYNAMIC_SECTION(O::name) {
        f(entry);
      }
  });
}

/// True when some strictly increasing map of the rewards changes a bit of the result on some batch, tied or not.
template <class O>
bool moved_by_a_map(const O& entry) {
  for (const std::uint64_t seed : {51, 52, 53})
    for (const Index ties : {0, 6})
      for (const Map map : increasing_maps) {
        TabularProblem problem = TabularProblem::random(unequal_lengths, seed, ties);
        const auto before = joined(evaluate(entry, sampled_streams(problem, problem.policy.prompts())));
        for (auto& row : problem.reward)
          for (double& r : row) r = map(r);
        if (joined(evaluate(entry, sampled_streams(problem, problem.policy.prompts()))) != before) return true;
      }
  return false;
}

/// Two prompts together are the mean of each alone, weighted with `count` of the streams of one.
template <class O, class Count>
void check_mean_of_prompts(const O& entry, const Count& count) {
  for (const std::uint64_t seed : {61, 62, 63}) {
    CAPTURE(seed);
    const TabularProblem problem = TabularProblem::random(unequal_lengths, seed);
    const auto prompts = problem.policy.prompts();
    const Streams one = sampled_streams(problem, std::span(prompts).first(1)),
                  other = sampled_streams(problem, std::span(prompts).last(1));
    const auto both = evaluate(entry, sampled_streams(problem, prompts)), first = evaluate(entry, one),
               second = evaluate(entry, other);
    const double share = count(one) / (count(one) + count(other));
    CHECK(both.loss == Approx(share * first.loss + (1 - share) * second.loss).epsilon(1e-12));
    for (const auto part :
         {&StreamsResult::policy, &StreamsResult::reference, &StreamsResult::anchor, &StreamsResult::dvalue}) {
      const Array &whole = both.*part, &a = first.*part, &b = second.*part;
      REQUIRE(whole.size() == a.size() + b.size());
      for (Index t = 0; t < whole.size(); ++t)
        CHECK(whole[t] == Approx(t < a.size() ? share * a[t] : (1 - share) * b[t - a.size()]).epsilon(1e-12).margin(1e-15));
    }
  }
}
constexpr auto each_prompt = [](const Streams&) { return 1.0; };

/// The tokens that one prompt brings to an average over tokens.
template <class O>
double averaged_tokens(const O&, const Streams& streams) {
  return static_cast<double>(streams.policy.tokens());
}
double averaged_tokens(const BonSft& entry, const Streams& streams) {
  return per_token(streams.reference, best_of_n_weights(streams.reference, entry.n)).sum();
}
double averaged_tokens(const PfPpo& entry, const Streams& streams) {
  return per_token(streams.policy, filter_weights(entry.filter, streams.policy.reward)).sum();
}
}  // namespace

TEST_CASE("a strictly increasing map of the rewards changes no bit where only ranks count", "[objective][laws]") {
  for_each_with<law::Ranks>([](const auto& entry) { CHECK_FALSE(moved_by_a_map(entry)); });
}

TEST_CASE("an objective that does not promise to count ranks alone sees more than them", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(const O& entry) {
    CAPTURE(O::name);
    if constexpr (!O::laws::template has<law::Ranks>) CHECK(moved_by_a_map(entry));
  });
}

TEST_CASE("pairs, preferences and rewards made of ranks hide the rewards, those by Bradley-Terry do not",
          "[objective][laws]") {
  int settings = 0;
  const auto check = [&](auto entry, std::string_view option, auto value, bool moved) {
    if (!set_option(entry, option, value)) return;
    CAPTURE(entry.name, option, value);
    CHECK(moved_by_a_map(entry) == moved);
    ++settings;
  };
  for_each_entry<Objectives>([&](const auto& entry) {
    for (const PairRule rule : {PairRule::best_worst, PairRule::best_random, PairRule::all_strict})
      check(entry, "pairs", rule, false);
    check(entry, "pairs", PairRule::bradley_terry, true);
    check(entry, "preference", PreferenceRule::step, false);
    check(entry, "preference", PreferenceRule::bt, true);
    check(entry, "log_cdf", true, false);
  });
  CHECK(settings > 0);
}

TEST_CASE("PF-PPO keeps and weighs the same responses under every strictly increasing map", "[objective][laws]") {
  const auto filter = GENERATE(Filter::bon, Filter::bw, Filter::br);
  const Index levels = GENERATE(0, 3);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Array reward(6);
    for (Index i = 0; i < 6; ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      reward[i] = levels > 0 ? static_cast<double>(RngKey{seed, 9}.below(at, levels)) : RngKey{seed, 9}.normal(at);
    }
    for (const Map map : increasing_maps) {
      const Array mapped = reward.unaryExpr(map);
      CHECK((filter_weights(filter, mapped) == filter_weights(filter, reward)).all());
      for (const double uniform : {0.0, 0.3, 0.7, 0.99})
        CHECK(kept(filter, mapped, uniform) == kept(filter, reward, uniform));
    }
  }
}

TEST_CASE("two prompts together are the average of each alone", "[objective][laws]") {
  for_each_with<law::PerPrompt>([](const auto& entry) { check_mean_of_prompts(entry, each_prompt); });
}

TEST_CASE("so they are under every baseline that looks at one prompt or none", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(const O&) {
    if constexpr (requires { typename O::template with_baseline<NoBaseline>; }) DYNAMIC_SECTION(O::name) {
        check_mean_of_prompts(typename O::template with_baseline<NoBaseline>{}, each_prompt);
        check_mean_of_prompts(typename O::template with_baseline<FixedBaseline>{.baseline = {0.7}}, each_prompt);
        check_mean_of_prompts(typename O::template with_baseline<GroupMean>{}, each_prompt);
        check_mean_of_prompts(typename O::template with_baseline<LeaveOneOut>{}, each_prompt);
      }
  });
}

// The law is of types, so that of all variants of GRPO cannot promise what some settings break; here they are set.
TEST_CASE("so they are for advantages of a group averaged over sequences, and by tokens over tokens", "[objective][laws]") {
  const auto scale = GENERATE(GroupScale::group, GroupScale::none);
  const auto ratio = GENERATE(RatioLevel::token, RatioLevel::sequence);
  for_each_entry<Objectives>([&]<class O>(O entry) {
    if (!set_option(entry, "scale", scale) || !set_option(entry, "ratio", ratio)) return;
    set_option(entry, "beta", 0.3);
    DYNAMIC_SECTION(O::name) {
      for (const TokenAverage average : {TokenAverage::sequence, TokenAverage::fixed_length}) {
        REQUIRE(set_option(entry, "average", average));
        check_mean_of_prompts(entry, each_prompt);
      }
      REQUIRE(set_option(entry, "average", TokenAverage::tokens));
      check_mean_of_prompts(entry, [&](const Streams& one) { return averaged_tokens(entry, one); });
    }
  });
}

TEST_CASE("what is divided by tokens is the average weighted with the tokens of each prompt", "[objective][laws]") {
  for_each_entry<Objectives>([]<class O>(O entry) {
    if (!set_option(entry, "token_mean", true) && !set_option(entry, "whiten", false)) return;
    DYNAMIC_SECTION(O::name) {
      check_mean_of_prompts(entry, [&](const Streams& one) { return averaged_tokens(entry, one); });
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
  for_each_entry<Objectives>([&]<class O>(O entry) {
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
  for_each_entry<Objectives>([]<class O>(const O& entry) {
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
