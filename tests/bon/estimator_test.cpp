#include "vbon/bon/estimator.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"
#include "vbon/bon/pooled_cdf.hpp"
#include "vbon/bon/registry.hpp"

namespace vbon::test {
using namespace bon;

std::vector<double> normal_rewards(Index count, std::uint64_t seed) {
  std::vector<double> rewards;
  for (Index i = 0; i < count; ++i) rewards.push_back(RngKey{seed, 5}.normal(static_cast<std::uint64_t>(i)));
  std::sort(rewards.begin(), rewards.end());
  return rewards;
}

TEST_CASE("every registered estimator is finite, at most 0 and increasing in the reward", "[bon][estimator]") {
  const auto sorted = normal_rewards(GENERATE(1, 2, 30), 1);
  for_each_entry<Estimators>([&]<class E>(const E& estimator) {
    static_assert(CdfEstimator<E>);
    CAPTURE(E::name, sorted.size());
    double last = -inf;
    for (double reward = -4; reward < 4; reward += 0.01) {
      const double value = estimator.log_cdf(sorted, reward), value_le = estimator.log_cdf_le(sorted, reward);
      CHECK((std::isfinite(value) && value <= 0 && value >= last - 1e-15 && value_le >= value && value_le <= 0));
      last = value;
    }
    for (const double reward : {-inf, inf}) CHECK(std::isfinite(estimator.log_cdf(sorted, reward)));
    CHECK(error_code([&] { estimator.log_cdf({}, 0.0); }) == "empty_cache");
    CHECK(error_code([&] { estimator.log_cdf(sorted, nan); }) == "nan_reward");
    CHECK(error_code([&] { estimator.log_cdf_le(sorted, nan); }) == "nan_reward");
  });
}

TEST_CASE("every registered estimator approaches the truth as the cache grows", "[bon][estimator]") {
  const auto sorted = normal_rewards(20000, 2);
  for_each_entry<Estimators>([&]<class E>(const E& estimator) {
    CAPTURE(E::name);
    for (const double reward : {-1.5, 0.0, 0.7, 2.0})
      CHECK(estimator.log_cdf(sorted, reward) ==
            Approx(std::log(0.5 * std::erfc(-reward / std::numbers::sqrt2))).margin(0.06));
  });
}

TEST_CASE("an estimate names a tie only where a cached reward ties", "[bon][estimator]") {
  const std::vector<double> sorted = {1, 2, 2, 3};
  const auto tied = estimate_cdf(sorted, 2.0);
  CHECK(tied.log_cdf == Approx(-(1.0 / 2 + 1.0 / 3 + 1.0 / 4)));
  CHECK(tied.log_cdf_le == Approx(-0.25));
  CHECK(std::exp(tied.log_tie) == Approx(std::exp(tied.log_cdf_le) - std::exp(tied.log_cdf)));
  CHECK(std::isnan(estimate_cdf(sorted, 2.5).log_tie));
  const LogCdfTable<> table(4);
  const auto same = table(count_ranks<double>(sorted, 2.0));
  CHECK(same.log_cdf == tied.log_cdf);
  CHECK(same.log_tie == tied.log_tie);
  CHECK(same.log_cdf_le == tied.log_cdf_le);
  CHECK(std::isnan(table({3, 0}).log_tie));
  CHECK(error_code([] { LogCdfTable<>(0); }) == "empty_cache");
}

TEST_CASE("an estimate gives log pi_bon with tau = ref where nothing ties", "[bon][estimator]") {
  const std::vector<double> sorted = {1, 2, 2, 3};
  const double log_ref = -80, n = 4;
  const double a = estimate_cdf(sorted, 2.5).log_cdf;
  CHECK(log_prob(log_ref, estimate_cdf(sorted, 2.5), n) == Approx(std::log(n) + (n - 1) * a + log_ref).epsilon(1e-14));
  const auto tied = estimate_cdf(sorted, 2.0);
  CHECK(
      log_prob(log_ref, tied, n) ==
      Approx(log_ref - tied.log_tie + std::log(std::exp(n * tied.log_cdf_le) - std::exp(n * tied.log_cdf))).epsilon(1e-12));
  // Above the whole cache F^ = 1 leaves no room for the response's own mass: F is lowered to 1 - ref.
  CHECK(log_prob(std::log(0.25), estimate_cdf(sorted, 9.0), n) == Approx(std::log(1 - std::pow(0.75, 4))).epsilon(1e-12));
  // A response more likely than the estimated mass of its level raises that mass.
  CHECK(log_prob(std::log(0.9), tied, n) <= 0);
  CHECK(error_code([&] { log_prob(nan, tied, n); }) == "invalid_log_prob");
}

TEST_CASE("the kernel estimate falls back to ranks where rewards do not spread", "[bon][estimator]") {
  const std::vector<double> equal = {2, 2, 2};
  CHECK(Kernel{}.log_cdf(equal, 2.0) == Half{}.log_cdf(equal, 2.0));
  CHECK(Kernel{}.log_cdf_le(equal, 2.0) == Half{}.log_cdf_le(equal, 2.0));
  const std::vector<double> ties = {0, 0, 0, 0, 0, 0, 0, 0, 1};  // quartiles meet, rewards spread
  CHECK(Kernel::bandwidth(ties) > 0);
  const std::vector<double> ends = {-inf, 0, 1, inf};
  CHECK(Kernel{}.log_cdf(ends, 0.5) == Approx(std::log(2.5 / 4.5)));  // symmetric about one half
  CHECK(Kernel{}.log_cdf(ends, inf) == Approx(std::log(4.0 / 4.5)));  // the tie at inf counts one half
}

TEST_CASE("interpolation passes through psi(k) - psi(M+1) and halves the way between", "[bon][estimator]") {
  const std::vector<double> sorted = {1, 2, 4};
  const Interpolated curve;
  CHECK(curve.log_cdf(sorted, 1.0) == Approx(-(1.0 + 1.0 / 2 + 1.0 / 3)));
  CHECK(curve.log_cdf(sorted, 2.0) == Approx(-(1.0 / 2 + 1.0 / 3)));
  CHECK(curve.log_cdf(sorted, 3.0) == Approx(-(1.0 / 4 + 1.0 / 3)));
  CHECK(curve.log_cdf(sorted, -5.0) == curve.log_cdf(sorted, 1.0));
  CHECK(curve.log_cdf(sorted, 50.0) == Approx(-1.0 / 3));
  const std::vector<double> ties = {1, 2, 2, 4};
  CHECK(curve.log_cdf(ties, 2.0) == Approx(-(1.0 / 2 + 1.0 / 3 + 1.0 / 4)));
  CHECK(curve.log_cdf_le(ties, 2.0) == Approx(-(1.0 / 3 + 1.0 / 4)));
}

TEST_CASE("the published curve recovers a law of its own form, and counts what it clamps", "[bon][estimator]") {
  // Rewards placed so that log(k/(M+1)) = -A exp(-B r) - C exactly.
  const double a = 2, b = 1.7, c = -0.01;
  std::vector<double> sorted;
  const int m = 200;
  for (int k = 1; k <= m; ++k) sorted.push_back(-std::log((-std::log(k / (m + 1.0)) - c) / a) / b);
  const CurveFit fit(sorted);
  CHECK(fit.rate() == Approx(b).epsilon(1e-6));
  CHECK(fit.offset() == Approx(c).epsilon(1e-5));
  CHECK(fit.amplitude() == Approx(a * std::exp(-b * sorted.front())).epsilon(1e-6));
  Index clamped = 0;
  CHECK(fit.log_cdf(sorted[50], clamped) == Approx(std::log(51 / (m + 1.0))).epsilon(1e-6));
  CHECK(clamped == 0);
  CHECK(fit.curve(1e3) > 0);
  CHECK(fit.log_cdf(1e3, clamped) == 0);
  CHECK(clamped == 1);
  CHECK(error_code([&] { fit.log_cdf(nan, clamped); }) == "nan_reward");
  CHECK(error_code([] { CurveFit({}); }) == "empty_cache");
  CHECK(error_code([] { CurveFit(std::vector<double>{1, inf}); }) == "infinite_reward");
  const CurveFit flat(std::vector<double>{3, 3, 3});
  CHECK(flat.curve(3) == Approx((std::log(0.25) + std::log(0.5) + std::log(0.75)) / 3));
}

TEST_CASE("pooling without rollouts is the plug-in estimate with a half count at the left", "[bon][pooled]") {
  const auto sorted = normal_rewards(20, 3);
  const std::vector<double> ratio(20, 0.4);
  const PooledCdf pooled({sorted, ratio}, {});
  for (const double reward : {-3.0, -0.3, 0.2, 1.1, 5.0}) {
    const double k = static_cast<double>(count_ranks<double>(sorted, reward).below);
    CHECK(pooled(reward).log_cdf == Approx(std::log(20 - k < 10 ? k / 20 : (k + 0.5) / 20)).margin(1e-14));
  }
}

TEST_CASE("a pool of two equal laws counts every sample the same", "[bon][pooled]") {
  const auto sorted = normal_rewards(20, 3), rollouts = normal_rewards(12, 4);
  const PooledCdf pooled({sorted, std::vector<double>(20, 0.0)}, {rollouts, std::vector<double>(12, 0.0)});
  for (const double reward : {-0.3, 0.6, 1.4}) {
    const double k =
        static_cast<double>(count_ranks<double>(sorted, reward).below + count_ranks<double>(rollouts, reward).below);
    CHECK(pooled(reward).log_cdf == Approx(32 - k < 16 ? std::log(k / 32) : std::log(k / 32 + 1.0 / 40)).epsilon(1e-13));
  }
  const auto own = pooled.leave_one_out(11);  // the largest rollout, among 31 others
  const double above = 20 - static_cast<double>(count_ranks<double>(sorted, rollouts[11]).below);
  CHECK(own.log_cdf == Approx(std::log1p(-above / 31)).epsilon(1e-13));
  CHECK(std::isnan(own.log_tie));
}

TEST_CASE("pooling with a tilted policy beats the cache alone", "[bon][pooled]") {
  // Rewards are uniform under the reference; the policy is its best-of-8: log p/ref = log 8 + 7 log F.
  const Index m = 64, rollouts = 64;
  double pooled_error = 0, cache_error = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const RngKey key{seed, 21};
    std::vector<double> cache, cache_ratio, policy, policy_ratio;
    for (Index i = 0; i < m; ++i) cache.push_back(key.fold(1).uniform(static_cast<std::uint64_t>(i)));
    for (Index i = 0; i < rollouts; ++i)
      policy.push_back(std::pow(key.fold(2).uniform(static_cast<std::uint64_t>(i)), 1.0 / 8));
    for (const double u : cache) cache_ratio.push_back(std::log(8.0) + 7 * std::log(u));
    for (const double u : policy) policy_ratio.push_back(std::log(8.0) + 7 * std::log(u));
    const PooledCdf pooled({cache, cache_ratio}, {policy, policy_ratio});
    std::sort(cache.begin(), cache.end());
    for (const double query : {0.8, 0.9, 0.97}) {
      pooled_error += std::pow(pooled(query).log_cdf - std::log(query), 2);
      cache_error += std::pow(Harmonic{}.log_cdf(cache, query) - std::log(query), 2);
    }
  }
  CHECK(pooled_error < 0.5 * cache_error);
}

TEST_CASE("the pool refuses what it cannot count", "[bon][error]") {
  const std::vector<double> two = {1, 2}, one = {0}, bad = {0, nan};
  CHECK(error_code([&] { PooledCdf({{}, {}}, {two, two}); }) == "empty_cache");
  CHECK(error_code([&] { PooledCdf({two, one}, {}); }) == "shape");
  CHECK(error_code([&] { PooledCdf({two, bad}, {}); }) == "invalid_log_prob");
  CHECK(error_code([&] { PooledCdf({two, two}, {bad, two}); }) == "nan_reward");
  CHECK(error_code([&] { PooledCdf({two, two}, {})(nan); }) == "nan_reward");
  CHECK(error_code([&] { PooledCdf({two, two}, {}).leave_one_out(0); }) == "shape");
}
}  // namespace vbon::test
