// What run.json says of the files that a command reads.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "program.hpp"
#include "vbon/io/json.hpp"

namespace vbon::program {
/// settings[name] = the place of a file or folder, the same from every working directory; `unless` where none is given.
/// And settings["content of NAME"], a hash of the file or of what a model's folder is read for: what was edited is another
/// setting. Whole models are read for it; keep the result.
/// @throws RunError for a file that cannot be read
void set_place(io::Json& settings, const std::string& name, const std::string& path, const std::string& unless);
/// Both for a model and its adapter.
void set_model(io::Json& settings, const std::string& model, const std::string& adapter);
/// What --bf16 and --reward-bf16 decide; nothing where they were not given, as in runs from before there were such flags.
void set_bf16(io::Json& settings, bool bf16, const Common& common);
/// The same for the file or folder in a reward's argument, where it has one.
void set_reward(io::Json& settings, const std::string& name, const std::string& reward, const std::string& unless);

/// A reward's argument without the label that may stand behind a classifier's folder: the file or folder that is read,
/// where the reward reads one.
std::string reward_place(const std::string& reward);

/// The settings as a report shows them.
std::vector<std::pair<std::string, std::string>> settings_as_texts(const io::Json& settings);

/// @throws ConfigError when a file that the command reads lies in the run that --overwrite is to remove
void refuse_inside(const std::filesystem::path& out, const std::string& flag, const std::string& path);
}  // namespace vbon::program
