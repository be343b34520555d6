// From the text of a method on the command line to the objective itself.
#pragma once
#include <cmath>
#include <string>
#include <tuple>
#include <type_traits>

#include "objectives.hpp"
#include "option_value.hpp"
#include "program.hpp"
#include "vbon/objective/chosen_baseline.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/registry.hpp"

namespace vbon::program {
/// An objective whose baseline is a type, with one that is an option.
template <class O>
struct Choosable {
  using type = O;
};
template <class O>
requires requires { typename O::template with_baseline<objective::NoBaseline>; }
struct Choosable<O> {
  using type = typename O::template with_baseline<objective::ChosenBaseline<decltype(O::baseline)>>;
};
template <class... O>
std::tuple<typename Choosable<O>::type...> choosable(std::tuple<O...>);

using Objectives = decltype(std::tuple_cat(choosable(objective::Registry{}), std::tuple<objective::Likelihood>{}));

/// Calls f(rule) with the objective that a spec names, its options set.
/// @param spec  "name" or "name:option=value,option=value"
/// @throws ConfigError listing the known names, options or values
template <class F>
void with_objective(const std::string& spec, const ObjectiveDefaults& defaults, F&& f) {
  const auto parts = name_and_argument(spec);
  const std::string &name = parts.first, &options = parts.second;
  with_name<Objectives>("objective", name, [&](auto rule) {
    const std::string who = message("objective ", rule.name);
    // One N for all parts of an objective: forward_n follows n wherever n is given, unless it is given itself.
    const auto own_n = given_option(who, options, "n");
    rule.each_option([&](std::string_view option, auto& field, std::string_view) {
      using Field = std::remove_cvref_t<decltype(field)>;
      if constexpr (std::is_arithmetic_v<Field>) {
        if (option == "max_length") field = static_cast<Field>(defaults.max_length);
        if (option != "n" && option != "forward_n") return;
        if (given_option(who, options, option)) return;  // what is given is set below
        double n = defaults.n;
        if (own_n) set_option(who + ": option n", n, *own_n);
        constexpr auto most = static_cast<double>(most_of_anything);
        require<ConfigError>(!std::is_integral_v<Field> || (n == std::floor(n) && n >= 1 && n <= most), who,
                             " takes a whole N in [1, ", most_of_anything, "], got ", own_n ? *own_n : option_text(n),
                             "; give another --n or ", rule.name, ":", option, "=WHOLE");
        field = static_cast<Field>(n);
      }
    });
    set_options(who, rule, options);
    f(std::move(rule));
  });
}
}  // namespace vbon::program
