#include "vbon/train/phase.hpp"

#include <set>

#include "support/catch.hpp"

using namespace vbon;

TEST_CASE("an outer draw takes half from the worst and half from the best quarter", "[train]") {
  std::vector<double> rewards(32);
  for (std::size_t i = 0; i < rewards.size(); ++i) rewards[i] = static_cast<double>((i * 7) % 32);  // every value once
  std::set<Index> seen;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const auto drawn = train::outer_draw(rewards, 4, RngKey{seed, 0});
    REQUIRE(drawn.size() == 4);
    CHECK(std::is_sorted(drawn.begin(), drawn.end()));
    CHECK(std::set<Index>(drawn.begin(), drawn.end()).size() == 4);
    int low = 0, high = 0;
    for (const Index i : drawn) {
      low += rewards[static_cast<std::size_t>(i)] < 8;
      high += rewards[static_cast<std::size_t>(i)] >= 24;
      seen.insert(i);
    }
    CHECK(low == 2);
    CHECK(high == 2);
  }
  CHECK(seen.size() == 16);  // each of the outer half comes up
}

TEST_CASE("an outer draw from few responses never repeats one", "[train]") {
  for (const std::size_t total : {2u, 3u, 5u, 8u})
    for (const Index count : {1, 2, 3, 4, 9}) {
      std::vector<double> rewards(total, 1.0);  // all tied: any choice is right, repetition is not
      const auto drawn = train::outer_draw(rewards, count, RngKey{1, 0});
      CHECK(drawn.size() <= total);
      CHECK(!drawn.empty());
      CHECK(std::set<Index>(drawn.begin(), drawn.end()).size() == drawn.size());
    }
}
