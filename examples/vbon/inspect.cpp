// vbon inspect: what a file or folder holds, and what this program knows by name.
#include "inspect.hpp"

#include <cmath>

#include "decoders.hpp"
#include "objectives.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/rollout/reference_cache.hpp"

namespace vbon::program {
namespace {
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
                                    {"--updates", planned.updates},
                                    {"--micro-batch", planned.micro_batch}})
    check_count(flag, value, 1);
  check_count("--lora-rank", planned.lora.rank, 0);
  check_count("--keep-sampled", planned.keep_sampled, 0);
  check_count("--warm-steps", planned.warm_steps, 0);
  if (same_name(o.what, "objectives")) return print_line(list_objectives()), 0;
  if (same_name(o.what, "decoders")) return print_line(list_decoders()), 0;
  if (same_name(o.what, "estimators")) return print_line(list_estimators()), 0;
  if (same_name(o.what, "rewards")) return print_line(list_rewards()), 0;
  InspectOptions target = o;
  if (target.what.empty()) target.what = cached(default_model, "a path").string();
  const std::filesystem::path path = target.what;
  require<RunError>(
      std::filesystem::exists(path), path.string(),
      " does not exist; give a GGUF file, a model or adapter folder, a run folder, a reference cache, or one of "
      "objectives, decoders, estimators, rewards");
  if (std::filesystem::is_directory(path)) {
    if (std::filesystem::exists(path / "run.json"))
      inspect_run(target);
    else
      inspect_model_folder(target);
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
  c->add_option("what", o->what,
                "GGUF file, folder of a model or an adapter, run folder, reference cache (.jsonl), or objectives, decoders, "
                "estimators, rewards; by default the fetched model");
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
  plan("--warm-steps", o->job.align.warm_steps, "optimiser steps on cached responses; 0: none")->capture_default_str();
  plan("--updates", o->job.align.updates, "optimiser steps per rollout")->capture_default_str();
  plan("--micro-batch", o->job.align.micro_batch, "responses per backward pass at most")->capture_default_str();
  c->add_flag("--recompute", o->job.align.recompute, "compute activations again in the backward pass, as of align")
      ->group("The job whose memory is planned (defaults: of sample and align)");
  plan("--keep-sampled", o->job.align.keep_sampled, "megabytes at most for the activations of what a step has drawn")
      ->capture_default_str();
  c->add_flag("--bf16", o->job.align.bf16, "compute in bfloat16, as of sample and align; a reward as by --reward-bf16")
      ->group("The job whose memory is planned (defaults: of sample and align)");
  plan("--lora-rank", o->job.align.lora.rank, "rank of an adapter; 0: 8 is shown")->capture_default_str();
  plan("--lora-targets", o->job.align.lora.targets, "linear maps to adapt")->capture_default_str();
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return inspect(*o); }; });
}
}  // namespace vbon::program
