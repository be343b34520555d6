#include "vbon/core/vector_math.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/numbers.hpp"
#include "vbon/core/random.hpp"

namespace vbon::test {
using Batch = xsimd::batch<double>;

/// Largest error of f against truth over many x, in units of 2^-52 of `unit(truth)`.
template <class F, class Truth, class Draw, class Unit>
double worst(const F& f, const Truth& truth, const Draw& draw, const Unit& unit) {
  double largest = 0;
  for (std::uint64_t i = 0; i < 200000; i += Batch::size) {
    alignas(64) double x[Batch::size], y[Batch::size];
    for (std::size_t j = 0; j < Batch::size; ++j) x[j] = draw(i + j);
    f(vector_math::Pack<Batch, 1>{Batch::load_aligned(x)})[0].store_aligned(y);
    for (std::size_t j = 0; j < Batch::size; ++j)
      largest = std::max(largest, std::abs(y[j] - truth(x[j])) / (0x1p-52 * unit(truth(x[j]))));
  }
  return largest;
}
const auto relative = [](double value) { return std::abs(value); };

TEST_CASE("vector exp, expm1 and log1p lie within 2 units in the last place", "[core][simd]") {
  const RngKey key{5, 1};
  const double span = GENERATE(1.0, 40.0, 700.0);
  const auto nonpositive = [&](std::uint64_t i) { return -span * key.uniform(i); };
  CHECK(worst([](const auto& x) { return vector_math::exp_nonpositive(x); }, [](double x) { return std::exp(x); },
              nonpositive, relative) < 2);
  const auto positive = [&](std::uint64_t i) { return std::exp(-span * key.uniform(i)) * 30; };
  CHECK(worst([](const auto& x) { return vector_math::one_minus_exp_neg(x); }, [](double x) { return -std::expm1(-x); },
              positive, relative) < 2);
  const auto unit = [&](std::uint64_t i) { return std::exp(-span * key.uniform(i)); };
  CHECK(worst([](const auto& x) { return vector_math::log1p_unit(x); }, [](double x) { return std::log1p(x); }, unit,
              relative) < 2);
}

TEST_CASE("vector log lies within a unit of 1 + |log x|", "[core][simd]") {
  const RngKey key{6, 1};
  const double span = GENERATE(1e-8, 1.0, 100.0, 700.0);
  const auto draw = [&](std::uint64_t i) { return std::exp(span * (key.uniform(i) - 0.9)); };
  CHECK(worst([](const auto& x) { return vector_math::log_positive(x); }, [](double x) { return std::log(x); }, draw,
              [](double value) { return 1 + std::abs(value); }) < 1);
}

TEST_CASE("vector functions are exact at the ends of their ranges", "[core][simd]") {
  using P = vector_math::Pack<Batch, 1>;
  CHECK(vector_math::exp_nonpositive(P{Batch(0.0)})[0].get(0) == 1);
  CHECK(vector_math::one_minus_exp_neg(P{Batch(0.0)})[0].get(0) == 0);
  CHECK(vector_math::one_minus_exp_neg(P{Batch(inf)})[0].get(0) == 1);
  CHECK(vector_math::log1p_unit(P{Batch(0.0)})[0].get(0) == 0);
  CHECK(vector_math::log1p_unit(P{Batch(1.0)})[0].get(0) == Approx(std::log(2.0)).epsilon(1e-15));
  CHECK(vector_math::log_positive(P{Batch(1.0)})[0].get(0) == 0);
}
}  // namespace vbon::test
