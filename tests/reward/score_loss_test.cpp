#include "vbon/reward/score_loss.hpp"

#include <cmath>

#include "support/catch.hpp"

using namespace vbon;
using namespace vbon::reward;

TEST_CASE("the losses of rewards have their known values and gradients", "[reward][loss]") {
  Array score(2), d(2);
  score << 1, -2;
  CHECK(SquaredLoss{{0, 1}, {1, 1}}(score, d) == Approx((0.5 + 4.5) / 2));
  CHECK((d[0] == Approx(0.5) && d[1] == Approx(-1.5)));
  CHECK(SquaredLoss{{0, 1}, {1, 0}}(score, d) == Approx(0.5));  // the second has no weight
  CHECK((d[0] == Approx(1) && d[1] == 0));

  const double p = 1 / (1 + std::exp(-1.0)), q = 1 / (1 + std::exp(2.0));
  CHECK(LogisticLoss{{1, 0.25}, {1, 1}}(score, d) ==
        Approx((-std::log(p) - 0.25 * std::log(q) - 0.75 * std::log(1 - q)) / 2));
  CHECK((d[0] == Approx((p - 1) / 2) && d[1] == Approx((q - 0.25) / 2)));
}

TEST_CASE("Bradley and Terry's loss takes margin and centring as TRL does", "[reward][loss]") {
  // -logsigmoid(chosen - rejected - margin).mean() + coefficient * mean((chosen + rejected)^2)
  Array score(4), d(4);
  score << 1.5, -0.5, 0.5, 0.25;  // chosen, chosen, rejected, rejected
  const auto log_sigmoid = [](double x) { return -std::log1p(std::exp(-x)); };
  CHECK(PreferenceLoss{{0, 0}, 0}(score, d) == Approx(-(log_sigmoid(1) + log_sigmoid(-0.75)) / 2));
  CHECK(d.sum() == Approx(0).margin(1e-15));  // only differences count
  CHECK(PreferenceLoss{{0.5, 2}, 0}(score, d) == Approx(-(log_sigmoid(0.5) + log_sigmoid(-2.75)) / 2));
  const double uncentred = PreferenceLoss{{0.5, 2}, 0}(score, d);
  CHECK(PreferenceLoss{{0.5, 2}, 0.01}(score, d) == Approx(uncentred + 0.01 * (4 + 0.0625) / 2));
  CHECK(d.sum() == Approx(2 * 0.01 * (2 * 2 + 2 * -0.25) / 2));
}
