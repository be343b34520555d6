// Identities of the best-of-N law on random finite problems, tied and not.
#include "support/random_law.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
using namespace bon;

struct Problem : RandomLaw {
  Index outcomes, levels;
};
Problem any_problem() {
  const Index outcomes = GENERATE(Index{2}, Index{7}, Index{40});
  const Index levels = GENERATE(Index{1}, Index{2}, Index{5}, Index{40});
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{6}));
  CAPTURE(outcomes, levels, seed);
  Problem problem{random_law(outcomes, std::min(levels, outcomes), seed), outcomes, std::min(levels, outcomes)};
  return problem;
}
double any_n() { return GENERATE(1.0, 1.5, 2.0, 3.75, 16.0, 64.0, 1000.0); }

double total(const std::vector<double>& log_p) {
  double sum = 0;
  for (const double value : log_p) sum += std::exp(value);
  return sum;
}

TEST_CASE("best-of-N probabilities sum to one, and N = 1 is the reference bit for bit", "[laws][bon]") {
  const auto problem = any_problem();
  CHECK(total(best_of_n(problem.law, any_n())) == Approx(1).epsilon(1e-12));
  CHECK(best_of_n(problem.law, 1) == problem.law.log_ref);
}

TEST_CASE("the best of a of the best of b is the best of a b", "[laws][bon]") {
  const auto problem = any_problem();
  const double a = GENERATE(1.5, 4.0), b = GENERATE(2.0, 7.25);
  const auto inner = reference_law(best_of_n(problem.law, b), problem.reward);
  const auto twice = best_of_n(inner, a), once = best_of_n(problem.law, a * b);
  for (std::size_t y = 0; y < once.size(); ++y) CHECK(std::exp(twice[y]) == Approx(std::exp(once[y])).epsilon(1e-10).margin(1e-14));
}

TEST_CASE("the usual form (F + ref)^N - F^N sums to one exactly where nothing ties", "[laws][bon]") {
  const auto problem = any_problem();
  const double n = GENERATE(1.0, 1.5, 2.0, 3.75);  // at large N the mass lost at low levels is below rounding
  std::vector<double> usual;
  for (std::size_t y = 0; y < problem.law.log_ref.size(); ++y)
    usual.push_back(log_prob(problem.law.log_ref[y], problem.law.log_cdf[y], problem.law.log_ref[y], n));
  if (problem.levels == problem.outcomes || n == 1)
    CHECK(total(usual) == Approx(1).epsilon(1e-12));
  else
    CHECK(total(usual) < 1 - 1e-11);
}

TEST_CASE("every way to break ties by draw index gives this law", "[laws][bon]") {
  // Three outcomes, two tied at the top; all 27 ordered triples of draws.
  const std::vector<double> p = {0.2, 0.3, 0.5};
  const auto law = reference_law_from_weights(p, std::vector<double>{0, 1, 1});
  const auto log_bon = best_of_n(law, 3);
  std::vector<double> first(3, 0.0), shared(3, 0.0);
  for (std::size_t a = 0; a < 3; ++a)
    for (std::size_t b = 0; b < 3; ++b)
      for (std::size_t c = 0; c < 3; ++c) {
        const double mass = p[a] * p[b] * p[c];
        const std::size_t draw[3] = {a, b, c};
        std::vector<std::size_t> best;
        for (const std::size_t y : draw)
          if (y > 0) best.push_back(y);
        if (best.empty()) best = {0, 0, 0};
        first[best.front()] += mass;
        for (const std::size_t y : best) shared[y] += mass / static_cast<double>(best.size());
      }
  for (std::size_t y = 0; y < 3; ++y) {
    CHECK(std::exp(log_bon[y]) == Approx(first[y]).epsilon(1e-13));
    CHECK(std::exp(log_bon[y]) == Approx(shared[y]).epsilon(1e-13));
  }
}

TEST_CASE("derivatives add up to N, stay in range and meet finite differences", "[laws][bon]") {
  const double a = GENERATE(-30.0, -3.0, -0.4, -1e-4), t = GENERATE(-40.0, -9.0, -2.0), n = any_n();
  if (log_add(a, t) > 0) return;
  CAPTURE(a, t, n);
  const auto d = log_prob_derivatives(a, t, n);
  CHECK(d.log_cdf + d.log_tie == Approx(n).epsilon(1e-12));
  CHECK((d.log_tie >= 1 - 1e-12 && d.log_tie <= n * (1 + 1e-12)));
  CHECK((d.log_cdf >= 0 && d.log_cdf <= (n - 1) * (1 + 1e-12)));
  const auto mass = [](double log_cdf, double log_tie, double draws) { return log_prob(log_tie, log_cdf, log_tie, draws); };
  const double h = 1e-6;  // shifts downwards, so that F + tau stays below 1
  const auto slope = [&](const auto& f) { return (3 * f(0) - 4 * f(-h) + f(-2 * h)) / (2 * h); };
  const double scale = 1e-6 * (1 + n);
  CHECK(slope([&](double s) { return mass(a + s, t, n); }) == Approx(d.log_cdf).epsilon(1e-6).margin(scale));
  CHECK(slope([&](double s) { return mass(a, t + s, n); }) == Approx(d.log_tie).epsilon(1e-6).margin(scale));
  if (n > 1) CHECK(slope([&](double s) { return mass(a, t, n + s); }) == Approx(d.n).epsilon(1e-6).margin(1e-6 * (1 + std::abs(a))));
}

TEST_CASE("the first-order value is below by at most its gap bound", "[laws][bon]") {
  const double a = GENERATE(-300.0, -20.0, -1.0, -1e-3), t = GENERATE(-900.0, -50.0, -21.0, -7.0), n = any_n();
  if (log_add(a, t) > 0) return;
  const double gap = log_prob(t, a, t, n) - log_prob_first_order(t, a, n);
  const double rounding = 16 * 0x1p-52 * (1 + n * std::abs(a) + std::abs(t));
  CAPTURE(a, t, n);
  CHECK(gap >= -rounding);
  CHECK(gap <= first_order_gap_bound(a, t, n) + rounding);
}

TEST_CASE("best-of-N lies between N ref F^(N-1) and N ref (F + tau)^(N-1)", "[laws][bon]") {
  const auto problem = any_problem();
  const double n = any_n();
  const auto& law = problem.law;
  const auto log_bon = best_of_n(law, n);
  for (std::size_t y = 0; y < log_bon.size(); ++y) {
    CHECK(log_bon[y] >= log_prob_first_order(law.log_ref[y], law.log_cdf[y], n) - 1e-12 * (1 + std::abs(log_bon[y])));
    CHECK(log_bon[y] <= log_prob_first_order(law.log_ref[y], law.log_cdf_le[y], n) + 1e-12 * (1 + std::abs(log_bon[y])));
  }
}

TEST_CASE("the closed form is the binomial sum of the source", "[laws][bon]") {
  const int n = GENERATE(1, 2, 17, 200, 1029);
  const double a = GENERATE(-3.0, -0.2, -1e-3), t = GENERATE(-10.0, -5.0, -2.0);
  if (log_add(a, t) > 0) return;
  std::vector<double> term;  // C(n, i) F^(n-i) tau^i
  double log_choose = 0;
  for (int i = 1; i <= n; ++i) {
    log_choose += std::log((n - i + 1.0) / i);
    term.push_back(log_choose + (n - i) * a + i * t);
  }
  CHECK(log_prob(t, a, t, n) == Approx(log_sum_exp(term)).epsilon(1e-12).margin(1e-12));
}

TEST_CASE("permuting the outcomes permutes the law", "[laws][bon]") {
  const auto problem = any_problem();
  const double n = any_n();
  auto weight = problem.weight, reward = problem.reward;
  std::reverse(weight.begin(), weight.end());
  std::reverse(reward.begin(), reward.end());
  auto backwards = best_of_n(reference_law_from_weights(weight, reward), n);
  std::reverse(backwards.begin(), backwards.end());
  const auto forwards = best_of_n(problem.law, n);
  for (std::size_t y = 0; y < forwards.size(); ++y) CHECK(backwards[y] == Approx(forwards[y]).epsilon(1e-12).margin(1e-13));
}

TEST_CASE("best-of-N dominates the reference, and its CDF is (F + tau)^N", "[laws][bon]") {
  const auto problem = any_problem();
  const double n = any_n(), more = 1.5 * n;
  const auto log_bon = best_of_n(problem.law, n), log_more = best_of_n(problem.law, more);
  for (std::size_t y = 0; y < log_bon.size(); ++y) {
    double at_most = 0, at_most_more = 0;
    for (std::size_t z = 0; z < log_bon.size(); ++z)
      if (problem.reward[z] <= problem.reward[y]) at_most += std::exp(log_bon[z]), at_most_more += std::exp(log_more[z]);
    CHECK(at_most == Approx(std::exp(n * problem.law.log_cdf_le[y])).epsilon(1e-11).margin(1e-14));
    CHECK(at_most_more <= at_most * (1 + 1e-12) + 1e-14);
  }
}

TEST_CASE("KL to the reference grows with N and respects both bounds", "[laws][bon]") {
  const auto problem = any_problem();
  double log_tie_top = 0, last = 0;
  for (std::size_t y = 0; y < problem.reward.size(); ++y)
    if (problem.law.log_cdf_le[y] == 0) log_tie_top = problem.law.log_tie[y];
  for (const double n : {1.0, 1.5, 2.0, 3.75, 16.0, 64.0, 1000.0}) {
    const double kl = kl_to_reference(problem.law, n);
    CHECK(kl <= std::min(kl_to_reference(n), -log_tie_top) + 1e-12);
    CHECK(kl >= last - 1e-12);
    last = kl;
  }
}

TEST_CASE("ties only cost wins: W(bon) <= N / (N+1), W(ref) = 1/2", "[laws][bon]") {
  const auto problem = any_problem();
  const double n = any_n();
  CHECK(win_rate(best_of_n(problem.law, n), problem.law) <= win_rate(n) + 1e-12);
  CHECK(win_rate(problem.law.log_ref, problem.law) == Approx(0.5).epsilon(1e-12));
  CHECK(win_rate(n, 3.5) + win_rate(3.5, n) == Approx(1).epsilon(1e-15));
}

TEST_CASE("a best atom interpolates between the continuous law and no choice at all", "[laws][bon]") {
  const double n = any_n();
  CHECK(kl_with_atom(n, 1e-12) == Approx(kl_to_reference(n)).margin(1e-9 * n));
  CHECK(kl_with_atom(n, 0) == kl_to_reference(n));
  CHECK(kl_with_atom(n, 1) == 0);
  CHECK(win_rate_with_atom(n, 0) == Approx(win_rate(n)).epsilon(1e-14));
  CHECK(win_rate_with_atom(n, 1) == Approx(0.5));
  for (const double atom : {1e-3, 0.1, 0.7}) CHECK(kl_with_atom(n, atom) <= kl_to_reference(n) + 1e-15);
}

TEST_CASE("single precision stays within 8 units of its conditioning", "[laws][bon]") {
  const RngKey key{12, 3};
  double worst = 0;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const double u = key.fold(1).uniform(i), v = key.fold(2).uniform(i);
    const float t = static_cast<float>(-(i % 3 == 0 ? 300 : 14) * (u + 1e-3));
    const float a = static_cast<float>(i % 5 == 0 ? -60 * v : log1mexp(static_cast<double>(t)) + std::log(v + 1e-9));
    if (log_add(static_cast<double>(a), static_cast<double>(t)) > -1e-7) continue;
    const float p = static_cast<float>(t - (i % 2 == 0 ? 5 * v : 0)), n = std::ldexp(1.0f, static_cast<int>(i % 20));
    const double exact = log_prob(static_cast<double>(p), static_cast<double>(a), static_cast<double>(t), static_cast<double>(n));
    const double got = static_cast<double>(log_prob_f32(p, a, t, n));
    const double unit = 0x1p-23 * (1 + static_cast<double>(n) * std::abs(static_cast<double>(a)) + std::abs(static_cast<double>(p)) + std::abs(exact));
    worst = std::max(worst, std::abs(got - exact) / unit);
  }
  CHECK(worst < 8);
  CHECK(worst > 0);
}
}  // namespace vbon::test
