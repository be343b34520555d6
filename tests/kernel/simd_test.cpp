#include "vbon/kernel/simd.hpp"

#include <limits>

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel::detail;

TEMPLATE_LIST_TEST_CASE("exp is within two units in the last place", "[kernel][simd]", Archs) {
  using Arch = TestType;
  double worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const float x = -86.0f + 174.0f * static_cast<float>(i) / 20000;
    const double want = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(exp<Arch>(Batch<Arch>(x)).get(0)) - want) / want);
  }
  CHECK(worst < 2 * 1.2e-7);
}

TEMPLATE_LIST_TEST_CASE("exp at the edges: 0 at -infinity, infinity where it overflows, NaN stays", "[kernel][simd]",
                        Archs) {
  using Arch = TestType;
  const auto value = [](float x) { return exp<Arch>(Batch<Arch>(x)).get(0); };
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(value(-infinity) == 0);
  CHECK(value(-200) == 0);
  CHECK(value(0) == 1);
  CHECK(value(infinity) == infinity);
  CHECK(value(89) == infinity);
  CHECK(std::isnan(value(std::numeric_limits<float>::quiet_NaN())));
}

TEMPLATE_LIST_TEST_CASE("partial loads and stores touch nothing beyond their count", "[kernel][simd]", Archs) {
  using Arch = TestType;
  for (Index count = 0; count < lanes<Arch>; ++count) {
    std::vector<float> from(static_cast<std::size_t>(count), 3.0f);  // reading more is an error under a sanitizer
    std::vector<float> to(static_cast<std::size_t>(lanes<Arch>), 7.0f);
    const auto value = load_partial<Arch>(from.data(), count);
    store_partial<Arch>(to.data(), value, count);
    for (Index i = 0; i < lanes<Arch>; ++i) {
      REQUIRE(to[static_cast<std::size_t>(i)] == (i < count ? 3.0f : 7.0f));
      REQUIRE(value.get(static_cast<std::size_t>(i)) == (i < count ? 3.0f : 0.0f));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("lanes are summed and compared", "[kernel][simd]", Archs) {
  using Arch = TestType;
  std::vector<float> values(static_cast<std::size_t>(lanes<Arch>));
  float total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) total += values[i] = static_cast<float>(i * i % 7) - 2;
  CHECK(sum<Arch>(load<Arch>(values.data())) == total);
  CHECK(largest<Arch>(load<Arch>(values.data())) == *std::max_element(values.begin(), values.end()));
}

TEMPLATE_LIST_TEST_CASE("sums of several registers come out in their order", "[kernel][simd]", Archs) {
  using Arch = TestType;
  constexpr Index L = lanes<Arch>;
  Batch<Arch> row[L];
  std::vector<float> values(static_cast<std::size_t>(L)), want(static_cast<std::size_t>(L));
  for (Index i = 0; i < L; ++i) {
    for (Index j = 0; j < L; ++j)
      want[static_cast<std::size_t>(i)] += values[static_cast<std::size_t>(j)] = static_cast<float>(i * 100 + j * j);
    row[i] = load<Arch>(values.data());
  }
  const auto sums = sum_each<Arch>(row);
  for (Index i = 0; i < L; ++i) CHECK(sums.get(static_cast<std::size_t>(i)) == want[static_cast<std::size_t>(i)]);
}
}  // namespace vbon::test
