#include "vbon/eval/calibration.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace vbon;
using namespace vbon::eval;

namespace {
Calibration read(const std::string& text) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "pairs.jsonl") << text;
  return read_calibration(folder / "pairs.jsonl");
}
}  // namespace

TEST_CASE("curves are averaged over prompts; the best setting is where the true reward is largest", "[eval]") {
  // Prompt a: the proxy is right. Prompt b: its favourite is a bad response.
  const auto calibration = read(
      "{\"prompt\":\"a\",\"proxy\":1,\"true\":1}\n{\"prompt\":\"a\",\"proxy\":2,\"true\":2}\n"
      "{\"prompt\":\"b\",\"proxy\":1,\"true\":0}\n{\"prompt\":\"b\",\"proxy\":2,\"true\":1,\"text\":\"x\"}\n"
      "{\"prompt\":\"b\",\"proxy\":3,\"true\":-9}\n");
  REQUIRE(calibration.size() == 2);
  const auto curve = hedge_curve(calibration, Hedged::best_of_n, {.largest = 8});
  std::vector<double> settings;
  for (const auto& point : curve) {
    settings.push_back(point.setting);
    CHECK(point.value == Approx((calibration[0].best_of_n(point.setting) + calibration[1].best_of_n(point.setting)) / 2));
  }
  CHECK(settings == std::vector<double>{1, 2, 3, 4, 6, 8});
  CHECK(hedge_choice(curve).index == 0);
  CHECK(!hedge_choice(curve).at_end);
  const auto poisson = hedge_curve(calibration, Hedged::best_of_poisson, {.largest = 3});
  REQUIRE(poisson.size() == 3);
  CHECK(poisson[0].setting == 0);
  CHECK(poisson[0].value == Approx(curve[0].value));  // mu = 0 is one draw
}

TEST_CASE("a proxy may be infinite: only its order counts", "[eval]") {
  const auto calibration = read("{\"proxy\":\"-inf\",\"true\":0}\n{\"proxy\":1,\"true\":1}\n");
  REQUIRE(calibration.size() == 1);
  CHECK(calibration[0].best_of_n(2) == Approx(0.75));
  CHECK(proxy_spread(calibration) == 1);  // one finite proxy has none
  CHECK(hedge_curve(calibration, Hedged::soft_best_of_n, {.n = 2}).front().value == Approx(0.75));
}

TEST_CASE("lambda and beta fall from far above the spread of the proxies to far below it", "[eval]") {
  // Within prompts the proxies lie 3 and 1 from their mean: between prompts they differ by 1000, which no decoder sees.
  const std::string rows =
      "{\"prompt\":\"a\",\"proxy\":997,\"true\":5}\n{\"prompt\":\"a\",\"proxy\":1003,\"true\":1}\n"
      "{\"prompt\":\"b\",\"proxy\":-1,\"true\":0}\n{\"prompt\":\"b\",\"proxy\":1,\"true\":2}\n";
  const auto calibration = read(rows);
  CHECK(fewest_pairs(calibration) == 2);
  CHECK(fewest_pairs(read(rows + "{\"prompt\":\"c\",\"proxy\":1,\"true\":0}\n")) == 1);
  CHECK(proxy_spread(calibration) == 2.24);  // the square root of 5, in three digits
  const auto soft = hedge_curve(calibration, Hedged::soft_best_of_n, {.n = 3});
  const auto pessimism = hedge_curve(calibration, Hedged::pessimism);
  CHECK(soft.front().setting == 143);  // 64 spreads, in three digits
  CHECK(soft.back().setting == 0);
  CHECK(pessimism.front().setting == 143);
  CHECK(pessimism.back().setting == 0.00219);
  for (const auto* curve : {&soft, &pessimism}) {
    for (std::size_t i = 1; i < curve->size(); ++i) CHECK((*curve)[i].setting < (*curve)[i - 1].setting);
    CHECK(curve->front().value == Approx(2).margin(0.05));  // nothing is followed: the mean
  }
  for (const auto& point : soft)
    CHECK(point.value ==
          Approx((calibration[0].soft_best_of_n(3, point.setting) + calibration[1].soft_best_of_n(3, point.setting)) / 2));
  CHECK(soft.back().value == Approx((calibration[0].best_of_n(3) + calibration[1].best_of_n(3)) / 2));
  CHECK(pessimism.back().value == Approx(1.5));  // the favourites of the proxy: 1 and 2
  CHECK(hedge_choice(soft).index < soft.size() - 1);
  for (const auto what : {Hedged::best_of_n, Hedged::best_of_poisson, Hedged::soft_best_of_n, Hedged::pessimism})
    CHECK(!setting_name(what).empty());
}

TEST_CASE("a calibration file that is none is refused with its line", "[eval][error]") {
  CHECK_THROWS_AS(read(""), FormatError);
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":1}\n{\"proxy\":1}\n"), Catch::Matchers::Contains("line 2"));
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":\"inf\"}\n"), Catch::Matchers::Contains("line 1"));
  CHECK_THROWS_WITH(read("{\"proxy\":\"much\",\"true\":1}\n"), Catch::Matchers::Contains("\"proxy\""));
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":Infinity}\n"), Catch::Matchers::Contains("line 1"));
  CHECK_THROWS_AS(read("[1]\n"), FormatError);
  CHECK_THROWS_AS(hedge_curve(read("{\"proxy\":1,\"true\":1}\n"), Hedged::best_of_n, {.largest = 0}), ConfigError);
  CHECK_THROWS_AS(hedge_curve(read("{\"proxy\":1,\"true\":1}\n"), Hedged::soft_best_of_n, {.n = 0}), ConfigError);
  CHECK_THROWS_WITH(hedge_curve(read("{\"proxy\":\"-inf\",\"true\":1}\n"), Hedged::pessimism),
                    Catch::Matchers::Contains("pessimism") && Catch::Matchers::Contains("-inf") &&
                        Catch::Matchers::Contains("choose best_of_n"));
}
