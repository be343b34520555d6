#include "vbon/core/random.hpp"

#include <set>

#include "support/catch.hpp"

using vbon::RngKey;

TEST_CASE("a draw depends on its address alone", "[core][random]") {
  const RngKey key{7, 3};
  CHECK(key.uniform(5) == RngKey{7, 3}.uniform(5));
  CHECK(key.uniform(5) != key.uniform(6));
  CHECK(key.uniform(5) != (RngKey{8, 3}.uniform(5)));
  CHECK(key.fold(1).uniform(5) != key.fold(2).uniform(5));
}

TEST_CASE("uniform draws lie in [0, 1) with mean 1/2 and variance 1/12", "[core][random]") {
  const RngKey key{1, 0};
  double sum = 0, squares = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double u = key.uniform(static_cast<std::uint64_t>(i));
    REQUIRE((u >= 0 && u < 1));
    sum += u;
    squares += u * u;
  }
  CHECK(sum / n == Approx(0.5).margin(0.003));
  CHECK(squares / n == Approx(1.0 / 3).margin(0.003));
}

TEST_CASE("normal draws have mean 0, variance 1 and kurtosis 3", "[core][random]") {
  const RngKey key{2, 9};
  double sum = 0, squares = 0, fourth = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double z = key.normal(static_cast<std::uint64_t>(i));
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  CHECK(sum / n == Approx(0).margin(0.01));
  CHECK(squares / n == Approx(1).margin(0.015));
  CHECK(fourth / n == Approx(3).margin(0.1));
}

TEST_CASE("folded streams do not collide", "[core][random]") {
  std::set<std::uint64_t> streams;
  const RngKey key{3, 0};
  for (std::uint64_t i = 0; i < 300; ++i)
    for (std::uint64_t j = 0; j < 300; ++j) streams.insert(key.fold(i).fold(j).stream);
  CHECK(streams.size() == 90000);
}

TEST_CASE("integers below a bound reach every value", "[core][random]") {
  const RngKey key{4, 0};
  std::vector<int> count(7);
  for (std::uint64_t i = 0; i < 70000; ++i) ++count[static_cast<std::size_t>(key.below(i, 7))];
  for (const int c : count) CHECK(c == Approx(10000).margin(500));
}
