// vbon/policy/lora.hpp
//
// Which linear maps of a model get a low-rank branch, chosen as in peft: by the names of modules, by a
// regular expression, or all of them.
#pragma once
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/model/causal_lm.hpp"
#include "vbon/text/regex.hpp"

namespace vbon::policy {
/// At most one of the two; neither means all linear maps of the blocks ("all-linear"), never the head.
struct LoraTargets {
  std::vector<std::string> names = {};  // a whole module name, or the last parts of one, as q_proj
  std::string pattern = {};             // matches whole module names

  /// @param text  "all-linear", "regex:PATTERN", or names with commas between them
  template <class = void>
  static LoraTargets parse(std::string_view text) {
    constexpr std::string_view regex = "regex:";
    if (text == "all-linear") return {};
    if (text.starts_with(regex)) return {.pattern = std::string(text.substr(regex.size()))};
    LoraTargets targets;
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      require<ConfigError>(end > begin, "LoRA: module names with commas between them expected, got '", text, "'");
      targets.names.emplace_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return targets;
  }
};

namespace detail {
template <class = void>
bool is_module(const std::string& module, const std::string& name) {
  return module == name || module.ends_with("." + name);
}
inline std::string last_part(const std::string& module) { return module.substr(module.rfind('.') + 1); }
/// What an error lists.
template <class = void>
std::string known_modules(const std::vector<model::LoraModule>& modules) {
  std::set<std::string> names;
  for (const auto& m : modules) names.insert(last_part(m.name));
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}
/// A predicate on module names: list or pattern.
class ModuleMatch {
 public:
  template <class = void>
  ModuleMatch(const LoraTargets& targets, std::string_view where) : names_(targets.names) {
    if (targets.pattern.empty()) return;
    (void)text::Regex(targets.pattern, where);  // so that a lone bracket cannot pair with those added here
    pattern_ = text::Regex("\\A(?:" + targets.pattern + ")\\z", where);
  }
  template <class = void>
  bool operator()(const std::string& module) const {
    bool found = std::any_of(names_.begin(), names_.end(), [&](const auto& name) { return is_module(module, name); });
    if (!pattern_.empty()) pattern_.for_each_match(module, [&](std::size_t, std::size_t) { found = true; });
    return found;
  }

 private:
  std::vector<std::string> names_;
  text::Regex pattern_;
};
}  // namespace detail

/// Those of a model's modules that the targets name, in the order of the checkpoint.
/// @param family  of the model, for messages
/// @param where   begins the message of an error
/// @throws ConfigError when none is named, FormatError for a pattern that does not compile
template <class = void>
std::vector<model::LoraModule> select_modules(std::vector<model::LoraModule> all, std::string_view family,
                                              const LoraTargets& targets, std::string_view where) {
  if (targets.names.empty() && targets.pattern.empty()) return all;
  const detail::ModuleMatch match(targets, where);
  std::vector<model::LoraModule> chosen;
  std::copy_if(all.begin(), all.end(), std::back_inserter(chosen), [&](const auto& m) { return match(m.name); });
  require<ConfigError>(!chosen.empty(), where, ": no linear map of this ", family, " model is a target; it has ",
                       detail::known_modules(all));
  return chosen;
}
template <class = void>
std::vector<model::LoraModule> select_modules(const model::CausalLm& model, const LoraTargets& targets,
                                              std::string_view where) {
  return select_modules(model::lora_modules(model.parameters(), model.network()), model.shape().family, targets, where);
}

/// Freezes a model and gives it a new adapter, which changes nothing yet.
/// @throws ConfigError for options out of range and a name that is no module
template <class = void>
void add_adapter(model::CausalLm& model, const LoraTargets& targets, const model::LoraOptions& options, RngKey key) {
  const auto all = model::lora_modules(model.parameters(), model.network());
  for (const std::string& name : targets.names)
    require<ConfigError>(std::any_of(all.begin(), all.end(), [&](const auto& m) { return detail::is_module(m.name, name); }),
                         "LoRA: '", name, "' is no linear map of the blocks of this ", model.shape().family,
                         " model; known: ", detail::known_modules(all));
  model::LoraAdapter adapter(select_modules(model, targets, "LoRA"), options);
  adapter.initialize(key);
  model.attach(std::move(adapter));
}
}  // namespace vbon::policy
