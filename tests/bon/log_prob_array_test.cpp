#include "vbon/bon/log_prob_array.hpp"

#include "support/numbers.hpp"
#include "support/random_law.hpp"

namespace vbon::test {
struct Responses {
  std::vector<double> log_ref, log_cdf, log_tie, log_cdf_le;
  std::size_t size() const { return log_ref.size(); }
  void add(double p, double a, double t) {
    log_ref.push_back(p), log_cdf.push_back(a), log_tie.push_back(t);
    log_cdf_le.push_back(std::min(0.0, log_add(a, t)));
  }
};
/// Token-like masses, ties, sequences, the lowest level, tiny and huge ratios, shuffled.
Responses mixed(std::size_t count, std::uint64_t seed) {
  const RngKey key{seed, 4};
  Responses all;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double u = key.fold(1).uniform(i), v = 1 - key.fold(2).uniform(i), kind = key.fold(3).uniform(i);
    double t = -12 * u;
    if (kind > 0.5) t = -90 - 20 * u;
    if (kind > 0.7) t = -40 * u;
    if (kind > 0.8) t = -1500 * u;
    double a = log1mexp(std::min(t, -1e-12)) + std::log(v);
    if (kind > 0.9) a = -700 * v;
    if (kind > 0.97) a = -inf;
    if (a != -inf && log_add(a, t) > 0) a = log1mexp(t);
    all.add(t - (kind < 0.25 ? 15 * v : 0), a, t);
  }
  return all;
}
/// The accuracy that the specification demands of log_prob.
double tolerance(double p, double a, double t, double n, double value) {
  const auto h = bon::log_prob_derivatives(a, t, n);
  return 8 * 0x1p-52 *
         (1 + std::abs(value) + (h.log_cdf > 0 ? std::abs(a * h.log_cdf) : 0) + std::abs(t * (h.log_tie - 1)) + std::abs(p));
}

template <class Arch>
void check_arch(double n) {
  const Responses all = mixed(5003, 9);
  std::vector<double> vector(all.size()), scalar(all.size());
  bon::log_prob<Arch>(all.log_ref, all.log_cdf, all.log_tie, n, vector);
  bon::log_prob<bon::ScalarArch>(all.log_ref, all.log_cdf, all.log_tie, n, scalar);
  double worst = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (vector[i] != scalar[i])
      worst = std::max(
          worst, std::abs(vector[i] - scalar[i]) / tolerance(all.log_ref[i], all.log_cdf[i], all.log_tie[i], n, scalar[i]));
  CAPTURE(n, Arch::name());
  CHECK(worst < 0.5);
  bon::log_prob<Arch>(all.log_ref, all.log_cdf, all.log_tie, all.log_cdf_le, n, vector);
  bon::log_prob<bon::ScalarArch>(all.log_ref, all.log_cdf, all.log_tie, all.log_cdf_le, n, scalar);
  worst = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (vector[i] != scalar[i])
      worst = std::max(
          worst, std::abs(vector[i] - scalar[i]) / tolerance(all.log_ref[i], all.log_cdf[i], all.log_tie[i], n, scalar[i]));
  CHECK(worst < 0.5);
}

TEST_CASE("arrays meet the scalar law on every instruction set at hand", "[bon][simd]") {
  const double n = GENERATE(1.0, 1.5, 4.0, 64.0, 1024.0, 1e6, 1e12);
  check_arch<xsimd::default_arch>(n);
#if XSIMD_WITH_FMA3_AVX2
  check_arch<xsimd::fma3<xsimd::avx2>>(n);
#endif
#if XSIMD_WITH_SSE2
  check_arch<xsimd::sse2>(n);
#endif
}

TEST_CASE("a response's value does not depend on its place or the array's length", "[bon][simd]") {
  const Responses all = mixed(257, 3);
  std::vector<double> whole(all.size()), one(1);
  bon::log_prob(all.log_ref, all.log_cdf, all.log_tie, 16, whole);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto at = [i](const std::vector<double>& x) { return std::span<const double>(x).subspan(i, 1); };
    bon::log_prob(at(all.log_ref), at(all.log_cdf), at(all.log_tie), 16, one);
    CHECK(one[0] == whole[i]);
  }
  bon::log_prob(std::span<const double>{}, {}, {}, 16, std::span<double>{});
}

TEST_CASE("arguments that only rounding pushed out of range are clamped in arrays too", "[bon][simd]") {
  std::vector<double> p(40, -1.0), a(40, -2.0), t(40, -1.0), out(40);
  p[3] = t[3] = 5e-10, a[3] = -inf;
  p[17] = -1 + 5e-10;
  p[20] = a[20] = t[20] = -inf;
  bon::log_prob(p, a, t, 5, out);
  CHECK(out[3] == 0);
  CHECK(out[17] == bon::log_prob(p[17], a[17], t[17], 5));
  CHECK(out[20] == -inf);
}

TEST_CASE("a response beyond the law's support needs no bad neighbour to be seen", "[bon][simd]") {
  std::vector<double> p(40, -1.0), a(40, -2.0), t(40, -1.0), out(40);
  p[20] = a[20] = t[20] = -inf;
  bon::log_prob(p, a, t, 5, out);
  CHECK(out[19] == out[21]);
  CHECK(out[20] == -inf);
}

TEST_CASE("a bad response in an array is named, wherever it stands", "[bon][error]") {
  const std::size_t place = GENERATE(std::size_t{0}, std::size_t{33}, std::size_t{99});
  const auto code_with = [place](double p, double a, double t) {
    std::vector<double> log_ref(100, -3.0), log_cdf(100, -1.0), log_tie(100, -3.0), out(100);
    log_ref[place] = p, log_cdf[place] = a, log_tie[place] = t;
    try {
      bon::log_prob(log_ref, log_cdf, log_tie, 8, out);
    } catch (const DomainError& error) {
      CHECK_THAT(error.what(), Catch::Matchers::Contains("response " + std::to_string(place)));
      return std::string(error.code());
    }
    return std::string("nothing");
  };
  CHECK(code_with(nan, -1, -3) == "invalid_log_prob");
  CHECK(code_with(-3, nan, -3) == "invalid_log_prob");
  CHECK(code_with(-3, -1, nan) == "invalid_log_prob");
  CHECK(code_with(-3, 1, -3) == "invalid_log_prob");
  CHECK(code_with(-2, -1, -3) == "inconsistent_mass");
  CHECK(code_with(-1, -0.3, -1) == "inconsistent_mass");
  std::vector<double> two(2, -1.0), three(3, -1.0);
  CHECK_THROWS_AS(bon::log_prob(two, three, two, 8, two), ShapeError);
  CHECK(error_code([&] { bon::log_prob(two, two, two, 0.5, two); }) == "invalid_n");
}
}  // namespace vbon::test
