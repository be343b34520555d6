// vbon/bon/estimator.hpp
//
// Estimates of log F from ranks: K of M cached rewards lie below the query, K ~ Binomial(M, F). Only
// ranks enter, so any strictly increasing map of the rewards changes no bit. Each estimator is one
// formula log_cdf_of_rank(K, M); RankEstimator makes it a CdfEstimator.
//
//   harmonic  H_K - H_M               unbiased but for a remainder below (1-F)^(M+1) / ((M+1) F); default
//   add_one   log((K+1) / (M+1))      the published choice; bias about (1-F) / (2 M F)
//   half      log((K+1/2) / (M+1/2))  bias O(M^-2)
//   jeffreys  psi(K+1/2) - psi(M+1)   E[log F] under a Beta(K+1/2, M-K+1/2) posterior
//   laplace   log((K+1) / (M+2))      posterior mean under a uniform prior
//   uniform   psi(K+1) - psi(M+2)     E[log F] under that posterior
//   jeffreys_mean  log((K+1/2) / (M+1))  log of the mean of the Beta posterior of jeffreys
//   plug_in   log(K / M)              -inf at K = 0: for reports, never for training
#pragma once
#include <string_view>

#include "vbon/bon/concept.hpp"
#include "vbon/bon/empirical_cdf.hpp"
#include "vbon/bon/log_prob.hpp"
#include "vbon/core/special.hpp"

namespace vbon::bon {
/// log F from K of M.
template <class E>
concept RankFormula = requires(Index below, Index samples) {
  { E::name } -> std::convertible_to<std::string_view>;
  { E::log_cdf_of_rank(below, samples) } -> std::same_as<double>;
};

namespace detail {
inline double count(Index n) { return static_cast<double>(n); }

/// log(numerator / denominator) to full relative accuracy where the ratio is near 1.
inline double log_count_ratio(double numerator, double denominator) {
  return numerator > 0.5 * denominator ? std::log1p((numerator - denominator) / denominator) : std::log(numerator / denominator);
}
/// log((K + k/2) / (M + m/2)) for shifts given in halves.
template <int k, int m>
struct LogRatioOfCounts {
  static double log_cdf_of_rank(Index below, Index samples) { return log_count_ratio(count(below) + 0.5 * k, count(samples) + 0.5 * m); }
};
/// psi(K + k/2) - psi(M + m/2).
template <int k, int m>
struct DigammaOfCounts {
  static double log_cdf_of_rank(Index below, Index samples) { return digamma_difference(count(below) + 0.5 * k, count(samples) + 0.5 * m); }
};
}  // namespace detail

struct HarmonicFormula : detail::DigammaOfCounts<2, 2> {
  static constexpr std::string_view name = "harmonic";
};
struct AddOneFormula : detail::LogRatioOfCounts<2, 2> {
  static constexpr std::string_view name = "add_one";
};
struct HalfFormula : detail::LogRatioOfCounts<1, 1> {
  static constexpr std::string_view name = "half";
};
struct JeffreysFormula : detail::DigammaOfCounts<1, 2> {
  static constexpr std::string_view name = "jeffreys";
};
struct JeffreysMeanFormula : detail::LogRatioOfCounts<1, 2> {
  static constexpr std::string_view name = "jeffreys_mean";
};
struct LaplaceFormula : detail::LogRatioOfCounts<2, 4> {
  static constexpr std::string_view name = "laplace";
};
struct UniformFormula : detail::DigammaOfCounts<2, 4> {
  static constexpr std::string_view name = "uniform";
};
struct PlugInFormula : detail::LogRatioOfCounts<0, 0> {
  static constexpr std::string_view name = "plug_in";
};

/// A rank formula as a CdfEstimator over sorted rewards.
/// @throws DomainError empty_cache, nan_reward
template <RankFormula Formula>
struct RankEstimator : Formula {
  double log_cdf(std::span<const double> sorted, double reward) const {
    const RankCounts counts = checked_count(sorted, reward);
    return Formula::log_cdf_of_rank(counts.below, static_cast<Index>(sorted.size()));
  }
  double log_cdf_le(std::span<const double> sorted, double reward) const {
    const RankCounts counts = checked_count(sorted, reward);
    return Formula::log_cdf_of_rank(counts.below + counts.equal, static_cast<Index>(sorted.size()));
  }

 private:
  static RankCounts checked_count(std::span<const double> sorted, double reward) {
    require<DomainError>(!sorted.empty(), ErrorCode{"empty_cache"}, "bon::", Formula::name, ": at least one reward expected, got none");
    require_reward(reward, Formula::name);
    return count_ranks(sorted, reward);
  }
};
using Harmonic = RankEstimator<HarmonicFormula>;
using AddOne = RankEstimator<AddOneFormula>;
using Half = RankEstimator<HalfFormula>;
using Jeffreys = RankEstimator<JeffreysFormula>;
using Laplace = RankEstimator<LaplaceFormula>;
using Uniform = RankEstimator<UniformFormula>;
using JeffreysMean = RankEstimator<JeffreysMeanFormula>;
using PlugIn = RankEstimator<PlugInFormula>;

/// What an estimator says about one reward, in the form the best-of-N law takes.
struct CdfEstimate {
  double log_cdf = 0;     // log F, nats
  double log_tie = 0;     // log tau = log(F<= - F); NaN where no cached reward ties: then tau = pi_ref(y)
  double log_cdf_le = 0;  // log F<=
};

namespace detail {
inline CdfEstimate cdf_estimate(double log_cdf, double log_cdf_le) {
  const bool tied = log_cdf_le > log_cdf;
  return {log_cdf, tied ? log_sub(log_cdf_le, log_cdf) : std::numeric_limits<double>::quiet_NaN(), log_cdf_le};
}
}  // namespace detail

/// All three logs for one reward.
/// @param sorted  [M] cached rewards, ascending
template <CdfEstimator E = Harmonic>
CdfEstimate estimate_cdf(std::span<const double> sorted, double reward, const E& estimator = {}) {
  return detail::cdf_estimate(estimator.log_cdf(sorted, reward), estimator.log_cdf_le(sorted, reward));
}

/// A rank formula tabulated for one M: log_cdf(K) is one load. Share it between all prompts with M rewards.
template <RankFormula Formula = HarmonicFormula>
class LogCdfTable {
 public:
  /// @throws DomainError empty_cache when samples < 1
  explicit LogCdfTable(Index samples) {
    require<DomainError>(samples >= 1, ErrorCode{"empty_cache"}, "bon::LogCdfTable: at least one reward expected, got ", samples);
    for (Index k = 0; k <= samples; ++k) log_cdf_.push_back(Formula::log_cdf_of_rank(k, samples));
  }
  Index samples() const { return static_cast<Index>(log_cdf_.size()) - 1; }
  double log_cdf(Index below) const { return log_cdf_[static_cast<std::size_t>(below)]; }
  CdfEstimate operator()(RankCounts counts) const {
    if (counts.equal == 0) {
      const double value = log_cdf(counts.below);
      return {value, std::numeric_limits<double>::quiet_NaN(), value};
    }
    return detail::cdf_estimate(log_cdf(counts.below), log_cdf(counts.below + counts.equal));
  }

 private:
  std::vector<double> log_cdf_;  // [M+1]
};

/// log pi_bon(y) from an estimate. Without a cached tie y is alone at its level, tau = pi_ref(y); an
/// estimated tau below pi_ref(y) is raised to it, and F is lowered to leave room for tau.
/// @throws DomainError as log_prob
template <class = void>
double log_prob(double log_ref, const CdfEstimate& estimate, double n) {
  require_log_prob(log_ref, "log_ref", "bon::log_prob");
  if (estimate.log_tie >= log_ref) return log_prob(log_ref, estimate.log_cdf, estimate.log_tie, estimate.log_cdf_le, n);
  const double own = std::min(log_ref, 0.0);
  return log_prob(own, std::min(estimate.log_cdf, log1mexp(own)), own, n);
}
}  // namespace vbon::bon
