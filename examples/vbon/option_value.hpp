// From the text of a command line to the field of an options struct: numbers, flags and enumerations by name.
#pragma once
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>

#include "vbon/core/error.hpp"
#include "vbon/core/registry.hpp"

namespace vbon::program {
namespace detail {
/// The name of an enumerator as the compiler writes it; not a name where the value has none.
template <auto Value>
constexpr std::string_view enumerator_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  const auto begin = text.rfind("Value = ") + 8;
  text = text.substr(begin, text.find_first_of(";]", begin) - begin);
  const auto colon = text.rfind("::");
  return text.front() == '(' ? std::string_view() : colon == text.npos ? text : text.substr(colon + 2);
}
/// Calls f(value, name) for the enumerators among the values 0 to 15.
template <class E, int I = 0, class F>
void for_each_enumerator(const F& f) {
  if constexpr (I < 16) {
    constexpr auto name = enumerator_name<static_cast<E>(I)>();
    if constexpr (!name.empty()) f(static_cast<E>(I), name);
    for_each_enumerator<E, I + 1>(f);
  }
}
}  // namespace detail

/// @param name  of the option, for messages
/// @throws ConfigError
template <class T>
void set_option(std::string_view name, T& field, const std::string& text) {
  const auto refuse = [&](const std::string& expected) { throw ConfigError(message("option ", name, ": ", expected, " expected, got '", text, "'")); };
  if constexpr (std::is_same_v<T, bool>) {
    if (text != "true" && text != "false" && text != "0" && text != "1") refuse("true or false");
    field = text == "true" || text == "1";
  } else if constexpr (std::is_enum_v<T>) {
    bool found = false;
    std::string known;
    detail::for_each_enumerator<T>([&](T value, std::string_view word) {
      known += (known.empty() ? "" : ", ") + std::string(word);
      if (same_name(word, text)) field = value, found = true;
    });
    if (!found) refuse("one of " + known);
  } else if constexpr (std::is_arithmetic_v<T>) {
    T value{};
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc{} || end != text.data() + text.size()) refuse(std::is_integral_v<T> ? "a whole number" : "a number");
    field = value;
  } else {
    field = text;
  }
}

/// The value of a field as text.
template <class T>
std::string option_text(const T& field) {
  if constexpr (std::is_same_v<T, bool>) {
    return field ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    std::string text;
    detail::for_each_enumerator<T>([&](T value, std::string_view word) {
      if (value == field) text = word;
    });
    return text;
  } else {
    std::ostringstream out;
    out << field;
    return out.str();
  }
}
}  // namespace vbon::program
