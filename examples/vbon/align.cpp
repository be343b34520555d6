// vbon align: from a model, a reward and prompts to an aligned model and a report.
//
//   load -> reward -> prompts -> reference cache -> warm start -> vbon -> save -> evaluate -> report
//
// Every stage leaves its result in the run folder, so a run that was stopped goes on where it was.
#include <algorithm>
#include <chrono>
#include <optional>

#include "align_data.hpp"
#include "align_options.hpp"
#include "models.hpp"
#include "objectives.hpp"
#include "reporting.hpp"
#include "settings.hpp"
#include "vbon/core/registry.hpp"
#include "vbon/eval/evaluate.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/train/probe.hpp"
#include "vbon/train/progress.hpp"
#include "vbon/train/run_folder.hpp"
#include "vbon/train/trainer.hpp"

namespace vbon::program {
namespace {
using train::Progress;

/// The stages of the run with the time each took.
class Stages {
 public:
  explicit Stages(const Common& common) : common_(common) {}
  void begin(const std::string& name) {
    end();
    name_ = name;
    start_ = std::chrono::steady_clock::now();
  }
  void end() {
    if (name_.empty()) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    times_.emplace_back(name_, seconds);
    name_.clear();
  }
  /// A bar for the stage that runs.
  std::unique_ptr<Progress> bar(Index total, Index done = 0) const {
    return std::make_unique<Progress>(stderr, common_.quiet ? Progress::Style::silent : Progress::style_for(stderr), name_,
                                      total, done);
  }
  const std::vector<std::pair<std::string, double>>& times() const { return times_; }
  std::vector<std::pair<std::string, std::string>> in_words() const {
    std::vector<std::pair<std::string, std::string>> out;
    double total = 0;
    for (const auto& [name, seconds] : times_) out.emplace_back(name, train::in_words(seconds)), total += seconds;
    out.emplace_back("all stages of this start", train::in_words(total));
    return out;
  }

 private:
  const Common& common_;
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  std::vector<std::pair<std::string, double>> times_;
};

std::string figures(const train::Metrics& metrics) {
  char text[96];
  const double kl = train::metric(metrics, "kl_k1");
  if (std::isnan(kl))
    std::snprintf(text, sizeof(text), "loss %.3f", train::metric(metrics, "loss"));
  else
    std::snprintf(text, sizeof(text), "reward %.3f  win rate %.3f  KL %.3f", train::metric(metrics, "reward"),
                  train::metric(metrics, "win_rate"), kl);
  return text;
}

rollout::ReferenceCache references(Policy& reference, const reward::Any& reward, const std::vector<Prompt>& prompts,
                                   const std::filesystem::path& file, Index samples, RngKey key, const Stages& stages) {
  std::unique_ptr<Progress> bar;
  const rollout::CacheOptions options{.samples = samples,
                                      .key = key,
                                      .sampler = reference.sampler_settings(),
                                      .file = file,
                                      .batch = 256,
                                      .progress = [&](Index done, Index total) {
                                        if (!bar) bar = stages.bar(total, done);
                                        bar->update(done);
                                        return !stop_requested();
                                      }};
  return rollout::ReferenceCache(reference, reward, prompts, options);
}

/// Reward and win rate on a few held-out prompts: the row of a periodic evaluation.
train::Metrics glance(Policy& policy, const reward::Any& reward, std::span<const Prompt> prompts,
                      const rollout::ReferenceCache& pool, RngKey key) {
  const RolloutBatch batch = rollout::collect(policy, reward, prompts, 4, key);
  double win = 0;
  for (Index p = 0; p < batch.prompts(); ++p) {
    const auto begin = batch.group_offset[static_cast<std::size_t>(p)];
    win += eval::win_rate(std::span(batch.reward.data() + begin, static_cast<std::size_t>(batch.samples(p))),
                          std::span<const double>(pool.find(prompts[static_cast<std::size_t>(p)].text).reward));
  }
  return {{"reward", batch.reward.mean()}, {"win_rate", win / static_cast<double>(batch.prompts())}};
}

train::Draw draw_from_name(std::string_view flag, const std::string& name) {
  const std::pair<std::string_view, train::Draw> known[] = {{"outer", train::Draw::outer},
                                                            {"best", train::Draw::best},
                                                            {"uniform", train::Draw::uniform},
                                                            {"all", train::Draw::all}};
  for (const auto& [one, draw] : known)
    if (one == name) return draw;
  throw ConfigError(message("unknown ", flag, " '", name, "'; known: outer, best, uniform, all"));
}

std::vector<train::Phase> phases(const AlignOptions& o) {
  std::vector<train::Phase> all;
  all.push_back({.name = "warm_start",
                 .source = train::Source::cache,
                 .draw = draw_from_name("--warm-draw", o.warm_draw),
                 .objective = make_objective(o.warm_objective, {o.n, o.max_new_tokens}),
                 .steps = o.warm_steps,
                 .prompts = o.warm_prompts,
                 .samples = o.warm_samples,
                 .rate = o.warm_learning_rate,
                 .schedule = {.decay = optim::decay_from_name(o.decay), .warmup = o.warmup, .total = o.warm_steps + 1},
                 .n = o.n});
  if (o.warm_steps == 0) all.clear();  // its names were checked all the same
  all.push_back({.name = "align",
                 .draw = draw_from_name("--draw", o.draw),
                 .objective = make_objective(o.objective, {o.n, o.max_new_tokens}),
                 .steps = o.steps,
                 .prompts = o.step_prompts,
                 .samples = o.samples,
                 .updates = o.updates,
                 .rate = o.learning_rate,
                 .schedule = {.decay = optim::decay_from_name(o.decay), .warmup = o.warmup, .total = o.steps + 1},
                 .critic_rate = o.critic_learning_rate,
                 .n = o.n});
  auto& last = all.back();
  if (!last.objective.streams && last.objective.needs.min_group == 0) last.source = train::Source::cache;
  if (!o.pairs.empty()) {
    static const std::vector<Preference> some = {{.prompt = {}, .chosen = {0}, .rejected = {0}}};
    last.source = train::Source::pairs;
    last.pairs = some;  // stands for those of the file until the model is there to read them
  }
  if (o.anchor_eta) last.objective.anchor = {.eta = *o.anchor_eta, .swap_every = 0};
  if (o.anchor_swap_every) last.objective.anchor = {.eta = 0, .swap_every = *o.anchor_swap_every};
  return all;
}

int align(const AlignOptions& o) {
  begin(o.common);
  o.check();
  auto plan = phases(o);  // a wrong name is told before anything is loaded
  for (const auto& phase : plan) train::probe(phase, o.references);
  const auto cdf = make_cdf(o.estimator);
  train::RunFolder run(o.out,
                       {"align",
                        {"model", "adapter", "reward", "plots", "references.jsonl", "held_out.jsonl", "metrics.jsonl",
                         "metrics.csv", "timing.jsonl", "times.json", "report.json", "report.html"}},
                       o.settings(), o.overwrite);
  if (run.replaces())
    for (const auto& [flag, path] : {std::pair{"--model", o.model},
                                     {"--prompts", o.prompts},
                                     {"--pairs", o.pairs},
                                     {"--evaluation-prompts", o.evaluation_prompts},
                                     {"--reward", name_and_argument(o.reward).second}})
      refuse_inside(run.path(), flag, path);
  if (run.resumed()) remark(o.common, "going on with the run in " + run.path().string());
  Stages stages(o.common);

  stages.begin("load model");
  Policy policy = Policy::load(o.model);
  if (o.lora.rank > 0) policy.adapt(o.lora, RngKey{o.common.seed, 0}.fold(105));
  policy.sampler().temperature = o.temperature;
  policy.sampler().max_new_tokens = o.max_new_tokens;
  const AlignData data = prepare_data(o, run, policy, [&](const std::string& stage) { stages.begin(stage); });
  remark(o.common, data.summary);
  Policy reference = policy.reference();

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
  policy.save(run.path() / "model");
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
                              .settings = o.texts(),
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
