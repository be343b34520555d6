// vbon/eval/calibration.hpp
//
// Responses judged twice, by the proxy reward that a decoder will follow and by a truer one: JSON Lines
// {"proxy", "true"} with an optional "prompt" that groups them, and what they say of how far to follow the proxy.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/decode/hedge.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::eval {
namespace detail {
/// So that a setting is the number that is printed of it.
template <class = void>
std::string in_three_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}
}  // namespace detail

/// One curve for each prompt.
using Calibration = std::vector<decode::HedgeCurve>;

/// Further keys of a line are kept out of it.
/// @throws RunError (no such file), FormatError naming line and key, or when there is no line
template <class = void>
Calibration read_calibration(const std::filesystem::path& path) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> pairs;
  io::read_jsonl(path, [&](const io::Json& row, std::size_t number) {
    const std::string where = message(path.string(), ": line ", number);
    require<FormatError>(row.is_object(), where, ": an object with \"proxy\" and \"true\" expected");
    auto& [proxy, truth] = pairs[io::json_get_or<std::string>(row, "prompt", "", where)];
    const auto number_at = [&](const char* key) {  // "-inf" is a reward too
      const io::Json* value = io::json_find(row, key);
      const auto found = value == nullptr ? std::nullopt : io::number_of(*value);
      require<FormatError>(found && !std::isnan(*found), where, ": \"", key, "\": a number expected");
      return *found;
    };
    proxy.push_back(number_at("proxy"));
    truth.push_back(number_at("true"));
    require<FormatError>(std::isfinite(truth.back()), where, ": \"true\": a finite number expected");
  });
  require<FormatError>(!pairs.empty(), path.string(), ": no line with a proxy and a true reward");
  Calibration calibration;
  for (const auto& [prompt, values] : pairs) calibration.emplace_back(values.first, values.second);
  return calibration;
}

/// What is chosen: the N of best-of-N, the mu of best-of-Poisson, the lambda of soft best-of-N, or the beta of pessimism.
enum class Hedged { best_of_n, best_of_poisson, soft_best_of_n, pessimism };
constexpr std::array<std::string_view, 4> option_names(Hedged) {
  return {"best_of_n", "best_of_poisson", "soft_best_of_n", "pessimism"};
}
/// The option of the decoder that is chosen.
constexpr std::string_view setting_name(Hedged what) {
  constexpr std::array<std::string_view, 4> names = {"n", "mu", "lambda", "beta"};
  return names[static_cast<std::size_t>(what)];
}

/// Pairs of the prompt that has the fewest: of more draws than that the curves are an extrapolation.
inline Index fewest_pairs(const Calibration& calibration) {
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (const auto& one : calibration) fewest = std::min(fewest, one.proxy().size());
  return static_cast<Index>(fewest);
}

/// Standard deviation of the proxies within a prompt, pooled over prompts: the scale on which lambda and beta act. To three
/// digits, as a setting that is read; infinite proxies are left out. 1 where all proxies of a prompt are equal.
template <class = void>
double proxy_spread(const Calibration& calibration) {
  double squares = 0, count = 0;
  for (const auto& one : calibration) {
    double mean = 0, finite = 0;
    for (const double r : one.proxy())
      if (std::isfinite(r)) mean += (r - mean) / ++finite;
    for (const double r : one.proxy())
      if (std::isfinite(r)) squares += (r - mean) * (r - mean);
    count += finite;
  }
  if (!(squares > 0)) return 1;
  return std::stod(detail::in_three_digits(std::sqrt(squares / count)));
}

/// How far the grids go.
struct HedgeGrid {
  Index largest = 64;  // draws of best_of_n and best_of_poisson
  Index n = 16;        // draws of soft_best_of_n
};
/// Settings in order of trust in the proxy. 1, 2, 3, 4, 6, 8, 12, ... up to `largest` for N, one less for mu; for lambda and
/// beta halves from 64 spreads of the proxies, where hardly anything changes, down to 1/64 of it and 0 for lambda, which is
/// best-of-N, and to 1/1024 for beta, where all weight is on the best level.
/// @throws ConfigError for largest < 1
template <class = void>
std::vector<double> hedge_settings(const Calibration& calibration, Hedged what, Index largest) {
  require<ConfigError>(largest >= 1, "hedge: largest >= 1 expected, got ", largest);
  std::vector<double> settings;
  if (what == Hedged::best_of_n || what == Hedged::best_of_poisson) {
    for (Index power = 1; power <= largest; power *= 2) {
      settings.push_back(static_cast<double>(power));
      if (power >= 2 && power / 2 * 3 <= largest) settings.push_back(static_cast<double>(power / 2 * 3));
    }
    if (what == Hedged::best_of_poisson)
      for (double& mu : settings) mu -= 1;
    return settings;
  }
  const double spread = proxy_spread(calibration);
  const int last = what == Hedged::soft_best_of_n ? -6 : -10;
  for (int power = 6; power >= last; --power)
    settings.push_back(std::stod(detail::in_three_digits(std::ldexp(spread, power))));
  if (what == Hedged::soft_best_of_n) settings.push_back(0);
  return settings;
}

struct HedgePoint {
  double setting = 0;
  double value = 0;  // mean true reward, over prompts
};
/// @throws ConfigError for grid sizes < 1; DomainError where pessimism is to follow proxies that are not finite
template <class = void>
std::vector<HedgePoint> hedge_curve(const Calibration& calibration, Hedged what, const HedgeGrid& grid = {}) {
  require<ConfigError>(grid.n >= 1, "hedge: n >= 1 expected, got ", grid.n);
  if (what == Hedged::pessimism)
    for (const auto& one : calibration)
      for (const double r : one.proxy())
        require<DomainError>(std::isfinite(r), ErrorCode{"not_finite"},
                             "hedge: pessimism computes with the proxies, and one is ", r,
                             "; choose best_of_n, which only ranks them");
  const auto value_of = [&](const decode::HedgeCurve& one, double setting) {
    switch (what) {
      case Hedged::best_of_n:
        return one.best_of_n(setting);
      case Hedged::best_of_poisson:
        return one.best_of_poisson(setting);
      case Hedged::soft_best_of_n:
        return one.soft_best_of_n(grid.n, setting);
      default:
        return one.pessimism(setting);
    }
  };
  std::vector<HedgePoint> curve;
  for (const double setting : hedge_settings(calibration, what, grid.largest)) {
    curve.push_back({.setting = setting, .value = 0});
    for (const auto& one : calibration)
      curve.back().value += value_of(one, setting) / static_cast<double>(calibration.size());
  }
  return curve;
}

/// The point of the curve with the largest true reward.
template <class = void>
decode::HedgeChoice hedge_choice(const std::vector<HedgePoint>& curve) {
  std::vector<double> value;
  for (const HedgePoint& point : curve) value.push_back(point.value);
  return decode::hedge_choice(value);
}
}  // namespace vbon::eval
