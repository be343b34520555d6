// vbon export: a model in another format, with an adapter merged into it.
#include <filesystem>
#include <optional>

#include "models.hpp"
#include "save_format.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/policy/peft.hpp"
#include "vbon/policy/save_gguf.hpp"
#include "vbon/reward/text_files.hpp"

namespace vbon::program {
namespace {
struct ExportOptions {
  Common common;
  std::string model, adapter, out, format, dtype = "f32", shard_size = "5GB";
  bool overwrite = false;

  /// @throws ConfigError for a format of another name
  bool gguf() const {
    if (format.empty()) return model::is_gguf(out);
    require<ConfigError>(format == "gguf" || format == "folder", "unknown --format '", format, "'; known: folder, gguf");
    return format == "gguf";
  }
};

/// What lies there is replaced only when that was asked for, and never what is read.
void require_place(const ExportOptions& o, bool gguf) {
  const std::filesystem::path out = o.out;
  std::error_code ignored;
  for (const auto& [what, path] : {std::pair{"model", o.model}, {"adapter", o.adapter}})
    require<ConfigError>(path.empty() || !std::filesystem::equivalent(path, out, ignored), "--out ", o.out, " is the ", what,
                         " that is read; give another place");
  if (!std::filesystem::exists(out)) return;
  require<ConfigError>(std::filesystem::is_directory(out) != gguf, "--out ", o.out, " is a ", gguf ? "folder" : "file",
                       ", but a GGUF model is a file and the other format a folder; give another place");
  require<ConfigError>(o.overwrite || (!gguf && std::filesystem::is_empty(out)), "--out ", o.out,
                       " is there already; give another place, or --overwrite to write over it");
}

enum class Kind { policy, encoder, scorer };
/// What a place holds, by its config.json.
Kind kind_of(const std::string& place) {
  const auto file = std::filesystem::path(place) / "config.json";
  if (place.empty() || !std::filesystem::is_directory(place) || !std::filesystem::exists(file)) return Kind::policy;
  const io::Json json = io::read_json(file);
  const model::ConfigReader config(json, file.string());
  if (config.has({"model_type"}) && has_entry<model::EncoderFamilies>(config.text({"model_type"}))) return Kind::encoder;
  model::Shape common;
  model::read_common(config, common);
  return common.labels > 0 ? Kind::scorer : Kind::policy;
}
/// Rewards: an encoder, or a causal language model with a score head, with the files that their text needs.
void export_reward(Kind kind, const ExportOptions& o, const model::SaveOptions& options) {
  if (kind == Kind::encoder)
    model::EncoderCheckpoint::load(o.model).save(o.out, options.dtype, options.shard_bytes);
  else
    model::save_causal_lm(model::load_causal_lm(o.model), o.out, options);
  reward::copy_text_files(o.model, o.out);
}

int export_model(const ExportOptions& o) {
  begin(o.common);
  require<ConfigError>(!o.out.empty(), "--out is missing; give a path that ends with .gguf, or a folder");
  const bool gguf = o.gguf();
  require<ConfigError>(!gguf || o.shard_size == ExportOptions().shard_size,
                       "--shard-size is for folders: a GGUF model is one file");
  const SavedType& type = saved_type("--dtype", o.dtype);
  const model::SaveOptions folder_options{.dtype = gguf ? io::Dtype::f32 : folder_type("--dtype", o.dtype),
                                          .shard_bytes = byte_count("--shard-size", o.shard_size)};
  const Kind kind = kind_of(o.model);
  require<ConfigError>(kind == Kind::policy || !gguf, o.model,
                       " is a reward model, which goes into folders only: GGUF files have no score head here; give --out a "
                       "folder");
  require<ConfigError>(kind == Kind::policy || o.adapter.empty(), "--adapter is of policies, and ", o.model,
                       " is a reward model; leave it out");
  require_place(o, gguf);

  const bool is_new = !std::filesystem::exists(o.out);
  std::optional<policy::CausalLmPolicy<Cpu>> read;
  if (kind == Kind::policy) {
    read.emplace(policy::load<Cpu>(o.model.empty() ? cached(default_model, "a path") : std::filesystem::path(o.model)));
    if (!o.adapter.empty()) policy::load_adapter(read->model(), o.adapter);
  }
  try {
    if (const auto parent = std::filesystem::path(o.out).parent_path(); gguf && !parent.empty()) io::make_folder(parent);
    if (!read)
      export_reward(kind, o, folder_options);
    else if (gguf)
      policy::save_gguf(*read, o.out, type.gguf);
    else
      policy::save(*read, o.out, folder_options);
  } catch (const Error&) {
    std::error_code holds_something;
    if (is_new) std::filesystem::remove(o.out, holds_something);  // an empty folder would be in the way of the next try
    throw;
  }
  print_line(o.out);
  return 0;
}
}  // namespace

void add_export(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand(
      "export", "Writes a policy or a reward model in another format: a Hugging Face folder, or a GGUF file of a policy");
  auto o = std::make_shared<ExportOptions>();
  c->footer(
      "Examples:\n"
      "  vbon export run/model --out model.gguf --dtype q8_0                     for llama.cpp\n"
      "  vbon export MODEL --adapter run/adapter --out merged --dtype bf16       for transformers");
  c->add_option("model,--model", o->model, "GGUF file or Hugging Face folder; by default the fetched SmolLM2-135M-Instruct")
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  c->add_option("--adapter", o->adapter, "LoRA adapter of that model, a peft folder; it is merged into the weights");
  c->add_option("--out", o->out, "where to write: a path that ends with .gguf, or a folder");
  c->add_option("--format", o->format, "folder or gguf; by default as the ending of --out says");
  c->add_option("--dtype", o->dtype, "type of the numbers: f32, f16, bf16; q8_0 or q4_0 in a GGUF file")->capture_default_str();
  c->add_option("--shard-size", o->shard_size, "a folder's weights are split into files of this size at most")
      ->capture_default_str();
  c->add_flag("--overwrite", o->overwrite, "write over what is there");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return export_model(*o); }; });
}
}  // namespace vbon::program
