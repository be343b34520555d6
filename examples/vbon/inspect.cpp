// vbon inspect: what a file or folder holds, and what this program knows by name.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "align_options.hpp"
#include "decoders.hpp"
#include "models.hpp"
#include "objectives.hpp"
#include "vbon/core/registry.hpp"
#include "vbon/eval/evaluate.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/model/gguf_config.hpp"
#include "vbon/model/load.hpp"
#include "vbon/policy/lora.hpp"
#include "vbon/rollout/reference_cache.hpp"
#include "vbon/text/tokenizer.hpp"
#include "vbon/train/memory.hpp"
#include "vbon/train/memory_plan.hpp"

namespace vbon::program {
namespace {
/// The job whose memory is planned. What is not given is the default of the command that it is planned for.
struct PlannedJob {
  std::optional<Index> samples, max_new_tokens, prompt_count;
  Index prompt_tokens = 16;
  AlignOptions align;  // the other defaults
};
struct InspectOptions {
  Common common;
  std::string what;
  bool tensors = false;
  PlannedJob job;
};

void line(std::string_view name, const std::string& value) {
  print_line(std::string(name) + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') + value);
}
std::string megabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f MB", bytes / 1e6);
  return text;
}
std::string dimensions(const std::vector<Index>& shape) {
  std::string out;
  for (const Index d : shape) out += (out.empty() ? "" : " x ") + std::to_string(d);
  return out;
}

void print_tokenizer(const text::Tokenizer& tokenizer) {
  const auto name = [&](std::optional<TokenId> id) {
    return id ? message(*id, " ", tokenizer.token(*id)) : std::string("none");
  };
  line("tokenizer", message(tokenizer.vocab_size(), " ids, begin ", name(tokenizer.bos()), ", end ", name(tokenizer.eos())));
  line("chat template",
       tokenizer.chat_template().empty() ? "none" : message(tokenizer.chat_template().size(), " characters"));
}

void print_shape(const model::Shape& shape, double parameters) {
  line("family", shape.family);
  line("parameters", message(static_cast<std::int64_t>(parameters)));
  line("layers", message(shape.layers, " of width ", shape.width, ", hidden ", shape.inner));
  line("heads", message(shape.heads, " (", shape.kv_heads, " for keys and values) of ", shape.head_dim));
  line("vocabulary", message(shape.vocab, shape.tied ? ", head tied to the embedding" : ""));
  line("context", message(shape.context, " tokens"));
}

void print_plan(std::string_view name, const train::MemoryPlan& plan) {
  std::string parts;
  for (const auto& [part, bytes] : plan.part)
    if (bytes > 0) parts += (parts.empty() ? "" : ", ") + part + " " + megabytes(static_cast<double>(bytes));
  line(name, megabytes(static_cast<double>(plan.bytes())) + " (to " + plan.stage + ": " + parts + ")");
}
/// What the commands sample and align will hold at most. Call it when the tokenizer is loaded: what this process holds
/// then, those hold too.
/// @param tensors  of the checkpoint
void print_memory(const InspectOptions& o, const model::Shape& shape, std::size_t tensors, bool gguf) {
  if (static_cast<std::size_t>(shape.layers) > tensors) return;  // damaged, and too large to be laid out
  const PlannedJob& job = o.job;
  const train::PlannedModel model{.shape = shape,
                                  .gguf = gguf,
                                  .overhead = static_cast<Index>(train::resident_megabytes() * 1e6),
                                  .threads = o.common.threads > 0 ? o.common.threads : available_threads()};
  // As long as the context allows; what was asked for beyond it cannot be sampled.
  const Index asked = job.prompt_tokens + job.max_new_tokens.value_or(1);
  if (asked > shape.context) {
    line("memory",
         message("no plan: a prompt of ", job.prompt_tokens, " tokens (--prompt-tokens) and a response of ",
                 job.max_new_tokens.value_or(1), " (--max-new-tokens) do not fit into the context of ", shape.context));
    return;
  }
  const Index room = shape.context - job.prompt_tokens;
  // As many prompts at once as the commands take (sample.cpp; rollout::CacheOptions::batch; eval::EvaluationOptions::batch).
  const auto sampling = [&](Index prompts, Index samples, Index tokens) {
    return train::PlannedSampling{.prompts = std::max<Index>(1, std::min(job.prompt_count.value_or(prompts), prompts)),
                                  .samples = samples,
                                  .prompt_tokens = job.prompt_tokens,
                                  .new_tokens = job.max_new_tokens.value_or(std::min(tokens, room))};
  };
  const Index drawn = job.samples.value_or(1);
  print_plan("memory to sample", train::plan_sampling(model, sampling(job.prompt_count ? 64 / drawn : 1, drawn, 64)));
  const AlignOptions& a = job.align;
  train::PlannedAlignment alignment{
      .references = sampling(256 / a.references, a.references, a.max_new_tokens),
      .step = sampling(a.step_prompts, job.samples.value_or(a.samples), a.max_new_tokens),
      .evaluation = sampling(eval::EvaluationOptions{}.batch, a.evaluation_samples, a.max_new_tokens),
      .micro_batch = a.micro_batch,
      .recompute = a.recompute};
  print_plan("memory to align", train::plan_alignment(model, alignment));
  alignment.lora_rank = a.lora.rank > 0 ? a.lora.rank : 8;
  model::Parameters layout;  // names and sizes only
  const model::Network network = model::build_network(model::find_family(shape.family), shape, layout);
  alignment.adapted = policy::select_modules(model::lora_modules(layout, network), shape.family,
                                             policy::LoraTargets::parse(a.lora.targets), "--lora-targets");
  print_plan(message("with --lora-rank ", alignment.lora_rank), train::plan_alignment(model, alignment));
}

void inspect_gguf(const InspectOptions& o) {
  const auto file = io::GgufFile::open(o.what);
  line("file", o.what + " (GGUF)");
  const auto shape = model::read_shape(file);
  double parameters = 0;
  std::map<std::string, int> types;
  for (const auto& tensor : file.tensors()) {
    parameters += static_cast<double>(tensor.size);
    ++types[std::string(block_format(tensor.type).name)];
  }
  print_shape(shape, parameters);
  std::string list;
  for (const auto& [type, tensors] : types) list += (list.empty() ? "" : ", ") + message(tensors, " ", type);
  line("tensors", list);
  const auto tokenizer = text::Tokenizer::from_gguf(file);
  print_tokenizer(tokenizer);
  print_memory(o, shape, file.tensors().size(), true);
  if (o.tensors)
    for (const auto& tensor : file.tensors())
      line(block_format(tensor.type).name, tensor.name + "  " + dimensions(tensor.shape));
}

void inspect_folder(const InspectOptions& o) {
  const std::filesystem::path folder = o.what;
  const auto config_path = model::config_file(folder);
  const io::Json config = io::read_json(config_path);
  const auto architectures = model::ConfigReader(config, config_path.string()).texts({"architectures"});
  line("folder", o.what);
  line("architecture", architectures.empty() ? "not said" : architectures[0]);
  const auto file = io::ShardedSafetensors::open(folder);
  double parameters = 0;
  std::map<std::string, int> types;
  for (const auto& name : file.names()) {
    const auto& info = file.info(name);
    parameters += static_cast<double>(info.size);
    ++types[std::string(io::dtype_format(info.dtype).name)];
  }
  std::optional<model::Shape> shape;
  try {
    shape = model::read_shape(model::ConfigReader(config, config_path.string()));
    print_shape(*shape, parameters);
  } catch (const ConfigError& error) {  // an encoder, or a family that is not known as a causal model
    line("parameters", message(static_cast<std::int64_t>(parameters)));
    line("as a policy", std::string("no: ") + error.what());
  }
  std::string list;
  for (const auto& [type, tensors] : types) list += (list.empty() ? "" : ", ") + message(tensors, " ", type);
  line("tensors", list);
  std::optional<text::Tokenizer> tokenizer;
  if (std::filesystem::exists(folder / "tokenizer.json")) {
    tokenizer = text::Tokenizer::from_json(folder);
    print_tokenizer(*tokenizer);
  }
  if (shape && shape->labels == 0) print_memory(o, *shape, file.names().size(), false);
  if (o.tensors)
    for (const auto& name : file.names())
      line(io::dtype_format(file.info(name).dtype).name, std::string(name) + "  " + dimensions(file.info(name).shape));
}

/// The object under a key of a file that align wrote.
const io::Json& object_in(const io::Json& parent, const char* key, const std::filesystem::path& file) {
  const io::Json* value = io::json_find(parent, key);
  require<FormatError>(value != nullptr && value->is_object(), file.string(), ": an object under \"", key,
                       "\" expected, as 'vbon align' writes it");
  return *value;
}

void inspect_run(const InspectOptions& o) {
  const auto file = std::filesystem::path(o.what) / "run.json";
  const auto run = io::read_json(file);
  const io::Json& settings = object_in(run, "settings", file);
  const bool finished = io::json_get_or<bool>(run, "finished", false, file.string());
  line("run", o.what + (finished ? " (finished)" : " (not finished: the same command goes on with it)"));
  for (const auto& [name, value] : settings.items()) line(name, value.is_string() ? value.get<std::string>() : value.dump());
  const auto report = std::filesystem::path(o.what) / "report.json";
  if (!std::filesystem::exists(report)) return;
  const auto result = io::read_json(report);
  const auto figure = [&](const char* measure, const char* key) {
    return io::json_get_or<double>(object_in(result, measure, report), key, NAN,
                                   message(report.string(), ": \"", measure, "\""));
  };
  const double low = figure("win_rate", "low_95"), high = figure("win_rate", "high_95");
  line("win rate", message(figure("win_rate", "value")) +
                       (std::isnan(low) || std::isnan(high) ? " (no interval)" : message(" [", low, ", ", high, "]")));
  line("KL", message(figure("kl", "value"), " nats"));
}

void inspect_cache(const InspectOptions& o) {
  const auto cache = rollout::ReferenceCache::load(o.what);
  Index responses = 0, infinite = 0;
  double sum = 0;
  for (const auto& entry : cache.entries())
    for (const double r : entry.reward) {
      ++responses;
      if (std::isinf(r))
        ++infinite;
      else
        sum += r;
    }
  std::string rewards;
  if (infinite < responses) rewards = message(", mean reward ", sum / static_cast<double>(responses - infinite));
  if (infinite > 0) rewards += message(rewards.empty() ? "" : " without the infinite ones", ", ", infinite, " infinite");
  line("reference cache", o.what);
  line("prompts", message(cache.prompts()));
  line("responses", message(responses, rewards));
  line("tokens", cache.entries()[0].token.empty() ? "none, texts only" : "yes");
  line("sampler", cache.entries()[0].sampler.is_null() ? "not said" : cache.entries()[0].sampler.dump());
}

int inspect(const InspectOptions& o) {
  begin(o.common);
  const AlignOptions& planned = o.job.align;
  for (const auto& [flag, value] : {std::pair{"--samples", o.job.samples.value_or(1)},
                                    {"--max-new-tokens", o.job.max_new_tokens.value_or(1)},
                                    {"--prompt-tokens", o.job.prompt_tokens},
                                    {"--prompt-count", o.job.prompt_count.value_or(1)},
                                    {"--step-prompts", planned.step_prompts},
                                    {"--references", planned.references},
                                    {"--evaluation-samples", planned.evaluation_samples},
                                    {"--micro-batch", planned.micro_batch}})
    check_count(flag, value, 1);
  check_count("--lora-rank", planned.lora.rank, 0);
  if (same_name(o.what, "objectives")) return print_line(list_objectives()), 0;
  if (same_name(o.what, "decoders")) return print_line(list_decoders()), 0;
  if (same_name(o.what, "estimators")) return print_line(list_estimators()), 0;
  if (same_name(o.what, "rewards")) return print_line(list_rewards()), 0;
  InspectOptions target = o;
  if (target.what.empty()) target.what = cached(default_model, "a path").string();
  const std::filesystem::path path = target.what;
  require<RunError>(std::filesystem::exists(path), path.string(),
                    " does not exist; give a GGUF file, a model folder, a run folder, a reference cache, or one of "
                    "objectives, decoders, estimators, rewards");
  if (std::filesystem::is_directory(path)) {
    if (std::filesystem::exists(path / "run.json"))
      inspect_run(target);
    else
      inspect_folder(target);
  } else if (path.extension() == ".gguf") {
    inspect_gguf(target);
  } else {
    require<FormatError>(path.extension() == ".jsonl", path.string(),
                         " is neither a GGUF file (.gguf) nor a reference cache (.jsonl)");
    inspect_cache(target);
  }
  return 0;
}
}  // namespace

void add_inspect(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("inspect",
                                   "What a model, run or cache holds; names of objectives, decoders, estimators, rewards");
  auto o = std::make_shared<InspectOptions>();
  c->add_option(
      "what", o->what,
      "GGUF file, model folder, run folder, reference cache (.jsonl), or objectives, decoders, estimators, rewards; "
      "by default the fetched model");
  c->add_flag("--tensors", o->tensors, "list every tensor");
  const auto plan = [&](const char* flag, auto& value, const char* help) {
    return c->add_option(flag, value, help)->group("The job whose memory is planned (defaults: of sample and align)");
  };
  plan("--samples", o->job.samples, "responses per prompt (and step)");
  plan("--max-new-tokens", o->job.max_new_tokens, "tokens of a response at most");
  plan("--prompt-tokens", o->job.prompt_tokens, "tokens of a prompt")->capture_default_str();
  plan("--prompt-count", o->job.prompt_count, "prompts of the job, where it has few; sample: 1 where this is not given");
  plan("--step-prompts", o->job.align.step_prompts, "prompts per step")->capture_default_str();
  plan("--references", o->job.align.references, "responses of the reference per prompt")->capture_default_str();
  plan("--evaluation-samples", o->job.align.evaluation_samples, "responses per held-out prompt")->capture_default_str();
  plan("--micro-batch", o->job.align.micro_batch, "responses per backward pass at most")->capture_default_str();
  c->add_flag("--recompute", o->job.align.recompute, "compute activations again in the backward pass, as of align")
      ->group("The job whose memory is planned (defaults: of sample and align)");
  plan("--lora-rank", o->job.align.lora.rank, "rank of an adapter; 0: 8 is shown")->capture_default_str();
  plan("--lora-targets", o->job.align.lora.targets, "linear maps to adapt")->capture_default_str();
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return inspect(*o); }; });
}
}  // namespace vbon::program
