#include "vbon/optim/schedule.hpp"

#include "support/catch.hpp"

using namespace vbon;

TEST_CASE("a schedule rises from 0 to 1 during the warm-up and then decays to 0", "[optim]") {
  const auto decay = GENERATE(optim::Decay::linear, optim::Decay::cosine);
  const optim::Schedule schedule{.decay = decay, .warmup = 4, .total = 20};
  CHECK(schedule.factor(0) == 0);
  CHECK(schedule.factor(4) == 1);
  CHECK(schedule.factor(12) == Approx(0.5));
  CHECK(schedule.factor(20) == Approx(0).margin(1e-15));
  for (Index step = 4; step < 20; ++step) CHECK(schedule.factor(step + 1) < schedule.factor(step));
}

TEST_CASE("without warm-up or decay every step is at the peak", "[optim]") {
  CHECK(optim::Schedule{}.factor(0) == 1);
  CHECK(optim::Schedule{}.factor(100000) == 1);
}

TEST_CASE("a schedule refuses a decay that has no room and an unknown name", "[optim][error]") {
  CHECK_THROWS_AS((optim::Schedule{.decay = optim::Decay::linear, .warmup = 5, .total = 5}.factor(6)), ConfigError);
  CHECK_THROWS_AS((optim::Schedule{.warmup = -1}.factor(0)), ConfigError);
  CHECK_THROWS_WITH(optim::decay_from_name("exponential"), Catch::Contains("constant, linear, cosine"));
}
