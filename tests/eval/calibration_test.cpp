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
  const auto curve = hedge_curve(calibration, Hedged::best_of_n, 8);
  std::vector<double> settings;
  for (const auto& point : curve) {
    settings.push_back(point.setting);
    CHECK(point.value == Approx((calibration[0].best_of_n(point.setting) + calibration[1].best_of_n(point.setting)) / 2));
  }
  CHECK(settings == std::vector<double>{1, 2, 3, 4, 6, 8});
  CHECK(hedge_choice(curve).index == 0);
  CHECK(!hedge_choice(curve).at_end);
  const auto poisson = hedge_curve(calibration, Hedged::best_of_poisson, 3);
  REQUIRE(poisson.size() == 3);
  CHECK(poisson[0].setting == 0);
  CHECK(poisson[0].value == Approx(curve[0].value));  // mu = 0 is one draw
}

TEST_CASE("a proxy may be infinite: only its order counts", "[eval]") {
  const auto calibration = read("{\"proxy\":\"-inf\",\"true\":0}\n{\"proxy\":1,\"true\":1}\n");
  REQUIRE(calibration.size() == 1);
  CHECK(calibration[0].best_of_n(2) == Approx(0.75));
}

TEST_CASE("a calibration file that is none is refused with its line", "[eval][error]") {
  CHECK_THROWS_AS(read(""), FormatError);
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":1}\n{\"proxy\":1}\n"), Catch::Matchers::Contains("line 2"));
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":\"inf\"}\n"), Catch::Matchers::Contains("line 1"));
  CHECK_THROWS_WITH(read("{\"proxy\":\"much\",\"true\":1}\n"), Catch::Matchers::Contains("\"proxy\""));
  CHECK_THROWS_WITH(read("{\"proxy\":1,\"true\":Infinity}\n"), Catch::Matchers::Contains("line 1"));
  CHECK_THROWS_AS(read("[1]\n"), FormatError);
  CHECK_THROWS_AS(hedge_curve(read("{\"proxy\":1,\"true\":1}\n"), Hedged::best_of_n, 0), ConfigError);
}
