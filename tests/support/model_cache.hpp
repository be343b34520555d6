// The folder of downloaded models, for tests that run only where it is there.
#pragma once
#include <filesystem>
#include <string>

#include "support/conformance.hpp"
#include "vbon/io/cache_folder.hpp"

namespace vbon::test {
/// A file or folder in the cache; where it is absent the unit is skipped and the path comes back empty.
inline std::filesystem::path cached_model(const std::string& name, Report& report) {
  const auto path = io::cache_folder() / name;
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
