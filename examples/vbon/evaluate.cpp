// vbon evaluate: an aligned model against its reference on held-out prompts.
#include "vbon/eval/evaluate.hpp"
#include "models.hpp"
#include "reporting.hpp"
#include "settings.hpp"
#include "vbon/train/progress.hpp"
#include "vbon/train/run_folder.hpp"

namespace vbon::program {
namespace {
struct EvaluateOptions {
  Common common;
  std::string model, adapter, reference, reward, prompts, out = "vbon-evaluation";
  double n = 4, temperature = 1;
  Index samples = 8, references = 16, max_new_tokens = 24, count = 0;
  bool overwrite = false, bf16 = false;

  io::Json settings() const {
    io::Json all = {{"n", n},
                    {"temperature", temperature},
                    {"samples", samples},
                    {"references", references},
                    {"max-new-tokens", max_new_tokens},
                    {"count", count},
                    {"seed", common.seed}};
    set_place(all, "model", model, "");
    set_place(all, "adapter", adapter, "none");
    set_bf16(all, bf16, common);
    set_place(all, "reference", reference, "SmolLM2-135M-Instruct");
    set_place(all, "prompts", prompts, "");
    set_reward(all, "reward", reward, "");
    return all;
  }
};

int evaluate(const EvaluateOptions& o) {
  begin(o.common);
  for (const auto& [flag, value] :
       {std::pair{"--model", &o.model}, {"--reward", &o.reward}, {"--prompts", &o.prompts}, {"--out", &o.out}})
    require<ConfigError>(!value->empty(), flag, " is missing; see 'vbon evaluate --help'");
  check_count("--samples", o.samples, 1);
  check_count("--references", o.references, 2);
  check_count("--max-new-tokens", o.max_new_tokens, 1);
  check_count("--count", o.count, 0);
  check_target(o.n, o.temperature);
  train::RunFolder run(o.out, {"evaluate", {"references.jsonl", "plots", "report.json", "report.html"}}, o.settings(),
                       o.overwrite);
  if (run.resumed()) remark(o.common, "going on with the evaluation in " + run.path().string());
  if (run.replaces())
    for (const auto& [flag, path] : {std::pair{"--model", o.model},
                                     {"--adapter", o.adapter},
                                     {"--reference", o.reference},
                                     {"--prompts", o.prompts},
                                     {"--reward", reward_place(o.reward)}})
      refuse_inside(run.path(), flag, path);
  const reward::Any reward = open_reward(o.reward, o.common);
  remark_bf16(o.common, o.bf16);
  Policy policy = Policy::load(o.model, o.adapter, o.bf16);
  const bool same_weights = !o.adapter.empty() && o.reference == o.model;
  Policy reference = same_weights ? policy.reference() : Policy::load(o.reference, {}, o.bf16);
  for (Policy* one : {&policy, &reference}) {
    one->sampler().temperature = o.temperature;
    one->sampler().max_new_tokens = o.max_new_tokens;
  }
  require<ConfigError>(policy.vocabulary() == reference.vocabulary(), "--model has ", policy.vocabulary(),
                       " tokens and --reference ", reference.vocabulary(), "; they must share a vocabulary");
  auto prompts = distinct(policy.load_prompts(o.prompts), o.prompts, o.common);
  if (o.count > 0 && static_cast<std::size_t>(o.count) < prompts.size()) prompts.resize(static_cast<std::size_t>(o.count));

  run.begin();
  const RngKey seed{o.common.seed, 0};
  const auto style = o.common.quiet ? train::Progress::Style::silent : train::Progress::style_for(stderr);
  std::unique_ptr<train::Progress> bar;
  const auto progress = [&](const char* title) {
    return [&bar, title, style](Index done, Index total) {
      if (!bar) bar = std::make_unique<train::Progress>(stderr, style, title, total, done);
      bar->update(done);
      return !stop_requested();
    };
  };
  const rollout::ReferenceCache pool(reference, reward, prompts,
                                     {.samples = o.references,
                                      .key = seed.fold(102),
                                      .sampler = reference.sampler_settings(),
                                      .file = run.path() / "references.jsonl",
                                      .batch = 256,
                                      .progress = progress("references")});
  bar.reset();
  const auto result =
      eval::evaluate(policy, reference, reward, prompts, pool,
                     {.samples = o.samples, .n = o.n, .key = seed.fold(103), .progress = progress("evaluate")});
  bar.reset();
  write_report(o.common, run.path(), result,
               {.title = "Evaluation of " + std::filesystem::path(o.model).filename().string(),
                .settings = {{"model", o.model},
                             {"adapter", o.adapter.empty() ? "none" : o.adapter},
                             {"reference", o.reference},
                             {"reward", o.reward},
                             {"prompts", o.prompts}}});
  run.mark_finished();
  return 0;
}
}  // namespace

void add_evaluate(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("evaluate", "Win rate and KL of an aligned model against its reference, with a report");
  auto o = std::make_shared<EvaluateOptions>();
  c->footer(
      "Example: vbon evaluate --model vbon-run/model --reward encoder_head:vbon-run/reward --prompts held_out.jsonl --out "
      "evaluation");
  c->add_option("--model", o->model, "the aligned model: GGUF file or Hugging Face folder");
  c->add_option("--adapter", o->adapter, "LoRA adapter of that model, a peft folder");
  c->add_flag("--bf16", o->bf16, bf16_help);
  c->add_option("--reference", o->reference, "what it was aligned from; by default the fetched SmolLM2-135M-Instruct");
  c->add_option("--reward", o->reward, reward_help);
  c->add_option("--prompts", o->prompts, "JSON lines {\"prompt\": ...} or {\"messages\": [...]}");
  c->add_option("--out", o->out, "folder for report.html, report.json and the reference responses")->capture_default_str();
  c->add_option("--n", o->n, "N of the best-of-N it is held against")->capture_default_str();
  c->add_option("--samples", o->samples, "responses of the model per prompt")->capture_default_str();
  c->add_option("--references", o->references, "responses of the reference per prompt")->capture_default_str();
  c->add_option("--count", o->count, "prompts to use at most; 0: all")->capture_default_str();
  c->add_option("--max-new-tokens", o->max_new_tokens, "tokens of a response at most")->capture_default_str();
  c->add_option("--temperature", o->temperature, "of sampling")->capture_default_str();
  c->add_flag("--overwrite", o->overwrite, "remove an earlier evaluation in --out first");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return evaluate(*o); }; });
}
}  // namespace vbon::program
