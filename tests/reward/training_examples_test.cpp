#include "vbon/reward/training_examples.hpp"

#include <algorithm>
#include <set>

#include "support/catch.hpp"
#include "vbon/core/random.hpp"
#include "vbon/reward/label.hpp"

using namespace vbon;
using namespace vbon::reward;

namespace {
const auto joined = [](const std::string& prompt, const std::string& response) { return prompt + response; };
std::vector<ScoredText> scored(std::initializer_list<double> scores) {
  std::vector<ScoredText> rows;
  for (const double score : scores) rows.push_back({"p", std::to_string(rows.size()), score, rows.size() + 1});
  return rows;
}
std::vector<PreferencePair> pairs(std::size_t count) {
  std::vector<PreferencePair> rows;
  for (std::size_t i = 0; i < count; ++i) rows.push_back({"p" + std::to_string(i / 2), "c", "r", 0.25, i + 1});
  return rows;
}
}  // namespace

TEST_CASE("scores are targets as they stand, probabilities, or signs above a threshold", "[reward][examples]") {
  CHECK(scored_examples(scored({3, -1}), ExampleLoss::regression, {}, joined).target == std::vector<double>{3, -1});
  CHECK(scored_examples(scored({0.25, 1}), ExampleLoss::logistic, {}, joined).target == std::vector<double>{0.25, 1});
  CHECK(scored_examples(scored({4, 3, 2}), ExampleLoss::logistic, 3, joined).target == std::vector<double>{1, 0.5, 0});
  try {
    scored_examples(scored({0.5, 3}), ExampleLoss::logistic, {}, joined);
    FAIL("an error was expected");
  } catch (const DomainError& error) {
    CHECK_THAT(error.what(), Catch::Contains("line 2") && Catch::Contains("3") && Catch::Contains("--threshold"));
  }
}

TEST_CASE("the texts of preferences are all chosen ones, then all rejected ones", "[reward][examples]") {
  const auto examples = preference_examples(pairs(3), 0.5, joined);
  CHECK(examples.size() == 3);
  CHECK(examples.text == std::vector<std::string>{"p0c", "p0r", "p0c", "p0r", "p1c", "p1r"});
  const std::size_t which[] = {2, 0};
  CHECK(examples.texts_of(which) == std::vector<std::size_t>{4, 0, 5, 1});
  CHECK(examples.subset(which).text == std::vector<std::string>{"p1c", "p1r", "p0c", "p0r"});
}

TEST_CASE("the gradient of every example loss is that of finite differences", "[reward][examples]") {
  const auto examples = GENERATE(scored_examples(scored({1, -2, 0.5}), ExampleLoss::regression, {}, joined),
                                 scored_examples(scored({1, 0.25, 0}), ExampleLoss::logistic, {}, joined),
                                 preference_examples(pairs(3), 0.1, joined));
  CAPTURE(name_of(examples.loss));
  const std::size_t which[] = {2, 0};
  Array reward(static_cast<Index>(examples.texts_of(which).size())), d, unused;
  for (Index i = 0; i < reward.size(); ++i) reward[i] = RngKey{1, 2}.normal(static_cast<std::uint64_t>(i));
  examples.value(which, reward, d);
  for (Index i = 0; i < reward.size(); ++i) {
    Array up = reward, down = reward;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    CHECK(d[i] == Approx((examples.value(which, up, unused) - examples.value(which, down, unused)) / 2e-5).epsilon(1e-6));
  }
}

TEST_CASE("squared error is transformers' mean of squares", "[reward][examples]") {
  const auto examples = scored_examples(scored({1, -2}), ExampleLoss::regression, {}, joined);
  const std::size_t which[] = {0, 1};
  Array reward(2), d;
  reward << 2, 1;
  CHECK(examples.value(which, reward, d) == Approx((1 + 9) / 2.0));
}

TEST_CASE("the logistic loss on the log-odds of two outputs is the cross-entropy of their softmax", "[reward][examples]") {
  const float logits[] = {0.75F, -1.5F};
  const View<const float> logit(logits, 1, 2);
  const double log_p = -1.5 - std::log(std::exp(0.75) + std::exp(-1.5));  // of label 1
  const auto examples = scored_examples(scored({1}), ExampleLoss::logistic, {}, joined);
  const std::size_t which[] = {0};
  Array reward(1), d;
  reward << label_reward(logit, 1);
  CHECK(examples.value(which, reward, d) == Approx(-log_p));
  float dlogit[2];
  label_reward_backward(logit, 1, d[0], View<float>(dlogit, 1, 2));
  CHECK(static_cast<double>(dlogit[1]) == Approx(std::exp(log_p) - 1));  // softmax - target
  CHECK(static_cast<double>(dlogit[0]) == Approx(1 - std::exp(log_p)));
}

TEST_CASE("the gradient of a label's log-odds is that of finite differences", "[reward][examples]") {
  const Index labels = GENERATE(1, 2, 4);
  std::vector<float> values(static_cast<std::size_t>(labels)), gradient(values.size());
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(RngKey{4, 4}.normal(k));
  const Index label = labels - 1;
  label_reward_backward({values.data(), 1, labels}, label, 0.5, {gradient.data(), 1, labels});
  for (std::size_t k = 0; k < values.size(); ++k) {
    auto up = values, down = values;
    up[k] += 1e-2F;
    down[k] -= 1e-2F;
    const double numeric = (label_reward({up.data(), 1, labels}, label) - label_reward({down.data(), 1, labels}, label)) /
                           static_cast<double>(up[k] - down[k]);
    CHECK(static_cast<double>(gradient[k]) == Approx(0.5 * numeric).epsilon(1e-3));
  }
}

TEST_CASE("what is held out is a share of the prompts, whatever the order of the file", "[reward][examples]") {
  auto rows = pairs(400);
  const auto [kept, held] = hold_out(preference_examples(rows, 0, joined), 0.25);
  CHECK(kept.size() + held.size() == 400);
  CHECK(std::abs(static_cast<double>(held.size()) - 100) < 40);
  const std::set<std::uint64_t> groups(held.group.begin(), held.group.end());
  CHECK(std::none_of(kept.group.begin(), kept.group.end(), [&](auto group) { return groups.contains(group); }));
  std::reverse(rows.begin(), rows.end());
  const auto again = hold_out(preference_examples(rows, 0, joined), 0.25).second;
  CHECK(std::set<std::uint64_t>(again.group.begin(), again.group.end()) == groups);
  CHECK(hold_out(kept, 0).second.size() == 0);
}
