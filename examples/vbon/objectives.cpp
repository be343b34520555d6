#include "objectives.hpp"

#include "objective_spec.hpp"
#include "vbon/bon/registry.hpp"

namespace vbon::program {
train::AnyObjective make_objective(const std::string& spec, const ObjectiveDefaults& defaults) {
  train::AnyObjective chosen;
  with_objective(spec, defaults, [&](auto rule) { chosen = train::AnyObjective(std::move(rule)); });
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
