// The folder of downloaded models: $VBON_CACHE, else $XDG_CACHE_HOME/vbon, else ~/.cache/vbon.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/conformance.hpp"

namespace vbon::test {
inline std::filesystem::path model_cache() {
  if (const char* cache = std::getenv("VBON_CACHE")) return cache;
  if (const char* cache = std::getenv("XDG_CACHE_HOME")) return std::filesystem::path(cache) / "vbon";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/") / ".cache" / "vbon";
}
/// A file or folder in the cache; where it is absent the unit is skipped and the path comes back empty.
inline std::filesystem::path cached_model(const std::string& name, Report& report) {
  const auto path = model_cache() / name;
  if (std::filesystem::exists(path)) return path;
  report.skip(path.string() + " is not there; fetch the models first", true);
  return {};
}
/// The only GGUF file of a folder in the cache.
inline std::filesystem::path cached_gguf(const std::string& folder, Report& report) {
  const auto path = cached_model(folder, report);
  if (path.empty()) return {};
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.path().extension() == ".gguf") return entry.path();
  report.skip(path.string() + " holds no GGUF file", true);
  return {};
}
}  // namespace vbon::test
