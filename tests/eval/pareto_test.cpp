#include "vbon/eval/pareto.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
using eval::ParetoPoint;

std::vector<ParetoPoint> random_points(std::uint64_t seed, Index count) {
  const RngKey key{seed, 6};
  std::vector<ParetoPoint> points;  // on a coarse grid, so that coordinates repeat
  for (Index i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    points.push_back({static_cast<double>(key.fold(1).below(at, 7)), static_cast<double>(key.fold(2).below(at, 7)) / 7});
  }
  return points;
}

TEST_CASE("the frontier is what no point dominates, duplicates included", "[eval][pareto][property]") {
  const auto points = random_points(GENERATE(range(1u, 20u)), 15);
  std::vector<Index> want;
  for (std::size_t i = 0; i < points.size(); ++i) {
    bool beaten = false;
    for (const auto& other : points)
      beaten |=
          other.kl <= points[i].kl && other.win >= points[i].win && (other.kl < points[i].kl || other.win > points[i].win);
    if (!beaten) want.push_back(static_cast<Index>(i));
  }
  CHECK(eval::pareto_frontier(points) == want);
}

TEST_CASE("the hypervolume is the area of the union, and grows with every point", "[eval][pareto][property]") {
  const auto points = random_points(GENERATE(range(1u, 20u)), 12);
  double before = 0;
  for (std::size_t count = 1; count <= points.size(); ++count) {
    const std::vector<ParetoPoint> some(points.begin(), points.begin() + static_cast<Index>(count));
    const double area = eval::hypervolume(some, 5, 1.0 / 7);
    CHECK(area >= before);
    before = area;
    Index cells = 0;  // the grid makes the union a sum of cells of 1 x 1/7
    for (Index x = 0; x < 5; ++x)
      for (Index y = 1; y < 7; ++y)
        cells += std::any_of(some.begin(), some.end(), [&](const ParetoPoint& p) {
          return p.kl <= static_cast<double>(x) && p.win * 7 >= static_cast<double>(y) + 0.5;
        });
    CHECK(area == Approx(static_cast<double>(cells) / 7).margin(1e-12));
  }
}

TEST_CASE("no points: an empty frontier and no area; NaN is refused", "[eval][pareto][error]") {
  CHECK(eval::pareto_frontier({}).empty());
  CHECK(eval::hypervolume({}, 5, 0) == 0);
  const std::vector<ParetoPoint> bad = {{1, 0.5}, {nan, 0.5}};
  CHECK(error_code([&] { eval::pareto_frontier(bad); }) == "nan_metric");
  CHECK(error_code([&] { eval::hypervolume(bad, 5, 0); }) == "nan_metric");
  CHECK(error_code([&] { eval::hypervolume({}, nan, 0); }) == "nan_metric");
}

TEST_CASE("the ideal curve rises from (0, 1/2)", "[eval][pareto]") {
  CHECK(eval::ideal_point(1).kl == 0);
  CHECK(eval::ideal_point(1).win == 0.5);
  CHECK(eval::ideal_point(4).kl == Approx(std::log(4.0) - 0.75));
  CHECK(eval::ideal_point(4).win == Approx(0.8));
}
}  // namespace vbon::test
