#include "vbon/policy/tabular_policy.hpp"

#include <numeric>

#include "support/catch.hpp"

using namespace vbon;
using policy::TabularPolicy;

namespace {
template <class P>
P random_policy(policy::TabularShape shape, std::uint64_t seed) {
  P result(shape);
  // Multiples of 2^-10: exact in float, and stay so under a step of 2^-10.
  for (Index i = 0; i < result.parameters().size(); ++i)
    result.parameters()[i] =
        static_cast<float>(std::round(RngKey{seed, 0}.normal(static_cast<std::uint64_t>(i)) * 1024) / 1024);
  return result;
}
}  // namespace

TEST_CASE("an enumerated policy has total weight 1 per prompt", "[policy]") {
  const TokenId eos = GENERATE(-1, 2);
  const auto table = random_policy<TabularPolicy>({.prompts = 2, .vocabulary = 3, .length = 3, .eos = eos}, 4);
  const RolloutBatch batch = table.enumerate();
  CHECK(batch.responses() == 2 * (eos < 0 ? 27 : 15));
  CHECK(batch.weight.sum() == Approx(2).epsilon(1e-12));
  for (Index i = 1; i < batch.responses() / 2; ++i)
    CHECK(table.outcome(batch.response(i)) > table.outcome(batch.response(i - 1)));
}

TEST_CASE("backward is the derivative of the weighted log-probs", "[policy]") {
  auto table = random_policy<TabularPolicy>({.prompts = 2, .vocabulary = 3, .length = 2}, 5);
  const RolloutBatch batch = table.sample(table.prompts(), 5, {.seed = 1, .stream = 0});
  Array weight(batch.tokens());
  for (Index t = 0; t < weight.size(); ++t) weight[t] = RngKey{9, 9}.normal(static_cast<std::uint64_t>(t));
  table.backward(batch, weight);
  const float step = 0x1p-10F;
  for (Index i = 0; i < table.parameters().size(); ++i) {
    CAPTURE(i);
    const float here = table.parameters()[i];
    table.parameters()[i] = here + step;
    const double above = (weight * table.log_prob(batch)).sum();
    table.parameters()[i] = here - step;
    const double below = (weight * table.log_prob(batch)).sum();
    table.parameters()[i] = here;
    CHECK(static_cast<double>(table.gradients()[i]) ==
          Approx((above - below) / (2 * static_cast<double>(step))).margin(2e-6));
  }
  table.zero_gradients();
  CHECK(table.gradients().array().abs().sum() == 0);
}

TEST_CASE("samples follow the enumerated law and carry its log-probs", "[policy]") {
  const auto table = random_policy<TabularPolicy>({.vocabulary = 3, .length = 2, .eos = 0}, 6);
  const RolloutBatch law = table.enumerate();
  const Index samples = 40000;
  const RolloutBatch drawn = table.sample(table.prompts(), samples, {.seed = 3, .stream = 1});
  CHECK((drawn.old_log_prob - table.log_prob(drawn)).abs().maxCoeff() == 0);
  std::vector<double> count(9, 0);
  for (Index i = 0; i < drawn.responses(); ++i) ++count[static_cast<std::size_t>(table.outcome(drawn.response(i)))];
  double chi2 = 0;
  for (Index i = 0; i < law.responses(); ++i) {
    const double expected = law.weight[i] * static_cast<double>(samples);
    chi2 += std::pow(count[static_cast<std::size_t>(table.outcome(law.response(i)))] - expected, 2) / expected;
  }
  CHECK(chi2 < 40);  // 6 degrees of freedom: p > 4e-7
}

TEST_CASE("a draw depends on prompt id and sample number, not on the batch around it", "[policy]") {
  const auto table = random_policy<TabularPolicy>({.prompts = 3, .vocabulary = 5, .length = 4}, 7);
  const auto prompts = table.prompts();
  const RolloutBatch all = table.sample(prompts, 4, {.seed = 2, .stream = 0});
  const RolloutBatch one = table.sample(std::span(prompts).subspan(2, 1), 2, {.seed = 2, .stream = 0});
  for (Index i = 0; i < 2; ++i) {
    const auto a = all.response(8 + i), b = one.response(i);
    CHECK(std::vector(a.begin(), a.end()) == std::vector(b.begin(), b.end()));
  }
}

TEST_CASE("per-step KL weighted by the policy sums to the KL of whole responses", "[policy]") {
  const auto p = random_policy<TabularPolicy>({.vocabulary = 3, .length = 3}, 8);
  const auto q = random_policy<TabularPolicy>({.vocabulary = 3, .length = 3}, 9);
  const RolloutBatch law = p.enumerate();
  const double steps = (law.weight * per_response(law, p.kl(law, q))).sum();
  const double whole = (law.weight * per_response(law, p.log_prob(law) - q.log_prob(law))).sum();
  CHECK(steps == Approx(whole).epsilon(1e-12));
  CHECK(p.kl(law, p).abs().maxCoeff() == 0);
}

TEST_CASE("a table can be given its law, zero probabilities included", "[policy]") {
  TabularPolicy table({.vocabulary = 3});
  const std::vector<double> law = {0.25, 0, 0.75};
  table.set_law(0, 0, law);
  CHECK(table.enumerate().weight[0] == Approx(0.25).epsilon(1e-6));
  CHECK(table.enumerate().weight[1] == 0);
  for (const double u : {0.0, 0.2, 0.25, 0.9999999999}) CHECK(TabularPolicy::pick(table.next_log_probs(0, {}), u) != 1);
}

TEST_CASE("a tabular policy refuses sizes, prompts, tokens and shapes it has no place for", "[policy][error]") {
  CHECK_THROWS_AS(TabularPolicy({.prompts = 0}), DomainError);
  CHECK_THROWS_AS(TabularPolicy({.vocabulary = 1000, .length = 9}), DomainError);
  TabularPolicy table({.prompts = 1, .vocabulary = 3});
  const std::vector<Prompt> unknown = {{.id = 5, .text = {}, .tokens = {}}};
  CHECK_THROWS_AS(table.sample(unknown, 1, {}), DomainError);
  RolloutBatch batch;
  batch.add_prompt({});
  const std::vector<TokenId> token = {3};
  batch.add_response(token, true);
  CHECK_THROWS_AS(table.log_prob(batch), DomainError);
  CHECK_THROWS_AS(table.backward(table.enumerate(), Array(1)), ShapeError);
}
