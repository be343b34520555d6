// vbon/eval/calibration.hpp
//
// Responses judged twice, by the proxy reward that a decoder will follow and by a truer one: JSON Lines
// {"proxy", "true"} with an optional "prompt" that groups them, and what they say of how far to follow the proxy.
#pragma once
#include <array>
#include <cmath>
#include <filesystem>
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
/// One curve for each prompt.
using Calibration = std::vector<decode::HedgeCurve>;

/// Further keys of a line are kept out of it.
/// @throws RunError (no such file), FormatError naming line and key, or when there is no line
inline Calibration read_calibration(const std::filesystem::path& path) {
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

/// What is chosen: the N of best-of-N, or the mu of best-of-Poisson.
enum class Hedged { best_of_n, best_of_poisson };
constexpr std::array<std::string_view, 2> option_names(Hedged) { return {"best_of_n", "best_of_poisson"}; }

struct HedgePoint {
  double setting = 0;
  double value = 0;  // mean true reward, over prompts
};
/// The curve at 1, 2, 3, 4, 6, 8, 12, ... (N), or at 0 and these less one (mu), up to `largest` draws.
inline std::vector<HedgePoint> hedge_curve(const Calibration& calibration, Hedged what, Index largest) {
  require<ConfigError>(largest >= 1, "hedge: largest >= 1 expected, got ", largest);
  std::vector<HedgePoint> curve;
  const auto add = [&](Index draws) {
    HedgePoint point{.setting = static_cast<double>(what == Hedged::best_of_n ? draws : draws - 1), .value = 0};
    for (const auto& one : calibration)
      point.value += (what == Hedged::best_of_n ? one.best_of_n(point.setting) : one.best_of_poisson(point.setting)) /
                     static_cast<double>(calibration.size());
    curve.push_back(point);
  };
  for (Index power = 1; power <= largest; power *= 2) {
    add(power);
    if (power >= 2 && power / 2 * 3 <= largest) add(power / 2 * 3);
  }
  return curve;
}

/// The point of the curve with the largest true reward.
inline decode::HedgeChoice hedge_choice(const std::vector<HedgePoint>& curve) {
  std::vector<double> value;
  for (const HedgePoint& point : curve) value.push_back(point.value);
  return decode::hedge_choice(value);
}
}  // namespace vbon::eval
