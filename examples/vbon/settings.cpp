#include "settings.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

#include "program.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/registry.hpp"
#include "vbon/reward/classifier_place.hpp"

namespace vbon::program {
namespace {
std::filesystem::path whole_path(const std::filesystem::path& path) {
  return std::filesystem::absolute(path).lexically_normal();
}
/// Of a file, or of the weights, settings and vocabularies in a folder, with their names. Other files there, as answers
/// that are written beside a model, are nothing that a model is read from.
std::string fingerprint(const std::filesystem::path& path) {
  static const std::set<std::string> read_from_folders = {".json", ".safetensors", ".txt", ".model", ".jinja"};
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(path)) {
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.is_regular_file() && read_from_folders.contains(entry.path().extension().string()))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  } else {
    files.push_back(path);
  }
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  std::vector<char> buffer(std::size_t{1} << 20);  // not mapped: a whole model would count as memory of the program
  for (const auto& file : files) {
    const std::string name = file.filename().string();
    XXH3_64bits_update(&state, name.data(), name.size());
    std::ifstream in(file, std::ios::binary);
    require<RunError>(in.is_open(), "cannot open ", file.string(), ": ", std::strerror(errno));
    do {
      in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      XXH3_64bits_update(&state, buffer.data(), static_cast<std::size_t>(in.gcount()));
    } while (in);
    require<RunError>(in.eof(), "cannot read ", file.string());
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(&state)));
  return text;
}
}  // namespace

void set_place(io::Json& settings, const std::string& name, const std::string& path, const std::string& unless) {
  settings[name] = path.empty() ? unless : whole_path(path).string();
  std::error_code unknown;
  if (std::filesystem::is_regular_file(path, unknown) || std::filesystem::is_directory(path, unknown))
    settings["content of " + name] = fingerprint(path);
}

void set_model(io::Json& settings, const std::string& model, const std::string& adapter) {
  set_place(settings, "model", model, "SmolLM2-135M-Instruct");
  set_place(settings, "adapter", adapter, "none");
}

void set_bf16(io::Json& settings, bool bf16, const Common& common) {
  if (bf16) settings["bf16"] = true;
  if (common.reward_bf16) settings["reward-bf16"] = true;
}

void set_reward(io::Json& settings, const std::string& name, const std::string& reward, const std::string& unless) {
  settings[name] = reward.empty() ? unless : reward;
  const auto [kind, argument] = name_and_argument(reward);
  const std::string place = reward_place(reward), label = argument.substr(place.size());
  std::error_code unknown;  // a long command is no path
  if (place.empty() || !std::filesystem::exists(place, unknown)) return;
  set_place(settings, name, place, "");
  settings[name] = kind + ":" + settings[name].get<std::string>() + label;
}

std::string reward_place(const std::string& reward) {
  const auto [kind, argument] = name_and_argument(reward);
  return same_name(kind, "classifier") ? reward::classifier_place(argument).folder : argument;
}

std::vector<std::pair<std::string, std::string>> settings_as_texts(const io::Json& settings) {
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& [name, value] : settings.items())
    texts.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  return texts;
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
