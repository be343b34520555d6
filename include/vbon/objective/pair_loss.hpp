// vbon/objective/pair_loss.hpp
//
// Losses of a preference pair as functions of the margin D = (log pi - log pi_ref)(winner) - the same of
// the loser. Sources: DPO, arXiv 2305.18290; conservative DPO, Mitchell 2023; robust DPO, arXiv 2403.00409;
// IPO, arXiv 2310.12036; hinge as in SLiC, arXiv 2305.10425.
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <string_view>

#include "vbon/core/log_space.hpp"
#include "vbon/objective/check.hpp"

namespace vbon::objective {
struct PairGrad {
  double loss = 0;
  double slope = 0;  // d loss / d D
};
template <class L>
concept PairLoss = requires(const L& loss, double margin) {
  { L::name } -> std::convertible_to<std::string_view>;
  { loss(margin) } -> std::same_as<PairGrad>;
  loss.check();
};

/// 1 / (1 + e^-x) and -log of it, without overflow.
inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
inline double minus_log_sigmoid(double x) { return log1pexp(-x); }

/// What all five share: b > 0 and label noise e, which only cdpo and robust allow for.
struct PairSettings {
  double beta = 0.1;
  double label_smoothing = 0;  // probability that a label is wrong
  void each_option(auto&& f) { f("beta", beta, "inverse temperature of the implicit reward, > 0"); }

 protected:
  void check_certain(std::string_view who) const {
    require_positive(who, "beta", beta);
    require<DomainError>(label_smoothing == 0, who, ": label_smoothing ", label_smoothing,
                         " has no part in this loss; take cdpo or robust");
  }
  void check_smoothed(std::string_view who, double most) const {
    require_positive(who, "beta", beta);
    require<DomainError>(label_smoothing >= 0 && label_smoothing < most, who, ": label_smoothing in [0, ", most,
                         ") expected, got ", label_smoothing);
  }
  void each_smoothed_option(auto&& f) {
    PairSettings::each_option(f);
    f("label_smoothing", label_smoothing, "probability that a label is wrong");
  }
};

/// -log sigmoid(b D).
struct Dpo : PairSettings {
  static constexpr std::string_view name = "dpo";
  void check() const { check_certain(name); }
  PairGrad operator()(double d) const { return {minus_log_sigmoid(beta * d), -beta * sigmoid(-beta * d)}; }
};
/// -(1 - e) log sigmoid(b D) - e log sigmoid(-b D).
struct Cdpo : PairSettings {
  static constexpr std::string_view name = "cdpo";
  void check() const { check_smoothed(name, 1); }
  void each_option(auto&& f) { each_smoothed_option(f); }
  PairGrad operator()(double d) const {
    const double e = label_smoothing, x = beta * d;
    return {(1 - e) * minus_log_sigmoid(x) + e * minus_log_sigmoid(-x), -beta * ((1 - e) * sigmoid(-x) - e * sigmoid(x))};
  }
};
/// The same made unbiased under labels that flip with probability e < 1/2.
struct RobustDpo : PairSettings {
  static constexpr std::string_view name = "robust";
  void check() const { check_smoothed(name, 0.5); }
  void each_option(auto&& f) { each_smoothed_option(f); }
  PairGrad operator()(double d) const {
    const double e = label_smoothing, x = beta * d;
    return {((1 - e) * minus_log_sigmoid(x) - e * minus_log_sigmoid(-x)) / (1 - 2 * e),
            -beta * ((1 - e) * sigmoid(-x) + e * sigmoid(x)) / (1 - 2 * e)};
  }
};
/// (D - 1/(2b))^2.
struct Ipo : PairSettings {
  static constexpr std::string_view name = "ipo";
  void check() const { check_certain(name); }
  PairGrad operator()(double d) const {
    const double off = d - 1 / (2 * beta);
    return {off * off, 2 * off};
  }
};
/// max(0, 1 - b D).
struct Hinge : PairSettings {
  static constexpr std::string_view name = "hinge";
  void check() const { check_certain(name); }
  PairGrad operator()(double d) const { return {std::max(0.0, 1 - beta * d), beta * d < 1 ? -beta : 0}; }
};
}  // namespace vbon::objective
