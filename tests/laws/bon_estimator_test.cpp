// Identities of the estimates of F from a cache of M rewards.
#include "support/random_law.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
using namespace bon;

double binomial_mass(Index k, Index m, double f) {
  const double kd = static_cast<double>(k), md = static_cast<double>(m);
  return std::exp(log_gamma(md + 1) - log_gamma(kd + 1) - log_gamma(md - kd + 1) + kd * std::log(f) + (md - kd) * std::log1p(-f));
}
/// M rewards over few levels, in random order.
std::vector<double> tied_rewards(Index count, std::uint64_t seed, Index levels) {
  std::vector<double> rewards;
  for (Index i = 0; i < count; ++i) rewards.push_back(static_cast<double>(RngKey{seed, 31}.below(static_cast<std::uint64_t>(i), levels)) - 2);
  return rewards;
}
std::vector<double> sorted(std::vector<double> rewards) {
  std::sort(rewards.begin(), rewards.end());
  return rewards;
}
/// The estimators that see ranks only.
using RankEstimators = std::tuple<Harmonic, AddOne, Half, Jeffreys, Laplace, Uniform, Published>;

TEST_CASE("a strictly increasing map of the rewards changes no bit", "[laws][estimator]") {
  const auto rewards = tied_rewards(60, GENERATE(1u, 2u, 3u), GENERATE(Index{5}, Index{1000}));
  std::vector<double> mapped = rewards;
  for (double& r : mapped) r = std::atan(r / 3) * 100 - 7;
  for_each_entry<RankEstimators>([&]<class E>(const E& estimator) {
    for (const double query : rewards) {
      CHECK(estimator.log_cdf(sorted(rewards), query) == estimator.log_cdf(sorted(mapped), std::atan(query / 3) * 100 - 7));
      CHECK(estimator.log_cdf_le(sorted(rewards), query) == estimator.log_cdf_le(sorted(mapped), std::atan(query / 3) * 100 - 7));
    }
  });
  CHECK(subset_max_weights(rewards, 7) == subset_max_weights(mapped, 7));
}

TEST_CASE("the order of the cache changes nothing but the order of its weights", "[laws][estimator]") {
  const auto rewards = tied_rewards(41, GENERATE(1u, 2u), 12);
  std::vector<double> turned(rewards.rbegin(), rewards.rend());
  const EmpiricalCdf a(rewards), b(turned);
  for (const double query : {-2.0, 0.5, 3.0, 20.0}) CHECK(a.count(query) == b.count(query));
  auto weights = subset_max_weights(turned, 5);
  std::reverse(weights.begin(), weights.end());
  CHECK(weights == subset_max_weights(rewards, 5));
}

TEST_CASE("harmonic is unbiased for the log series cut at M terms", "[laws][estimator]") {
  const Index m = GENERATE(Index{1}, Index{5}, Index{16}, Index{64});
  const double f = GENERATE(0.05, 0.3, 0.5, 0.9);
  double mean = 0, series = 0;
  for (Index k = 0; k <= m; ++k) mean += binomial_mass(k, m, f) * Harmonic::log_cdf_of_rank(k, m);
  for (Index j = m; j >= 1; --j) series -= std::pow(1 - f, static_cast<double>(j)) / static_cast<double>(j);
  CHECK(mean == Approx(series).epsilon(1e-12));
  CHECK(mean - std::log(f) <= std::pow(1 - f, static_cast<double>(m) + 1) / (static_cast<double>(m + 1) * f) + 1e-12);
}

TEST_CASE("H_M - H_K is the sum of C(M-K, j) / (C(M, j) j)", "[laws][estimator]") {
  const Index m = GENERATE(Index{1}, Index{9}, Index{30});
  for (Index k = 0; k <= m; ++k) {
    double sum = 0, ratio = 1;
    for (Index j = 1; j <= m - k; ++j) {
      ratio *= static_cast<double>(m - k - j + 1) / static_cast<double>(m - j + 1);
      sum += ratio / static_cast<double>(j);
    }
    CHECK(-Harmonic::log_cdf_of_rank(k, m) == Approx(sum).epsilon(1e-12));
  }
}

TEST_CASE("unbiased powers and level masses have the right means", "[laws][estimator]") {
  const Index m = 24, n = GENERATE(Index{1}, Index{2}, Index{7}, Index{24});
  const double f = GENERATE(0.1, 0.6), tau = GENERATE(0.05, 0.35), nd = static_cast<double>(n);
  double power = 0, mass = 0;
  for (Index k = 0; k <= m; ++k) {
    power += binomial_mass(k, m, f) * unbiased_power(k, m, n);
    for (Index e = 0; e <= m - k; ++e)  // (K, E) is multinomial: E given K is Binomial(M-K, tau / (1-F))
      mass += binomial_mass(k, m, f) * binomial_mass(e, m - k, tau / (1 - f)) * unbiased_level_mass({k, e}, m, n);
  }
  CHECK(power == Approx(std::pow(f, nd)).epsilon(1e-11));
  CHECK(mass == Approx(std::pow(f + tau, nd) - std::pow(f, nd)).epsilon(1e-11));
}

TEST_CASE("subset weights are a law on the cache, equal on ties", "[laws][estimator]") {
  const Index m = GENERATE(Index{1}, Index{2}, Index{13}, Index{200}), levels = GENERATE(Index{3}, Index{100000});
  const auto rewards = tied_rewards(m, 5, levels);
  for (const Index n : {Index{1}, Index{2}, m / 2, m}) {
    if (n < 1 || n > m) continue;
    const auto weight = subset_max_weights(rewards, n);
    double sum = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) {
      CHECK(weight[i] >= 0);
      sum += weight[i];
      if (n == 1) CHECK(weight[i] == Approx(1 / static_cast<double>(m)).epsilon(1e-14));
      for (std::size_t j = 0; j < i; ++j)
        if (rewards[i] == rewards[j]) CHECK(weight[i] == weight[j]);
      // The formula of the definition, from the counts among the others.
      if (m > 1) {
        const auto others = EmpiricalCdf(rewards).count_among_others(rewards[i]);
        const double direct = unbiased_level_mass({others.below, others.equal + 1}, m, n) / static_cast<double>(others.equal + 1);
        CHECK(weight[i] == Approx(direct).epsilon(1e-10).margin(1e-300));
      }
    }
    CHECK(sum == Approx(1).epsilon(1e-12));
    if (n == m) {
      const double best = *std::max_element(rewards.begin(), rewards.end());
      const auto ties = static_cast<double>(std::count(rewards.begin(), rewards.end(), best));
      for (std::size_t i = 0; i < weight.size(); ++i) CHECK(weight[i] == Approx(rewards[i] == best ? 1 / ties : 0).epsilon(1e-12));
    }
  }
}

TEST_CASE("resampled weights are the law of best-of-N over the cache, for any real N", "[laws][estimator]") {
  const Index m = GENERATE(Index{1}, Index{2}, Index{13}, Index{200}), levels = GENERATE(Index{3}, Index{100000});
  const double n = GENERATE(1.0, 2.5, 16.0, 1000.0);
  const auto rewards = tied_rewards(m, 9, levels), weight = resampled_max_weights(rewards, n);
  const auto law = best_of_n_law(std::vector<double>(rewards.size(), 1 / static_cast<double>(m)), rewards, n);
  for (std::size_t i = 0; i < law.size(); ++i) CHECK(weight[i] == Approx(law[i]).epsilon(1e-11).margin(1e-300));
}

TEST_CASE("without ties w_(k+1) / w_(k) = k / (k-N+1)", "[laws][estimator]") {
  std::vector<double> rewards;
  for (int i = 0; i < 50; ++i) rewards.push_back(i);
  const Index n = GENERATE(Index{1}, Index{4}, Index{30});
  const auto weight = subset_max_weights(rewards, n);
  CHECK(weight.back() == Approx(static_cast<double>(n) / 50));
  for (Index k = n; k < 50; ++k)
    CHECK(weight[static_cast<std::size_t>(k)] / weight[static_cast<std::size_t>(k - 1)] ==
          Approx(static_cast<double>(k) / static_cast<double>(k - n + 1)).epsilon(1e-13));
}

TEST_CASE("a random subset's best has the mean that the weights give", "[laws][estimator]") {
  const auto rewards = tied_rewards(7, 8, 4);
  std::vector<double> f;
  for (std::size_t i = 0; i < 7; ++i) f.push_back(RngKey{3, 3}.normal(i));
  double sum = 0;
  int subsets = 0;
  for (unsigned bits = 0; bits < 128; ++bits) {
    if (__builtin_popcount(bits) != 3) continue;
    double best = -1e9, value = 0, ties = 0;
    for (std::size_t i = 0; i < 7; ++i)
      if (bits >> i & 1U) best = std::max(best, rewards[i]);
    for (std::size_t i = 0; i < 7; ++i)
      if ((bits >> i & 1U) && rewards[i] == best) value += f[i], ++ties;
    sum += value / ties;
    ++subsets;
  }
  CHECK(expected_value(rewards, f, 3) == Approx(sum / subsets).epsilon(1e-13));
}

TEST_CASE("intervals contain the plug-in, add_one lies above it, harmonic increases", "[laws][estimator]") {
  const Index m = GENERATE(Index{1}, Index{10}, Index{301});
  for (Index k = 0; k <= m; ++k) {
    const Interval band = clopper_pearson(k, m);
    const double plug_in = static_cast<double>(k) / static_cast<double>(m);
    CHECK((band.lower <= plug_in && plug_in <= band.upper));
    if (k == m) continue;
    CHECK(AddOne::log_cdf_of_rank(k, m) > PlugIn::log_cdf_of_rank(k, m));
    CHECK(Harmonic::log_cdf_of_rank(k + 1, m) > Harmonic::log_cdf_of_rank(k, m));
  }
  CHECK(Harmonic::log_cdf_of_rank(m, m) == 0);
}

TEST_CASE("the leave-one-out harmonic estimate averages to -1 + 1/M over the cache", "[laws][estimator]") {
  const Index m = GENERATE(Index{2}, Index{33}, Index{300});
  std::vector<double> rewards;
  for (Index i = 0; i < m; ++i) rewards.push_back(RngKey{6, 6}.uniform(static_cast<std::uint64_t>(i)));
  const EmpiricalCdf cdf(rewards);
  double mean = 0;
  for (const double r : rewards) mean += Harmonic::log_cdf_of_rank(cdf.count_among_others(r).below, m - 1) / static_cast<double>(m);
  CHECK(mean == Approx(-1 + 1 / static_cast<double>(m)).epsilon(1e-12));
}
}  // namespace vbon::test
