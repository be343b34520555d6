// vbon/reward/length.hpp
//
// Rewards the length of a response: longer is better, or the closer to a target the better. A reward whose
// every value is known by looking, for first runs and tests.
#pragma once
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
enum class LengthUnit { words, characters, tokens };

/// length, or -|length - target| with a target.
struct Length {
  static constexpr std::string_view name = "length";
  LengthUnit unit = LengthUnit::words;  // words: runs between white space; characters: code points
  std::optional<double> target = std::nullopt;

  /// From the argument of a command line: nothing, or a target in words.
  /// @throws ConfigError when it is no number
  static Length open(const std::string& argument) {
    if (argument.empty()) return {};
    double wanted = 0;
    const auto [end, failure] = std::from_chars(argument.data(), argument.data() + argument.size(), wanted);
    require<ConfigError>(
        failure == std::errc{} && end == argument.data() + argument.size() && wanted >= 0 && std::isfinite(wanted),
        "reward length: a finite target in words >= 0 expected, got '", argument, "'");
    return {.unit = LengthUnit::words, .target = wanted};
  }

  /// @throws ShapeError when a unit of text is asked of a batch without text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    if (unit != LengthUnit::tokens) require_text(batch, name);
    Array rewards(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i) {
      const auto length =
          static_cast<double>(unit == LengthUnit::tokens ? batch.length(i) : count(batch.text[static_cast<std::size_t>(i)]));
      rewards[i] = target ? 0 - std::abs(length - *target) : length;  // 0 - 0 has no sign, -0 has
    }
    return rewards;
  }

 private:
  Index count(std::string_view text) const {
    Index found = 0;
    bool inside = false;
    for (const char c : text) {
      const bool space = c == ' ' || (c >= '\t' && c <= '\r');
      if (unit == LengthUnit::words ? !space && !inside : (static_cast<unsigned char>(c) & 0xC0U) != 0x80U) ++found;
      inside = !space;
    }
    return found;
  }
};
}  // namespace vbon::reward
