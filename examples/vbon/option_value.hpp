// From the text of a command line to the field of an options struct: numbers, flags and enumerations by name.
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "program.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/registry.hpp"

namespace vbon::program {
/// The whole text as a number, which T must hold: no blanks, no other base, nothing wrapped or cut.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}
/// What parse_number takes, for messages.
template <class T>
std::string expected_number() {
  std::ostringstream out;
  out.precision(2);
  out << (std::is_integral_v<T> ? "a whole number" : "a number") << " in [" << std::numeric_limits<T>::lowest() << ", "
      << std::numeric_limits<T>::max() << "]";
  return std::move(out).str();
}

/// An option that tells whether it was given.
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

/// @param name  "objective vbon: option n", for messages
/// @throws ConfigError
template <class T>
void set_option(std::string_view name, T& field, const std::string& text) {
  const auto refuse = [&](const std::string& expected) {
    throw ConfigError(message(name, ": ", expected, " expected, got '", text, "'"));
  };
  if constexpr (is_optional<T>) {
    set_option(name, field.emplace(), text);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false" && text != "0" && text != "1") refuse("true or false");
    field = text == "true" || text == "1";
  } else if constexpr (std::is_enum_v<T>) {
    std::string known;
    int value = 0;  // option_names() lists the names in the order of the enumerators
    for (const std::string_view word : option_names(T{})) {
      if (same_name(word, text)) {
        field = static_cast<T>(value);
        return;
      }
      known += (known.empty() ? "" : ", ") + std::string(word);
      ++value;
    }
    refuse("one of " + known);
  } else if constexpr (std::is_arithmetic_v<T>) {
    const auto value = parse_number<T>(text);
    if (!value) refuse(std::is_integral_v<T> ? "a whole number" : "a number");
    field = *value;
    if constexpr (std::is_integral_v<T>) {
      if (*value > most_of_anything) refuse("a whole number up to " + std::to_string(most_of_anything));
    } else if (std::isnan(*value)) {
      refuse("a number");
    }
  } else {
    field = text;
  }
}

/// The pairs of "option=value,option=value", each option once. The label of a classifier belongs to the reward that it
/// stands behind: value=classifier:FOLDER,label=1 is one option.
/// @param who  "objective vbon", for messages
/// @throws ConfigError
inline std::vector<std::pair<std::string, std::string>> given_options(const std::string& who, const std::string& text) {
  std::vector<std::pair<std::string, std::string>> given;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const auto equals = part.find('=');
    require<ConfigError>(equals != part.npos, who, ": option=value expected, got '", part,
                         begin == 0 ? "'" : "'; a value cannot hold a comma");
    const std::string name = part.substr(0, equals);
    if (same_name(name, "label") && !given.empty() && given.back().second.starts_with("classifier:")) {
      given.back().second += ',' + part;
      begin = end + 1;
      continue;
    }
    for (const auto& [earlier, value] : given)
      require<ConfigError>(!same_name(earlier, name), who, ": the option '", name, "' is given twice");
    given.emplace_back(name, part.substr(equals + 1));
    begin = end + 1;
  }
  return given;
}
/// The value that such a text gives an option, if it does.
inline std::optional<std::string> given_option(const std::string& who, const std::string& text, std::string_view option) {
  for (const auto& [name, value] : given_options(who, text))
    if (same_name(name, option)) return value;
  return std::nullopt;
}

/// Sets the options that "option=value,option=value" names; each must be one that each_option() shows.
/// @param who  "objective vbon", for messages
/// @throws ConfigError naming the option, its value or the known options
template <class Rule>
void set_options(const std::string& who, Rule& rule, const std::string& text) {
  for (const auto& [name, value] : given_options(who, text)) {
    bool found = false;
    std::vector<std::string> known;
    rule.each_option([&, &name = name, &value = value](std::string_view option, auto& field, std::string_view) {
      known.emplace_back(option);
      if (found || !same_name(option, name)) return;
      found = true;
      set_option(message(who, ": option ", option), field, value);
    });
    require<ConfigError>(found, who, ": ", unknown("option", name, known));
  }
}

/// The value of a field as text.
template <class T>
std::string option_text(const T& field) {
  if constexpr (is_optional<T>) {
    return field ? option_text(*field) : "unset";
  } else if constexpr (std::is_same_v<T, bool>) {
    return field ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::string(option_names(field)[static_cast<std::size_t>(field)]);
  } else {
    std::ostringstream out;
    out << field;
    return out.str();
  }
}
}  // namespace vbon::program
