// vbon/core/registry.hpp
//
// A registry is a std::tuple of default-constructible entries, each with a static `name`. Tests iterate
// over it, programs find an entry by its name; adding a type to the tuple is the whole registration.
#pragma once
#include <string>
#include <string_view>
#include <tuple>

#include "vbon/core/error.hpp"

namespace vbon {
/// Calls f(entry) for every entry, in order.
template <class List, class F>
void for_each_entry(F&& f) {
  std::apply([&](const auto&... entry) { (f(entry), ...); }, List{});
}

/// All names, separated by ", ".
template <class List>
std::string known_names() {
  std::string names;
  for_each_entry<List>([&]<class Entry>(const Entry&) {
    names += names.empty() ? "" : ", ";
    names += Entry::name;
  });
  return names;
}

/// True when two names are one: programs accept hyphens for underscores.
inline bool same_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto plain = [](char c) { return c == '-' ? '_' : c; };
    if (plain(a[i]) != plain(b[i])) return false;
  }
  return true;
}

/// True when an entry has this name.
template <class List>
bool has_entry(std::string_view name) {
  bool found = false;
  for_each_entry<List>([&]<class Entry>(const Entry&) { found = found || same_name(Entry::name, name); });
  return found;
}

/// Calls f(entry) for the entry with this name.
/// @throws ConfigError unknown_name, listing the known names
template <class List, class F>
void with_name(std::string_view kind, std::string_view name, F&& f) {
  bool found = false;
  for_each_entry<List>([&]<class Entry>(const Entry& entry) {
    if (!found && same_name(Entry::name, name)) {
      found = true;
      f(entry);
    }
  });
  require<ConfigError>(found, ErrorCode{"unknown_name"}, "unknown ", kind, " '", name, "'; known: ", known_names<List>());
}
}  // namespace vbon
