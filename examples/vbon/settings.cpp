#include "settings.hpp"

#include <cstdio>

#include "program.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/io/mapped_file.hpp"

namespace vbon::program {
namespace {
std::filesystem::path whole_path(const std::filesystem::path& path) {
  return std::filesystem::absolute(path).lexically_normal();
}
std::string fingerprint(const std::filesystem::path& path) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(stable_hash(io::MappedFile(path).text())));
  return text;
}
}  // namespace

void set_place(io::Json& settings, const std::string& name, const std::string& path, const std::string& unless,
               bool content) {
  settings[name] = path.empty() ? unless : whole_path(path).string();
  if (content && std::filesystem::is_regular_file(path)) settings["content of " + name] = fingerprint(path);
}

void set_reward(io::Json& settings, const std::string& reward, const std::string& unless) {
  settings["reward"] = reward.empty() ? unless : reward;
  const auto [name, argument] = name_and_argument(reward);
  std::error_code unknown;  // a long command is no path
  if (argument.empty() || !std::filesystem::exists(argument, unknown)) return;
  set_place(settings, "reward", argument, "", true);
  settings["reward"] = name + ":" + settings["reward"].get<std::string>();
}

void refuse_inside(const std::filesystem::path& out, const std::string& flag, const std::string& path) {
  std::error_code unknown;
  if (path.empty() || !std::filesystem::exists(path, unknown)) return;
  const auto folder = std::filesystem::weakly_canonical(out), file = std::filesystem::weakly_canonical(path);
  const auto [rest, end] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  require<ConfigError>(rest != folder.end(), flag, " ", path, " lies in ", out.string(),
                       ", which --overwrite would remove; choose another --out or copy it first");
}
}  // namespace vbon::program
