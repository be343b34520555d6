// vbon/io/cache_folder.hpp
//
// Where fetched models and data are kept between runs.
#pragma once
#include <cstdlib>
#include <filesystem>

namespace vbon::io {
/// $VBON_CACHE, else $XDG_CACHE_HOME/vbon, else ~/.cache/vbon; a variable that is set but empty counts as not set.
template <class = void>
std::filesystem::path cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  if (auto cache = variable("VBON_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "vbon";
  return variable("HOME") / ".cache" / "vbon";
}
}  // namespace vbon::io
