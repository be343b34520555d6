#include "vbon/objective/preference.hpp"
#include <algorithm>
#include <limits>

#include "support/catch.hpp"

namespace vbon::test {
namespace {
using namespace objective;
Array values(std::initializer_list<double> list) {
  Array out(static_cast<Index>(list.size()));
  std::copy(list.begin(), list.end(), out.data());
  return out;
}
/// One prompt with one-token responses.
RolloutBatch batch_of(const Array& reward, const Array& log_prob) {
  RolloutBatch batch;
  batch.add_prompt({});
  for (Index i = 0; i < reward.size(); ++i) batch.add_response(std::vector<TokenId>{0}, true);
  batch.reward = reward;
  batch.log_prob = log_prob;
  batch.ref_log_prob = values({-1, -1.5, -0.7}).head(reward.size());
  return batch;
}
}  // namespace

TEST_CASE("Bradley-Terry pairs: both orders, weights that sum to 1", "[objective]") {
  const Array reward = values({0.3, -1.1, 2.0});
  const auto pairs = build_pairs(PairRule::bradley_terry, reward);
  REQUIRE(pairs.size() == 6);
  for (const auto& pair : pairs) {
    CHECK(pair.weight == Approx(1 / (1 + std::exp(reward[pair.loser] - reward[pair.winner]))));
    const auto other = std::find_if(pairs.begin(), pairs.end(), [&](const IndexPair& one) {
      return one.winner == pair.loser && one.loser == pair.winner;
    });
    REQUIRE(other != pairs.end());
    CHECK(other->weight + pair.weight == Approx(1));
  }
  for (const auto& pair : build_pairs(PairRule::bradley_terry, values({1.0, 1.0}))) CHECK(pair.weight == 0.5);
  for (const auto& pair : build_pairs(PairRule::all_strict, reward)) CHECK(pair.weight == 1);
}

TEST_CASE("Bradley-Terry pairs are the mean over drawn labels", "[objective]") {
  const Array reward = values({0.4, -0.8}), log_prob = values({-0.9, -1.2});
  const Preference<Dpo> soft{.pair_loss = {{.beta = 0.7}}, .pairs = PairRule::bradley_terry};
  const Preference<Dpo> hard{.pair_loss = {{.beta = 0.7}}};
  const auto mean = soft(batch_of(reward, log_prob));
  const auto first = hard(batch_of(values({1, 0}), log_prob)), second = hard(batch_of(values({0, 1}), log_prob));
  const double wins = bradley_terry(reward[0], reward[1]);
  CHECK(mean.loss == Approx(wins * first.loss + (1 - wins) * second.loss));
  for (Index i = 0; i < 2; ++i)
    CHECK(mean.dlog_prob[i] == Approx(wins * first.dlog_prob[i] + (1 - wins) * second.dlog_prob[i]));
  CHECK(mean.metrics[1].value == Approx(1));  // one pair
}

TEST_CASE("the best against a random other: the mean over the draw", "[objective]") {
  const Array reward = values({0.4, 2.0, 0.4}), log_prob = values({-0.9, -1.2, -1.4});
  const Preference<Ipo> rule{.pairs = PairRule::best_random};
  const auto mean = rule(batch_of(reward, log_prob));
  const auto drawn = [&](Index other) {
    const PairTerm term = pair_term({{1, other}}, log_ratio("test", batch_of(reward, log_prob)), Ipo{});
    return term;
  };
  CHECK(mean.loss == Approx(0.5 * (drawn(0).loss + drawn(2).loss)));
  for (Index i = 0; i < 3; ++i) CHECK(mean.dlog_prob[i] == Approx(0.5 * (drawn(0).dscore[i] + drawn(2).dscore[i])));
  CHECK(mean.metrics[1].value == Approx(1));  // one pair a prompt
  CHECK(build_pairs(PairRule::best_random, values({1.0, 1.0, 0.0})) == std::vector<IndexPair>{{0, 2, 0.5}});
  CHECK(build_pairs(PairRule::best_random, values({1.0, 1.0})).empty());
}

TEST_CASE("the Bradley-Terry gradient is the slope of the loss", "[objective]") {
  const Array reward = values({0.4, -0.8, 1.3}), at = values({-0.9, -1.2, -1.4});
  const Preference<Ipo> rule{.pairs = PairRule::bradley_terry};
  const auto result = rule(batch_of(reward, at));
  for (Index i = 0; i < 3; ++i) {
    Array up = at, down = at;
    up[i] += 1e-6, down[i] -= 1e-6;
    CHECK(result.dlog_prob[i] ==
          Approx((rule(batch_of(reward, up)).loss - rule(batch_of(reward, down)).loss) / 2e-6).margin(1e-7));
  }
}

TEST_CASE("Bradley-Terry needs rewards that can be subtracted", "[objective][error]") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(build_pairs(PairRule::bradley_terry, values({infinity, infinity})), DomainError);
  CHECK(build_pairs(PairRule::all_strict, values({infinity, 0.0})).size() == 1);
  CHECK_THROWS_AS(build_pairs(PairRule::bradley_terry, values({1.0})), DomainError);
}
}  // namespace vbon::test
