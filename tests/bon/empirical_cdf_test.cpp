#include "vbon/bon/empirical_cdf.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
using bon::EmpiricalCdf;
using bon::RankCounts;

TEST_CASE("counts are those of a plain scan, ties and infinities included", "[bon][cdf]") {
  const Index size = GENERATE(1, 2, 3, 7, 64, 301);
  const RngKey key{11, static_cast<std::uint64_t>(size)};
  std::vector<double> rewards;
  for (Index i = 0; i < size; ++i)
    rewards.push_back(static_cast<double>(key.below(static_cast<std::uint64_t>(i), size / 2 + 1)));
  rewards.back() = size % 2 ? inf : -inf;
  const EmpiricalCdf cdf(rewards);
  for (double query : {-inf, -1.0, 0.0, 0.5, 1.0, 3.0, 17.0, 150.0, inf}) {
    RankCounts want;
    for (const double r : rewards) want.below += r < query, want.equal += r == query;
    CAPTURE(size, query);
    CHECK(cdf.count(query) == want);
    if (want.equal > 0 && size > 1) CHECK(cdf.count_among_others(query) == RankCounts{want.below, want.equal - 1});
  }
}

TEST_CASE("a float32 cache rounds the query, so that ties stay ties", "[bon][cdf]") {
  const std::vector<double> rewards = {0.1, 0.2, 0.30000001192092896};
  CHECK(EmpiricalCdf(rewards).count(0.3) == RankCounts{2, 0});
  CHECK(bon::BasicEmpiricalCdf<float>(rewards).count(0.3) == RankCounts{2, 1});
  CHECK(bon::BasicEmpiricalCdf<float>(rewards).count(0.1) == RankCounts{0, 1});
}

TEST_CASE("empty caches and NaN rewards are refused by name", "[bon][error]") {
  const std::vector<double> none, one = {1.0}, bad = {1.0, nan};
  CHECK(error_code([&] { EmpiricalCdf{none}; }) == "empty_cache");
  CHECK(error_code([&] { EmpiricalCdf{bad}; }) == "nan_reward");
  CHECK(error_code([&] { EmpiricalCdf(one).count(nan); }) == "nan_reward");
  CHECK(error_code([&] { EmpiricalCdf(one).count_among_others(1.0); }) == "cache_too_small");
  CHECK(error_code([&] { EmpiricalCdf(std::vector<double>{1, 2}).count_among_others(1.5); }) == "unknown_reward");
  CHECK(error_code([&] { EmpiricalCdf(std::vector<double>{1, 2}).count_among_others(nan); }) == "nan_reward");
}
}  // namespace vbon::test
