// vbon inspect of models: sizes, tokenizer, labels, and the memory that jobs with them will take.
#include <algorithm>
#include <map>
#include <memory>

#include "inspect.hpp"
#include "models.hpp"
#include "vbon/core/registry.hpp"
#include "vbon/eval/evaluate.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/gguf_config.hpp"
#include "vbon/model/load.hpp"
#include "vbon/policy/lora.hpp"
#include "vbon/policy/peft.hpp"
#include "vbon/reward/causal_scorer.hpp"
#include "vbon/reward/encoder_text.hpp"
#include "vbon/reward/label.hpp"
#include "vbon/reward/memory_plan.hpp"
#include "vbon/reward/sentence_encoder.hpp"
#include "vbon/text/tokenizer.hpp"
#include "vbon/train/memory.hpp"
#include "vbon/train/memory_plan.hpp"

namespace vbon::program {
namespace {
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
kernel::Precision planned_precision(const InspectOptions& o) {
  return o.job.align.bf16 ? kernel::Precision::bfloat16 : kernel::Precision::float32;
}
/// What the commands sample and align will hold at most. Call it when the tokenizer is loaded: what this process holds
/// then, those hold too.
void print_memory(const InspectOptions& o, const model::Shape& shape, const model::WeightSizes& weights) {
  const PlannedJob& job = o.job;
  const train::PlannedModel model{.shape = shape,
                                  .weights = weights,
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
      .other_passes = a.warm_steps > 0 || a.updates > 1,
      .recompute = a.recompute,
      .recorded_bytes = a.keep_sampled << 20};
  print_plan("memory to align", train::plan_alignment(model, alignment));
  alignment.lora_rank = a.lora.rank > 0 ? a.lora.rank : 8;
  model::Parameters<> layout;  // names and sizes only
  const model::Network network = model::build_network(model::find_family(shape.family), shape, layout);
  alignment.adapted = policy::select_modules(model::lora_modules(layout, network), shape.family,
                                             policy::LoraTargets::parse(a.lora.targets), "--lora-targets");
  print_plan(message("with --lora-rank ", alignment.lora_rank), train::plan_alignment(model, alignment));
}

/// Sums over the tensors of a checkpoint.
struct TensorCounts {
  double parameters = 0;
  std::map<std::string, int> types = {};

  void add(std::string_view type, Index size) {
    parameters += static_cast<double>(size);
    ++types[std::string(type)];
  }
  std::string list() const {
    std::string out;
    for (const auto& [type, tensors] : types) out += (out.empty() ? "" : ", ") + message(tensors, " ", type);
    return out;
  }
};
template <class File>
TensorCounts count_tensors(const File& file) {
  TensorCounts counts;
  for (const auto& name : file.names()) counts.add(io::dtype_format(file.info(name).dtype).name, file.info(name).size);
  return counts;
}
template <class File>
void list_tensors(const File& file) {
  for (const auto& name : file.names())
    line(io::dtype_format(file.info(name).dtype).name, std::string(name) + "  " + dimensions(file.info(name).shape));
}

/// The outputs of a score head, and which of them `--reward classifier:FOLDER` takes.
void print_labels(const io::Json& config, Index labels, const std::string& folder) {
  if (labels == 1) return line("labels", "1: the reward is the output itself");
  const auto names = reward::label_names(config, labels);
  std::string list;
  for (std::size_t k = 0; k < names.size(); ++k) list += (k > 0 ? ", " : "") + message(k, ' ', names[k]);
  if (labels == 2) {
    const auto chosen = static_cast<std::size_t>(reward::choose_label(config, labels, "", folder));
    return line("labels", list + message("; the reward is the log-odds of ", names[chosen],
                                         ", or as chosen: classifier:", folder, ",label=NAME_OR_NUMBER"));
  }
  line("labels", list + message("; choose one: classifier:", folder, ",label=NAME_OR_NUMBER"));
}

reward::PlannedScoring planned_scoring(const InspectOptions& o, Index tokens, Index longest) {
  return {.overhead = static_cast<Index>(train::resident_megabytes() * 1e6),
          .threads = o.common.threads > 0 ? o.common.threads : available_threads(),
          .tokens = tokens,
          .longest = longest,
          .precision = planned_precision(o)};
}

void inspect_causal_folder(const InspectOptions& o, const model::ConfigReader& config, const io::Json& json,
                           const std::shared_ptr<const io::ShardedSafetensors>& weights) {
  const io::ShardedSafetensors& file = *weights;
  const TensorCounts counts = count_tensors(file);
  std::optional<model::Shape> readable;
  try {
    readable = model::read_shape(config);
    print_shape(*readable, counts.parameters);
  } catch (const ConfigError& error) {  // another family, or a choice that this one does not have here
    line("parameters", message(static_cast<std::int64_t>(counts.parameters)));
    line("as a policy", std::string("no: ") + error.what());
  }
  line("tensors", counts.list());
  std::optional<text::Tokenizer> tokenizer;  // what the plans begin with
  if (std::filesystem::exists(std::filesystem::path(o.what) / "tokenizer.json")) {
    tokenizer = text::Tokenizer::from_json(o.what);
    print_tokenizer(*tokenizer);
  }
  if (!readable) return;
  const model::Shape& shape = *readable;
  const model::TensorSource source = model::tensor_source(weights);
  const model::WeightSizes sizes =
      model::weight_sizes(shape, source, planned_precision(o));  // or what the weights contradict
  if (shape.labels == 0) return print_memory(o, shape, sizes);
  line("as a policy", "no: it gives scores");
  print_labels(json, shape.labels, o.what);
  print_plan("memory to score",
             reward::plan_scoring(shape, sizes, planned_scoring(o, reward::CausalScorer::batch_tokens, shape.context)));
}

void inspect_encoder_folder(const InspectOptions& o, const model::ConfigReader& config, const io::Json& json,
                            const io::ShardedSafetensors& file) {
  const auto family = model::find_encoder_family(config.text({"model_type"}));
  const model::EncoderShape shape = model::read_encoder_shape(config, file);
  model::find_tensors(file, model::Encoder(shape, family.names));
  const TensorCounts counts = count_tensors(file);
  line("family", config.text({"model_type"}) + ", an encoder: a reward, no policy");
  line("parameters", message(static_cast<std::int64_t>(counts.parameters)));
  line("layers", message(shape.layers, " of width ", shape.width, ", hidden ", shape.intermediate));
  line("heads", message(shape.heads, " of ", shape.width / shape.heads));
  line("vocabulary", message(shape.vocabulary));
  line("context", message(shape.max_length(), " tokens"));
  line("tensors", counts.list());
  std::optional<reward::EncoderText> text;  // what the plan begins with
  if (std::filesystem::exists(std::filesystem::path(o.what) / "tokenizer.json")) {
    text.emplace(o.what, shape);
    line("tokenizer", message(text->tokenizer().vocab_size(), " ids; texts are cut to ", text->max_length(), " tokens"));
  }
  if (shape.labels > 0) {
    print_labels(json, shape.labels, o.what);
  } else {
    const model::Pooling pooling = reward::read_pooling(o.what);
    line("pooling", std::string(name_of(pooling.mode)) + (pooling.normalize ? ", to length 1" : ""));
    line("labels", "none: a body for 'vbon train-reward'");
  }
  print_plan("memory to score", reward::plan_scoring(shape, family.names,
                                                     planned_scoring(o, reward::EncoderText::batch_tokens,
                                                                     text ? text->max_length() : shape.max_length())));
}

/// The names of a list, or the pattern.
std::string targets_text(const policy::LoraTargets& targets) {
  if (!targets.pattern.empty()) return "regex:" + targets.pattern;
  if (targets.names.empty()) return "all-linear";
  std::string out;
  for (const auto& name : targets.names) out += (out.empty() ? "" : ",") + name;
  return out;
}
void inspect_adapter(const InspectOptions& o) {
  const std::filesystem::path folder = o.what;
  const policy::PeftConfig config = policy::read_peft_config(folder);
  const auto file = io::SafetensorsFile::open(folder / policy::peft_tensor_file);
  const TensorCounts counts = count_tensors(file);
  line("adapter", o.what + (config.options.rank_stabilized ? " (rank-stabilised LoRA)" : " (LoRA)"));
  line("base model", config.base.empty() ? "not said" : config.base);
  line("rank", message(config.options.rank, ", alpha ", config.options.alpha, ", scale ", config.options.scale()));
  line("targets", targets_text(config.targets));
  if (config.excludes) line("without", targets_text(config.excluded));
  line("parameters", message(static_cast<std::int64_t>(counts.parameters)));
  line("tensors", counts.list());
  if (o.tensors) list_tensors(file);
}
}  // namespace

void inspect_gguf(const InspectOptions& o) {
  const auto file = std::make_shared<const io::GgufFile>(io::GgufFile::open(o.what));
  line("file", o.what + " (GGUF)");
  const auto shape = model::read_shape(*file);
  TensorCounts counts;
  for (const auto& tensor : file->tensors()) counts.add(block_format(tensor.type).name, tensor.size);
  print_shape(shape, counts.parameters);
  line("tensors", counts.list());
  const auto tokenizer = text::Tokenizer::from_gguf(*file);
  print_tokenizer(tokenizer);
  print_memory(o, shape, model::weight_sizes(shape, model::tensor_source(file), planned_precision(o)));
  if (o.tensors)
    for (const auto& tensor : file->tensors())
      line(block_format(tensor.type).name, tensor.name + "  " + dimensions(tensor.shape));
}

void inspect_model_folder(const InspectOptions& o) {
  const std::filesystem::path folder = o.what;
  if (policy::is_adapter(folder)) return inspect_adapter(o);
  const auto config_path = model::config_file(folder);
  const io::Json json = io::read_json(config_path);
  const model::ConfigReader config(json, config_path.string());
  const auto architectures = config.texts({"architectures"});
  line("folder", o.what);
  line("architecture", architectures.empty() ? "not said" : architectures[0]);
  const auto weights = std::make_shared<const io::ShardedSafetensors>(io::ShardedSafetensors::open(folder));
  const auto& file = *weights;
  if (config.has({"model_type"}) && has_entry<model::EncoderFamilies>(config.text({"model_type"})))
    inspect_encoder_folder(o, config, json, file);
  else
    inspect_causal_folder(o, config, json, weights);
  if (o.tensors) list_tensors(file);
}
}  // namespace vbon::program
