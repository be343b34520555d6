// Subset weights, sample sizes, bands, closed forms: edges and errors (values stand in the vectors).
#include "support/numbers.hpp"
#include "support/random_law.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
using namespace bon;

TEST_CASE("N = 1 + 1/beta is real and never truncated", "[bon]") {
  for (int k = 1; k <= 1000; ++k) {
    CHECK(n_from_beta(1.0 / k) == Approx(k + 1).epsilon(1e-14));
    CHECK(beta_from_n(n_from_beta(1.0 / k)) == Approx(1.0 / k).epsilon(1e-12));
  }
  CHECK(published_n_from_beta(1.0 / 93) == 93);  // the published truncation goes wrong here
  CHECK(beta_from_n(1) == inf);
  CHECK(published_effective_n(4) == 3.25);
  CHECK(cache_size(16, 0.02) == 200);
  CHECK(cache_error(16, 200) == Approx(0.02));
  CHECK(error_code([] { n_from_beta(0); }) == "invalid_beta");
  CHECK(error_code([] { published_n_from_beta(nan); }) == "invalid_beta");
  CHECK(error_code([] { beta_from_n(0.5); }) == "invalid_n");
  CHECK(error_code([] { published_effective_n(inf); }) == "invalid_n");
  CHECK(error_code([] { cache_error(4, 0); }) == "empty_cache");
  CHECK(error_code([] { cache_size(4, 0); }) == "invalid_error");
}

TEST_CASE("closed forms vanish at N = 1, also for N below 1, and refuse other N", "[bon]") {
  using Form = double (*)(double);
  for (const Form form :
       std::initializer_list<Form>{kl_to_reference, kl_from_reference, chi_square, total_variation, squared_hellinger}) {
    CHECK(form(1) == 0);
    for (const double n : {0.6, 0.999999, 1.000001, 1.5, 64.0}) CHECK(form(n) > 0);
    for (const double n : {0.0, -1.0, nan, inf, 1e17}) CHECK(error_code([&] { form(n); }) == "invalid_n");
  }
  CHECK(kl_to_reference(1 + 1e-6) == Approx(0.5e-12).epsilon(1e-5));
  CHECK(kl_to_reference(1e15) == Approx(std::log(1e15) - 1).epsilon(1e-14));
  CHECK(chi_square(0.5) == inf);
  CHECK(kl_between(6, 3) == Approx(kl_to_reference(2)).epsilon(1e-14));
  CHECK(kl_between(64, 64) == 0);
  CHECK(win_rate(4.0, 4.0) == 0.5);
  for (const double n : {0.0, nan}) {
    CHECK(error_code([&] { win_rate(n); }) == "invalid_n");
    CHECK(error_code([&] { win_rate(2.0, n); }) == "invalid_n");
    CHECK(error_code([&] { kl_between(2.0, n); }) == "invalid_n");
    CHECK(error_code([&] { kl_with_atom(n, 0.1); }) == "invalid_n");
    CHECK(error_code([&] { win_rate_with_atom(n, 0.1); }) == "invalid_n");
  }
  for (const double atom : {-0.1, 1.1, nan}) {
    CHECK(error_code([&] { kl_with_atom(2, atom); }) == "invalid_probability");
    CHECK(error_code([&] { win_rate_with_atom(2, atom); }) == "invalid_probability");
  }
}

TEST_CASE("bands hold at the ends and refuse impossible counts", "[bon]") {
  CHECK(clopper_pearson(0, 10).lower == 0);
  CHECK(clopper_pearson(10, 10).upper == 1);
  CHECK(clopper_pearson(0, 10).upper == Approx(1 - std::pow(0.025, 0.1)).epsilon(1e-12));
  CHECK(clopper_pearson(500, 100000).lower == Approx(0.00457).epsilon(0.01));
  CHECK(error_code([] { clopper_pearson(0, 0); }) == "empty_cache");
  CHECK(error_code([] { clopper_pearson(11, 10); }) == "inconsistent_counts");
  CHECK(error_code([] { clopper_pearson(1, 10, 0); }) == "invalid_probability");
  CHECK(error_code([] { dkw_half_width(0); }) == "empty_cache");
  CHECK(error_code([] { dkw_half_width(5, 1.5); }) == "invalid_probability");
}

TEST_CASE("the Clopper-Pearson interval covers at least as often as it says", "[bon][property]") {
  const int m = 20;
  const double f = GENERATE(0.03, 0.3, 0.5, 0.95), delta = GENERATE(0.05, 0.3);
  double covered = 0;
  for (int k = 0; k <= m; ++k) {
    const Interval band = clopper_pearson(k, m, delta);
    if (band.lower <= f && f <= band.upper)
      covered +=
          std::exp(log_gamma(m + 1) - log_gamma(k + 1) - log_gamma(m - k + 1) + k * std::log(f) + (m - k) * std::log1p(-f));
  }
  CHECK(covered >= 1 - delta);
}

TEST_CASE("subset weights refuse N beyond the cache, unlike resampled weights", "[bon][error]") {
  const std::vector<double> three = {1, 2, 3}, bad = {1, nan};
  CHECK(error_code([&] { subset_max_weights(three, 4); }) == "cache_too_small");
  CHECK(error_code([&] { subset_max_weights(three, 0); }) == "invalid_n");
  CHECK(error_code([&] { subset_max_weights({}, 1); }) == "empty_cache");
  CHECK(error_code([&] { subset_max_weights(bad, 1); }) == "nan_reward");
  CHECK(error_code([&] { unbiased_power(2, 3, 4); }) == "cache_too_small");
  CHECK(error_code([&] { unbiased_power(4, 3, 1); }) == "inconsistent_counts");
  CHECK(error_code([&] { unbiased_level_mass({2, 2}, 3, 1); }) == "inconsistent_counts");
  CHECK(error_code([&] { unbiased_level_mass({2, 1}, 3, 4); }) == "cache_too_small");
  CHECK(error_code([&] { expected_win_rate(three, 3); }) == "cache_too_small");
  CHECK(error_code([&] { expected_value(three, bad, 1); }) == "shape");
  CHECK(error_code([&] { resampled_max_weights(three, 0.5); }) == "invalid_n");
  CHECK(error_code([&] { resampled_max_weights({}, 2); }) == "empty_cache");
  const auto weights = resampled_max_weights(three, 10.5);
  CHECK(weights[2] == Approx(1 - std::pow(2.0 / 3, 10.5)));
  CHECK(weights[0] + weights[1] + weights[2] == Approx(1));
  CHECK(expected_reward(three, 2) == Approx(8.0 / 3));
  CHECK(expected_reward(std::vector<double>{-inf, 1, 2}, 2) == Approx(5.0 / 3));
}

TEST_CASE("the estimated win rate is that of all subsets and opponents", "[bon][property]") {
  // Enumerate: 2 of 5 with ties against each of the other 3.
  const std::vector<double> r = {1, 3, 3, 2, 3};
  double wins = 0, games = 0;
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = i + 1; j < 5; ++j)
      for (std::size_t k = 0; k < 5; ++k)
        if (k != i && k != j) {
          const double best = std::max(r[i], r[j]);
          wins += best > r[k] ? 1 : best == r[k] ? 0.5 : 0;
          ++games;
        }
  CHECK(expected_win_rate(r, 2) == Approx(wins / games).epsilon(1e-14));
  CHECK(expected_win_rate(std::vector<double>{5, 1, 2, 7, 9, 4}, 3) == Approx(0.75).epsilon(1e-14));
}

TEST_CASE("a finite reference is checked before it is used", "[bon][error]") {
  const std::vector<double> half = {std::log(0.5), std::log(0.5)}, rewards = {1, 2};
  CHECK(error_code([&] { reference_law(half, std::vector<double>{1}); }) == "shape");
  CHECK(error_code([&] { reference_law({}, {}); }) == "empty_cache");
  CHECK(error_code([&] { reference_law(half, std::vector<double>{1, nan}); }) == "nan_reward");
  CHECK(error_code([&] { reference_law(std::vector<double>{nan, 0}, rewards); }) == "invalid_log_prob");
  CHECK(error_code([&] { reference_law(std::vector<double>{-1, -1}, rewards); }) == "inconsistent_mass");
  CHECK(error_code([&] { reference_law_from_weights(std::vector<double>{1, -1}, rewards); }) == "invalid_probability");
  CHECK(error_code([&] { reference_law_from_weights(std::vector<double>{0, 0}, rewards); }) == "invalid_probability");
  const ReferenceLaw law = reference_law(half, rewards);
  CHECK(error_code([&] { best_of_n(law, 0.5); }) == "invalid_n");
  CHECK(error_code([&] { exact_objective(std::vector<double>{0}, law, 2); }) == "shape");
  CHECK(error_code([&] { surrogate(std::vector<double>{0}, law, 2, Side::weak); }) == "shape");
  CHECK(error_code([&] { win_rate(std::vector<double>{0}, law); }) == "shape");
  CHECK(error_code([&] { categorical_kl(half, std::vector<double>{0}); }) == "shape");
  const ReferenceLaw flat = reference_law(half, std::vector<double>{1, 1});
  CHECK(error_code([&] { surrogate_optimum(flat, 2, Side::strict); }) == "inconsistent_mass");
  CHECK(surrogate_optimum(flat, 2, Side::mid)[0] == Approx(std::log(0.5)));
}

TEST_CASE("an outcome the reference cannot give stays impossible", "[bon][edge]") {
  const ReferenceLaw law = reference_law_from_weights(std::vector<double>{1, 0, 3}, std::vector<double>{1, 5, 2});
  const auto log_bon = best_of_n(law, 3);
  CHECK(log_bon[1] == -inf);
  CHECK(log_bon[2] == Approx(std::log(1 - std::pow(0.25, 3))).epsilon(1e-13));
  CHECK(exact_objective(std::vector<double>{std::log(0.5), std::log(0.5), -inf}, law, 3) == -inf);
  CHECK(std::isfinite(exact_objective(log_bon, law, 3)));
}

TEST_CASE("gradient helpers refuse empty groups, single samples and impossible draws", "[bon][error]") {
  const std::vector<double> two = {0.5, 1}, one = {1};
  CHECK(error_code([&] { log_softmax({}); }) == "empty_group");
  CHECK(error_code([&] { log_softmax(two, 0); }) == "invalid_temperature");
  CHECK(error_code([&] { score_gradient(two, one); }) == "shape");
  CHECK(error_code([&] { leave_one_out_advantages({}); }) == "empty_group");
  CHECK(error_code([&] { leave_one_out_advantages(one); }) == "group_too_small");
  CHECK(error_code([&] { sampled_gradient(two, std::vector<Index>{0}, two); }) == "shape");
  CHECK(error_code([&] { sampled_gradient(two, std::vector<Index>{2}, one); }) == "shape");
  CHECK(error_code([&] { self_normalised_weights(two, one); }) == "shape");
  CHECK(error_code([&] { self_normalised_weights({}, {}); }) == "empty_group");
  CHECK(error_code([&] { self_normalised_weights(std::vector<double>{-inf}, one); }) == "invalid_log_prob");
}
}  // namespace vbon::test
