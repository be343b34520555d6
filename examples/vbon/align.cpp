// vbon align: from a model, a reward and prompts to an aligned model and a report.
//
//   load -> reward -> prompts -> reference cache -> warm start -> vbon -> save -> evaluate -> report
//
// Every stage leaves its result in the run folder, so a run that was stopped goes on where it was.
#include <algorithm>
#include <optional>

#include "align_data.hpp"
#include "align_options.hpp"
#include "answers.hpp"
#include "models.hpp"
#include "objectives.hpp"
#include "reporting.hpp"
#include "save_format.hpp"
#include "settings.hpp"
#include "training.hpp"
#include "vbon/eval/evaluate.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/train/run_folder.hpp"
#include "vbon/train/trainer.hpp"

namespace vbon::program {
namespace {
/// Flags that no objective of this run looks at.
void refuse_unread(const AlignOptions& o, std::span<const train::Phase> plan) {
  const AlignOptions usual;
  const auto none = [&](const auto& reads) { return std::none_of(plan.begin(), plan.end(), reads); };
  const auto refuse = [&](bool given, const char* flag, const char* what) {
    require<ConfigError>(!given, flag, ": objective '", plan.back().objective.name, "' has no ", what, "; leave it out");
  };
  if (none([](const auto& p) { return p.objective.needs.anchor_log_prob || p.objective.needs.anchor_group > 0; })) {
    refuse(o.anchor_eta.has_value(), "--anchor-eta", "anchor");
    refuse(o.anchor_swap_every.has_value(), "--anchor-swap-every", "anchor");
  }
  if (none([](const auto& p) { return p.objective.needs.value; }))
    refuse(o.critic_learning_rate != usual.critic_learning_rate, "--critic-learning-rate", "critic");
  if (none([](const auto& p) { return p.objective.needs.answer; }))
    refuse(!o.answer_pattern.empty(), "--answer-pattern", "answers that agree");
  if (!plan.back().from_cache()) refuse(o.draw != usual.draw, "--draw", "cached responses");
}

using train::Progress;

int align(const AlignOptions& o) {
  begin(o.common);
  o.check();
  auto plan = phases(o);  // a wrong name is told before anything is loaded
  refuse_unread(o, plan);
  try_out(plan, o);
  const auto cdf = make_cdf(o.estimator);
  const io::Json settings = o.settings();
  train::RunFolder run(o.out,
                       {"align",
                        {"model", "adapter", "reward", "plots", "references.jsonl", "held_out.jsonl", "metrics.jsonl",
                         "metrics.csv", "timing.jsonl", "times.json", "report.json", "report.html"}},
                       settings, o.overwrite);
  refuse_own_inputs(o, run);
  if (run.resumed()) remark(o.common, "going on with the run in " + run.path().string());
  Stages stages(o.common);

  stages.begin("load model");
  Policy loaded = starting_policy(o);
  const AlignData data = prepare_data(o, run, loaded, [&](const std::string& stage) { stages.begin(stage); });
  remark(o.common, data.summary);
  // An adapter is trained where it was put, on weights that both have in common. Of weights that move the reference keeps
  // what was loaded, in the bits of its file, and a copy moves.
  Policy second = loaded.reference();
  Policy& policy = o.lora.rank > 0 ? loaded : second;
  Policy& reference = o.lora.rank > 0 ? second : loaded;

  const RngKey seed{o.common.seed, 0};
  rollout::ReferenceCache cache;
  for (auto& phase : plan)
    if (phase.from_pairs()) phase.pairs = data.pairs;
  if (!std::all_of(plan.begin(), plan.end(), [](const auto& phase) { return phase.from_pairs(); })) {
    stages.begin("references");
    cache = references(reference, data.reward, data.training, run.path() / "references.jsonl", o.references, seed.fold(101),
                       stages);
  }
  stages.begin("held-out references");
  const auto pool = references(reference, data.reward, data.held_out, run.path() / "held_out.jsonl", o.evaluation_references,
                               seed.fold(102), stages);

  train::Trainer trainer(policy, reference, data.reward, cache, cdf,
                         optim::AdamW{.beta2 = 0.99, .weight_decay = o.weight_decay},
                         {.seed = o.common.seed,
                          .clip = o.clip,
                          .micro_batch = o.micro_batch,
                          .checkpoint_every = o.checkpoint_every,
                          .evaluate_every = o.evaluate_every,
                          .answer = answer_of(o.answer_pattern),
                          .folder = run.path()});
  std::unique_ptr<Progress> bar;
  std::string current;
  const auto few = std::span(data.held_out).first(std::min<std::size_t>(data.held_out.size(), 32));
  train::Callbacks callbacks;
  callbacks.step = [&](const train::StepReport& report) {
    if (current != report.phase) {
      bar.reset();
      current = report.phase;
      stages.begin(current == "align" ? "align" : "warm start");
      bar = stages.bar(report.steps, report.step - 1);
    }
    bar->update(report.step, figures(report.metrics));
  };
  callbacks.evaluate = [&](Index step) {
    return glance(policy, data.reward, few, pool, seed.fold(104).fold(static_cast<std::uint64_t>(step)));
  };
  callbacks.stop = [] { return stop_requested(); };
  stages.begin("start training");
  const auto outcome = trainer.run(data.training, plan, callbacks);
  bar.reset();
  if (outcome == train::Outcome::stopped) throw RunError("stopped in training, everything is saved", ErrorCode{"stopped"});

  stages.begin("save");
  policy.save(run.path() / "model", folder_type("--save-dtype", o.save_dtype));
  if (o.lora.rank > 0)
    policy.save_adapter(run.path() / "adapter", o.model.empty() ? "HuggingFaceTB/SmolLM2-135M-Instruct" : o.model);
  stages.begin("evaluate");
  eval::EvaluationOptions evaluation{.samples = o.evaluation_samples, .n = o.n, .key = seed.fold(103)};
  evaluation.progress = [&](Index done, Index total) {
    if (!bar) bar = stages.bar(total, done);
    bar->update(done);
    return !stop_requested();
  };
  const auto result = eval::evaluate(policy, reference, data.reward, data.held_out, pool, evaluation);
  bar.reset();
  stages.end();
  eval::ReportContext context{.title = data.title,
                              .curves = training_curves(run.path() / "metrics.jsonl"),
                              .settings = settings_as_texts(settings),
                              .times = stages.in_words()};
  write_report(o.common, run.path(), result, context);
  nlohmann::ordered_json times;
  for (const auto& [name, seconds] : stages.times()) times["seconds"][name] = seconds;
  times["resident_megabytes"] = train::resident_megabytes();
  io::write_file_atomically(run.path() / "times.json", times.dump(1) + "\n");
  print_line("model:  " + (run.path() / "model").string());
  if (o.lora.rank > 0) print_line("adapter: " + (run.path() / "adapter").string());
  run.mark_finished();
  trainer.remove_checkpoints();
  return 0;
}
}  // namespace

void add_align(CLI::App& program, Job& job) {
  auto* command =
      program.add_subcommand("align", "Trains a model so that one sample reads like the best of N under a reward");
  auto options = std::make_shared<AlignOptions>();
  options->add_to(*command);
  command->callback([options, &job] { job = [options] { return align(*options); }; });
}
}  // namespace vbon::program
