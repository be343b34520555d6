// From the text of a method on the command line to the objective itself.
#pragma once
#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>

#include "objectives.hpp"
#include "option_value.hpp"
#include "program.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/registry.hpp"

namespace vbon::program {
using Objectives = decltype(std::tuple_cat(objective::Registry{}, std::tuple<objective::Likelihood>{}));

/// Sets the options that the text names; each must be one of the objective's.
template <class O>
void set_options(O& rule, const std::string& text) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const auto equals = part.find('=');
    require<ConfigError>(equals != part.npos, "objective ", O::name, ": option=value expected, got '", part, "'");
    const std::string name = part.substr(0, equals);
    bool found = false;
    std::string known;
    rule.each_option([&](std::string_view option, auto& field, std::string_view) {
      known += (known.empty() ? "" : ", ") + std::string(option);
      if (!found && same_name(option, name)) set_option(option, field, part.substr(equals + 1)), found = true;
    });
    require<ConfigError>(found, "objective ", O::name, ": unknown option '", name,
                         "'; known: ", known.empty() ? "none" : known);
    begin = end + 1;
  }
}

/// Calls f(rule) with the objective that a spec names, its options set.
/// @param spec  "name" or "name:option=value,option=value"
/// @throws ConfigError listing the known names, options or values
template <class F>
void with_objective(const std::string& spec, const ObjectiveDefaults& defaults, F&& f) {
  const auto parts = name_and_argument(spec);
  const std::string &name = parts.first, &options = parts.second;
  with_name<Objectives>("objective", name, [&](auto rule) {
    rule.each_option([&](std::string_view option, auto& field, std::string_view) {
      using Field = std::remove_cvref_t<decltype(field)>;
      if constexpr (std::is_arithmetic_v<Field>) {
        if (option == "max_length") field = static_cast<Field>(defaults.max_length);
        if (option != "n" && option != "forward_n") return;
        require<ConfigError>(!std::is_integral_v<Field> || defaults.n == std::floor(defaults.n), "objective ", rule.name,
                             " takes a whole N, got ", defaults.n, "; give another --n or ", rule.name, ":", option,
                             "=WHOLE");
        field = static_cast<Field>(defaults.n);
      }
    });
    set_options(rule, options);
    f(std::move(rule));
  });
}
}  // namespace vbon::program
