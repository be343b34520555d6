// vbon/objective/quantile.hpp
//
// A reward as its quantile u among the reference's rewards for the same prompt, and the transforms Phi(u)
// that inference-time methods call for. Only ranks enter: any strictly increasing map of the rewards
// changes nothing. Source: InfAlign, arXiv 2412.19792; BOND, arXiv 2407.14622.
#pragma once
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include "vbon/bon/empirical_cdf.hpp"
#include "vbon/objective/check.hpp"

namespace vbon::objective {
namespace detail {
template <class = void>
bon::RankCounts ranks(std::span<const double> sorted, double reward, std::string_view who) {
  require<DomainError>(!sorted.empty(), ErrorCode{"empty_cache"}, who, ": at least one reference reward expected, got none");
  bon::require_reward(reward, who);
  return bon::count_ranks(sorted, reward);
}
}  // namespace detail

/// Win rate against the reference samples, ties counting half; its mean over fresh reference draws is 1/2.
/// @param sorted  [m] reference rewards, ascending
/// @throws DomainError `empty_cache`, `nan_reward` (also for the two below)
template <class = void>
double mid_quantile(std::span<const double> sorted, double reward) {
  const auto [below, equal] = detail::ranks(sorted, reward, "mid_quantile");
  return (static_cast<double>(below) + 0.5 * static_cast<double>(equal)) / static_cast<double>(sorted.size());
}
/// max(#{z <= r}/m, floor); a floor of 0 means 1/(2m).
template <class = void>
double floored_quantile(std::span<const double> sorted, double reward, double floor = 0) {
  const auto [below, equal] = detail::ranks(sorted, reward, "floored_quantile");
  const auto m = static_cast<double>(sorted.size());
  return std::max(static_cast<double>(below + equal) / m, floor > 0 ? floor : 0.5 / m);
}
/// (1 + #{z <= r})/(m + 1), never 0; strict counts #{z < r}, as the published vBoN code does.
template <class = void>
double plus_one_quantile(std::span<const double> sorted, double reward, bool strict = false) {
  const auto [below, equal] = detail::ranks(sorted, reward, "plus_one_quantile");
  return static_cast<double>(1 + below + (strict ? 0 : equal)) / static_cast<double>(sorted.size() + 1);
}

enum class PhiKind { identity, log, bon_log, exp, bon_first_order };
constexpr std::array<std::string_view, 5> option_names(PhiKind) {
  return {"identity", "log", "bon_log", "exp", "bon_first_order"};
}

/// A reward of the quantile u in [0, 1]:
///   identity u | log log u | bon_log (N-1) log u | exp sign(t) e^(t u) | bon_first_order N^2/(2N-1) u^(2N-1)
/// where the logs take max(u, floor).
struct Phi {
  PhiKind kind = PhiKind::identity;
  double n = 4;      // of bon_log and bon_first_order [>= 1]
  double t = 10;     // of exp: > 0 for best-of-N, < 0 for worst-of-N [in [-700, 700], not 0]
  double floor = 0;  // of the logs [in [0, 1]]
  bool is_log() const { return kind == PhiKind::log || kind == PhiKind::bon_log; }
  void each_option(auto&& f) {
    f("phi", kind, "transform of the quantile: identity, log, bon_log, exp, bon_first_order");
    f("n", n, "N of bon_log and bon_first_order");
    f("t", t, "t of exp: > 0 for best-of-N, < 0 for worst-of-N");
    f("floor", floor, "least quantile under a logarithm");
  }

  /// @throws DomainError for u outside [0, 1], log of 0, t = 0, N < 1
  template <class = void>
  double operator()(double u) const {
    require_within("phi", "quantile", u, 0, 1);
    switch (kind) {
      case PhiKind::identity:
        return u;
      case PhiKind::log:
        return log_floored(u);
      case PhiKind::bon_log:
        require_at_least("phi", "N", n, 1);
        return (n - 1) * log_floored(u);
      case PhiKind::exp:
        require<DomainError>(t != 0 && std::abs(t) <= 700,
                             "phi: t in [-700, 700] and not 0 expected (e^t is a double), got ", t);
        return std::copysign(std::exp(t * u), t);
      case PhiKind::bon_first_order:
        require_at_least("phi", "N", n, 1);
        return n * n / (2 * n - 1) * std::pow(u, 2 * n - 1);
    }
    return u;
  }

 private:
  double log_floored(double u) const {
    require_within("phi", "floor", floor, 0, 1);
    const double value = std::max(u, floor);
    require<DomainError>(value > 0, "phi: quantile > 0 expected under a logarithm without floor, got ", u,
                         "; give the option floor, as floor=0.01");
    return std::log(value);
  }
};
}  // namespace vbon::objective
