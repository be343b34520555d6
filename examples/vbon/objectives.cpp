#include "objectives.hpp"

#include <cmath>

#include "option_value.hpp"
#include "program.hpp"
#include "vbon/bon/registry.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/registry.hpp"

namespace vbon::program {
namespace {
using Objectives = decltype(std::tuple_cat(objective::Registry{}, std::tuple<objective::Likelihood>{}));
}  // namespace

train::AnyObjective make_objective(const std::string& spec, const ObjectiveDefaults& defaults) {
  const auto [name, options] = name_and_argument(spec);
  train::AnyObjective chosen;
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
    set_options(message("objective ", rule.name), rule, options);
    chosen = train::AnyObjective(std::move(rule));
  });
  return chosen;
}

rollout::AnyCdf make_cdf(const std::string& name) {
  rollout::AnyCdf chosen;
  with_name<bon::Estimators>("estimator", name, [&](const auto& estimator) { chosen = rollout::AnyCdf(estimator); });
  return chosen;
}

std::string list_objectives() {
  std::string out;
  for_each_entry<Objectives>([&](auto rule) {
    out += std::string(rule.name) + "\n";
    rule.each_option([&](std::string_view option, auto& field, std::string_view help) {
      out += "    " + std::string(option) + " = " + option_text(field) + "   " + std::string(help) + "\n";
    });
  });
  return out;
}

std::string list_estimators() { return known_names<bon::Estimators>(); }
}  // namespace vbon::program
