// vbon/policy/peft.hpp
//
// LoRA adapters as folders of the peft library: adapter_config.json and adapter_model.safetensors with
//
//   base_model.model.MODULE.lora_A.weight [r, in],   base_model.model.MODULE.lora_B.weight [out, r]
//
// Of the many variants the config can name, plain LoRA and rsLoRA are read; the others compute something
// else and are refused by the name of their entry.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/safetensors.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/io/write_safetensors.hpp"
#include "vbon/model/config.hpp"
#include "vbon/policy/lora.hpp"

namespace vbon::policy {
inline constexpr const char* peft_config_file = "adapter_config.json";
inline constexpr const char* peft_tensor_file = "adapter_model.safetensors";

/// True for a folder with an adapter and no model of its own.
inline bool is_adapter(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / peft_config_file) && !std::filesystem::exists(folder / "config.json");
}

/// What an adapter_config.json says.
struct PeftConfig {
  model::LoraOptions options;
  LoraTargets targets, excluded;
  bool excludes = false;
  std::string base;  // name or folder of the base model; empty: not said
};

namespace detail {
inline constexpr std::string_view peft_prefix = "base_model.model.";

/// An entry that says nothing: peft writes all of them, mostly so.
template <class = void>
bool is_neutral(const io::Json& value) {
  return value.is_null() || value == false || value == "" || ((value.is_array() || value.is_object()) && value.empty());
}

/// A list of names, or a pattern.
template <class = void>
LoraTargets read_targets(const io::Json& value, const std::string& where) {
  LoraTargets targets;
  if (value.is_array())
    for (const io::Json& name : value) targets.names.push_back(io::json_as<std::string>(name, where));
  else
    targets.pattern = io::json_as<std::string>(value, where);
  std::string lower = targets.pattern;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (lower == "all-linear") targets.pattern.clear();
  return targets;
}

/// peft adapts embeddings too, and whatever else the config names: nothing of it may pass unnoticed.
/// @throws ConfigError naming a module of the base that is a target and no linear map of its blocks
template <class = void>
void refuse_other_targets(const model::CausalLm& model, const PeftConfig& config, const std::string& file) {
  const ModuleMatch wanted(config.targets, file + ": target_modules");
  const ModuleMatch excluded(config.excluded, file + ": exclude_modules");
  const auto linear = model::lora_modules(model.parameters(), model.network());
  for (const auto& parameter : model.parameters().list()) {
    const std::string module = parameter.name.substr(0, parameter.name.rfind('.'));
    const bool adapted = std::any_of(linear.begin(), linear.end(), [&](const auto& m) { return m.name == module; });
    require<ConfigError>(adapted || !wanted(module) || excluded(module), file, ": target_modules names ", module,
                         "; only linear maps of the blocks can be adapted (", known_modules(linear), ")");
  }
}

template <class = void>
std::string peft_name(const model::LoraModule& module, char letter) {
  return std::string(peft_prefix) + module.name + ".lora_" + letter + ".weight";
}
}  // namespace detail

/// @throws RunError for a folder without it, FormatError, ConfigError naming the entry: another method than LoRA, or a
///         variant of it that is not supported
template <class = void>
PeftConfig read_peft_config(const std::filesystem::path& folder) {
  require<RunError>(std::filesystem::is_directory(folder), "adapter: ", folder.string(),
                    std::filesystem::exists(folder) ? ": a folder with adapter_config.json expected" : ": no such folder");
  const auto file = folder / peft_config_file;
  require<RunError>(std::filesystem::exists(file), "adapter: ", folder.string(), " holds no ", peft_config_file,
                    "; give a folder of peft, or 'adapter' of a run of vbon align with --lora-rank");
  const io::Json json = io::read_json(file);
  const model::ConfigReader config(json, file.string());
  const std::string type = config.text({"peft_type"});
  require<ConfigError>(type == "LORA", file.string(), ": peft_type '", type, "' is not supported; LORA is");
  const std::string bias = config.text_or({"bias"}, "none");
  require<ConfigError>(bias == "none", file.string(), ": bias '", bias, "' is not supported: trained biases; 'none' is");
  if (const io::Json* init = io::json_find(json, "init_lora_weights"); init != nullptr && init->is_string()) {
    // These draw A and B only; the others change the base's weights.
    const auto name = init->get<std::string>();
    require<ConfigError>(name == "gaussian" || name == "orthogonal" || name == "eva", file.string(), ": init_lora_weights '",
                         name, "' is not supported: it changes the weights of the base");
  }
  // Read here or above, or without effect on what a trained adapter computes: dropout is for training, and how the
  // base stores its weights is the base's to say.
  static const std::set<std::string_view> understood = {"peft_type",
                                                        "r",
                                                        "lora_alpha",
                                                        "use_rslora",
                                                        "target_modules",
                                                        "bias",
                                                        "exclude_modules",
                                                        "lora_dropout",
                                                        "fan_in_fan_out",
                                                        "init_lora_weights",
                                                        "task_type",
                                                        "auto_mapping",
                                                        "peft_version",
                                                        "revision",
                                                        "base_model_name_or_path",
                                                        "inference_mode",
                                                        "megatron_core",
                                                        "qalora_group_size"};
  for (const auto& [name, value] : json.items())
    require<ConfigError>(understood.contains(name) || detail::is_neutral(value), file.string(), ": ", name, " = ",
                         io::excerpt(value.dump(-1, ' ', true, io::Json::error_handler_t::replace)),
                         " is not supported; an adapter without it is");

  PeftConfig out;
  out.options = {.rank = config.integer({"r"}),
                 .alpha = config.number_or({"lora_alpha"}, 8),
                 .rank_stabilized = config.flag_or({"use_rslora"}, false)};
  require<ConfigError>(out.options.rank >= 1, file.string(), ": r >= 1 expected, got ", out.options.rank);
  if (const io::Json* base = io::json_find(json, "base_model_name_or_path"); base != nullptr && base->is_string())
    out.base = base->get<std::string>();
  const io::Json* targets = io::json_find(json, "target_modules");
  require<ConfigError>(targets != nullptr && !detail::is_neutral(*targets), file.string(),
                       ": target_modules is missing: names, a pattern or \"all-linear\" expected");
  out.targets = detail::read_targets(*targets, file.string() + ": target_modules");
  if (const io::Json* excluded = io::json_find(json, "exclude_modules");
      excluded != nullptr && !detail::is_neutral(*excluded)) {
    out.excluded = detail::read_targets(*excluded, file.string() + ": exclude_modules");
    out.excludes = true;
  }
  return out;
}

/// Puts an adapter of a peft folder on a model, in place of one that is there; the model is frozen from then on.
///
/// @throws RunError     when a file is missing
/// @throws ConfigError  naming the entry: another method than LoRA, a variant of it that is not supported, targets
///                      the model does not have
/// @throws FormatError  naming the tensor that is missing, has no place, or has another shape than this base needs
template <class = void>
void load_adapter(model::CausalLm& model, const std::filesystem::path& folder) {
  const PeftConfig config = read_peft_config(folder);
  const auto config_file = folder / peft_config_file;
  auto modules = select_modules(model, config.targets, config_file.string() + ": target_modules");
  if (config.excludes) {
    const detail::ModuleMatch excluded(config.excluded, config_file.string() + ": exclude_modules");
    std::erase_if(modules, [&](const auto& m) { return excluded(m.name); });
    require<ConfigError>(!modules.empty(), config_file.string(), ": exclude_modules leaves no target");
  }
  detail::refuse_other_targets(model, config, config_file.string());

  const auto file = io::SafetensorsFile::open(folder / peft_tensor_file);
  std::set<std::string> expected;
  const auto check = [&](const std::string& name, const std::vector<Index>& shape) {
    require<FormatError>(file.contains(name), file.path(), ": there is no tensor \"", name, "\" of shape ",
                         io::shape_text(shape));
    require<FormatError>(file.info(name).shape == shape, file.path(), ": tensor \"", name, "\" has shape ",
                         io::shape_text(file.info(name).shape), ", ", io::shape_text(shape),
                         " expected from the base and the rank");
    expected.insert(name);
  };
  for (const auto& m : modules) {
    check(detail::peft_name(m, 'A'), {config.options.rank, m.inputs});
    check(detail::peft_name(m, 'B'), {m.outputs, config.options.rank});
  }
  for (const std::string& name : file.names())
    require<FormatError>(expected.contains(name), file.path(), ": tensor \"", name,
                         "\" has no place: the base has no such linear map, or the config does not name it");

  model::LoraAdapter adapter(std::move(modules), config.options);
  for (std::size_t i = 0; i < adapter.modules().size(); ++i) {
    const model::LoraModule& m = adapter.modules()[i];
    file.read_f32(detail::peft_name(m, 'A'), adapter.parameters().value(adapter.number_of_a(i)));
    Tensor<float> stored(m.outputs, config.options.rank);
    file.read_f32(detail::peft_name(m, 'B'), stored);
    model::arrange(m.rows, stored, adapter.parameters().value(adapter.number_of_b(i)));
  }
  model.attach(std::move(adapter));
}

/// Writes the adapter of a model as a folder that peft loads, F32.
/// @param base_name  where peft finds the base, for base_model_name_or_path; may be empty
/// @throws ConfigError when the model has no adapter, RunError when the disk is full
template <class Json = io::Json>
void save_adapter(const model::CausalLm& model, const std::filesystem::path& folder, const std::string& base_name = {}) {
  require<ConfigError>(model.adapter() != nullptr, "save_adapter: this model has no adapter");
  const model::LoraAdapter& adapter = *model.adapter();
  const Index rank = adapter.options().rank;
  std::vector<Tensor<float>> rearranged;
  rearranged.reserve(adapter.modules().size());  // the list below points into it
  std::vector<io::TensorToWrite> tensors;
  std::set<std::string> short_names, whole_names;
  for (std::size_t i = 0; i < adapter.modules().size(); ++i) {
    const model::LoraModule& m = adapter.modules()[i];
    const View<const float> a = adapter.parameters().value(adapter.number_of_a(i));
    const View<float> b = rearranged.emplace_back(m.outputs, rank).view();
    model::arrange_back(m.rows, adapter.parameters().value(adapter.number_of_b(i)), b);
    tensors.push_back({.name = detail::peft_name(m, 'A'), .shape = {rank, m.inputs}, .values = a.span()});
    tensors.push_back({.name = detail::peft_name(m, 'B'), .shape = {m.outputs, rank}, .values = b.span()});
    short_names.insert(detail::last_part(m.name));
    whole_names.insert(m.name);
  }
  // The last part of the names says it all, unless only some layers are adapted.
  const LoraTargets by_last_part{.names = {short_names.begin(), short_names.end()}};
  const bool all_layers = select_modules(model, by_last_part, "save_adapter").size() == adapter.modules().size();

  const double alpha = adapter.options().alpha;
  const bool whole = alpha == std::floor(alpha) && alpha < 1e15;
  const Json nothing = nullptr;
  const Json config = {{"peft_type", "LORA"},
                       {"task_type", model.shape().labels > 0 ? nothing : Json("CAUSAL_LM")},
                       {"base_model_name_or_path", base_name.empty() ? nothing : Json(base_name)},
                       {"r", rank},
                       {"lora_alpha", whole ? Json(static_cast<std::int64_t>(alpha)) : Json(alpha)},
                       {"lora_dropout", 0.0},
                       {"use_rslora", adapter.options().rank_stabilized},
                       {"target_modules", all_layers ? short_names : whole_names},
                       {"fan_in_fan_out", model.family().conv1d},
                       {"bias", "none"},
                       {"init_lora_weights", true},
                       {"modules_to_save", nothing},
                       {"inference_mode", true}};
  io::make_folder(folder);
  io::write_safetensors(folder / peft_tensor_file, tensors);
  io::write_file_atomically(folder / peft_config_file, config.dump(2) + "\n");
}
}  // namespace vbon::policy
