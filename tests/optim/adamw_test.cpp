#include "vbon/optim/adamw.hpp"

#include "support/catch.hpp"
#include "vbon/core/random.hpp"
#include "vbon/optim/clip.hpp"
#include "vbon/optim/sgd.hpp"

using namespace vbon;

namespace {
std::vector<float> noise(Index size, std::uint64_t stream) {
  std::vector<float> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(RngKey{5, stream}.normal(i));
  return values;
}
View<float> all(std::vector<float>& values) { return View<float>(std::span(values)); }
}  // namespace

static_assert(Optimizer<optim::AdamW, Cpu> && Optimizer<optim::Sgd, Cpu>);

TEST_CASE("an optimiser step and the gradient norm are the same bits on any number of threads", "[optim]") {
  std::vector<std::vector<float>> results;
  std::vector<double> norms;
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    auto p = noise(70001, 1), g = noise(70001, 2);
    norms.push_back(optim::clip_global_norm(all(g), 0.5));
    optim::AdamW adamw{.rate = 0.01};
    for (int step = 0; step < 3; ++step) adamw.step(all(p), all(g));
    results.push_back(p);
  }
  set_threads(1);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
  CHECK(norms[0] == norms[1]);
  CHECK(norms[0] == norms[2]);
}

TEST_CASE("a frozen range keeps its parameters and moments, a range without decay only its size", "[optim]") {
  const auto before = noise(100, 3);
  auto p = before;
  std::vector<float> g(100, 0);
  optim::AdamW adamw{.rate = 0.1,
                     .weight_decay = 0.5,
                     .ranges = {{.begin = 10, .count = 20, .rate = 0}, {.begin = 40, .count = 7, .weight_decay = 0}}};
  adamw.step(all(p), all(g));  // no gradient: only decay moves anything
  for (std::size_t i = 0; i < p.size(); ++i) {
    CAPTURE(i);
    const bool untouched = (i >= 10 && i < 30) || (i >= 40 && i < 47);
    CHECK(p[i] == Approx(untouched ? before[i] : before[i] * 0.95F));
  }
  std::vector<float> ones(100, 1);
  adamw.step(all(p), all(ones));
  CHECK(adamw.state.first[15] == 0);
  CHECK(adamw.state.first[45] == Approx(0.1));
  CHECK(p[15] == before[15]);
}

TEST_CASE("a gradient scale is the same as scaled gradients", "[optim]") {
  auto p = noise(33, 1), q = p, g = noise(33, 2), h = g;
  for (auto& x : h) x *= 0.25F;
  optim::AdamW a, b;
  a.step(all(p), all(g), 0.25);
  b.step(all(q), all(h));
  CHECK(p == q);
  optim::Sgd c{.rate = 0.5, .momentum = 0.9}, d = c;
  c.step(all(p), all(g), 0.25);
  d.step(all(q), all(h));
  CHECK(p == q);
}

TEST_CASE("momentum accumulates a geometric sum", "[optim]") {
  std::vector<float> p(5, 0), g(5, 1);
  optim::Sgd sgd{.rate = 1, .momentum = 0.5};
  for (int step = 0; step < 3; ++step) sgd.step(all(p), all(g));
  CHECK(p[4] == Approx(-(1 + 1.5 + 1.75)));
}

TEST_CASE("an optimiser refuses sizes and settings that do not fit", "[optim][error]") {
  auto p = noise(8, 1), g = noise(8, 2), longer = noise(9, 2);
  CHECK_THROWS_AS(optim::AdamW{}.step(all(p), all(longer)), ShapeError);
  CHECK_THROWS_AS((optim::AdamW{.rate = -1}.step(all(p), all(g))), DomainError);
  CHECK_THROWS_AS((optim::AdamW{.beta1 = 1}.step(all(p), all(g))), DomainError);
  CHECK_THROWS_AS((optim::AdamW{.epsilon = 0}.step(all(p), all(g))), DomainError);
  CHECK_THROWS_AS((optim::AdamW{.ranges = {{.begin = 4, .count = 5}}}.step(all(p), all(g))), ShapeError);
  CHECK_THROWS_AS((optim::AdamW{.ranges = {{.begin = 4, .count = 2}, {.begin = 5, .count = 1}}}.step(all(p), all(g))),
                  ShapeError);
  optim::AdamW used;
  used.step(all(p), all(g));
  CHECK_THROWS_AS(used.step(all(longer), all(longer)), ShapeError);
  CHECK_THROWS_AS((optim::Sgd{.momentum = 1}.step(all(p), all(g))), DomainError);
  CHECK_THROWS_AS(optim::clip_factor(1, 0), DomainError);
}
