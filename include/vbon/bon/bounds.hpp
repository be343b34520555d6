// vbon/bon/bounds.hpp
//
// The objective J(p) = -KL(p || bon) and the surrogates L_G(p) = (N-1) E_p[log G] - KL(p || ref) that bound
// it, G being F, F + tau/2 or F + tau:
//
//   log N + L_strict <= J <= log N + L_weak,  and for N >= 2 also  log N + L_mid <= J.
//
// L_G / (N-1) is KL-constrained reinforcement learning with reward log G and coefficient 1/(N-1); its
// optimum is ref G^(N-1) / Z and its maximum log Z, Z_strict <= 1/N <= Z_weak.
#pragma once
#include <span>
#include <vector>

#include "vbon/bon/reference_law.hpp"

namespace vbon::bon {
/// Which CDF stands in the surrogate.
enum class Side {
  strict,  // F = P(r < r(y)): the published bound; -inf at the lowest level
  mid,     // F + tau/2: tighter than strict for N >= 2, and finite everywhere
  weak     // F + tau = P(r <= r(y)): an upper bound
};

/// log G of one response. log_tie may be NaN (no tie known): then all sides agree on log_cdf.
inline double log_cdf_at(Side side, double log_cdf, double log_tie, double log_cdf_le) {
  if (side == Side::strict || std::isnan(log_tie)) return log_cdf;
  return side == Side::weak ? log_cdf_le : std::min(0.0, log_add(log_cdf, log_tie - std::numbers::ln2));
}

namespace detail {
/// (N-1) log G per outcome, with 0^0 = 1 at N = 1.
template <class = void>
std::vector<double> tilt(const ReferenceLaw& law, double n, Side side) {
  require_n(n, "bon::surrogate");
  std::vector<double> power(law.log_ref.size(), 0.0);
  if (n > 1)
    for (std::size_t y = 0; y < power.size(); ++y)
      power[y] = (n - 1) * log_cdf_at(side, law.log_cdf[y], law.log_tie[y], law.log_cdf_le[y]);
  return power;
}
inline void require_outcomes(std::span<const double> log_p, const ReferenceLaw& law, std::string_view where) {
  require<ShapeError>(log_p.size() == law.log_ref.size(), where, ": ", law.log_ref.size(), " outcomes expected, got ", log_p.size());
}
}  // namespace detail

/// J(p) = E_p[log bon - log p] = -KL(p || bon) [nats, <= 0]; -inf where p reaches outside bon.
/// @throws ShapeError; DomainError invalid_n
template <class = void>
double exact_objective(std::span<const double> log_p, const ReferenceLaw& law, double n) {
  detail::require_outcomes(log_p, law, "bon::exact_objective");
  return -categorical_kl(log_p, best_of_n(law, n));
}
/// L_G(p) = (N-1) E_p[log G] - KL(p || ref) [nats]; add log N for the bound of J.
/// @throws ShapeError; DomainError invalid_n
template <class = void>
double surrogate(std::span<const double> log_p, const ReferenceLaw& law, double n, Side side) {
  detail::require_outcomes(log_p, law, "bon::surrogate");
  const std::vector<double> power = detail::tilt(law, n, side);
  double reward = 0;
  for (std::size_t y = 0; y < log_p.size(); ++y)
    if (const double p = std::exp(log_p[y]); p > 0) reward += p * power[y];
  return reward - categorical_kl(log_p, law.log_ref);
}
/// log Z_G = log sum_y ref G^(N-1), the maximum of L_G.
template <class = void>
double log_normaliser(const ReferenceLaw& law, double n, Side side) {
  std::vector<double> term = detail::tilt(law, n, side);
  for (std::size_t y = 0; y < term.size(); ++y) term[y] += law.log_ref[y];
  return log_sum_exp(term);
}
/// Log-probs of the optimum of L_G: ref G^(N-1) / Z.
/// @throws DomainError inconsistent_mass where Z = 0 (strict with a single level)
template <class = void>
std::vector<double> surrogate_optimum(const ReferenceLaw& law, double n, Side side) {
  const double log_z = log_normaliser(law, n, side);
  require<DomainError>(log_z > -std::numeric_limits<double>::infinity(), ErrorCode{"inconsistent_mass"},
                       "bon::surrogate_optimum: every outcome has G = 0; use Side::mid or Side::weak");
  std::vector<double> log_p = detail::tilt(law, n, side);
  for (std::size_t y = 0; y < log_p.size(); ++y) log_p[y] += law.log_ref[y] - log_z;
  return log_p;
}
}  // namespace vbon::bon
