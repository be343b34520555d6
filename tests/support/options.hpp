// Options of registry entries by name, for tests that run over a registry.
#pragma once
#include <string_view>
#include <type_traits>

namespace vbon::test {
/// Sets the option of this name and type; false where the entry has none.
template <class Entry, class T>
bool set_option(Entry& entry, std::string_view name, T value) {
  bool known = false;
  entry.each_option([&](std::string_view option, auto& field, std::string_view) {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(field)>, T>)
      if (option == name) {
        field = value;
        known = true;
      }
  });
  return known;
}
}  // namespace vbon::test
