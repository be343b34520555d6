#include "training.hpp"

#include "objectives.hpp"
#include "option_value.hpp"
#include "settings.hpp"
#include "vbon/eval/win_rate.hpp"
#include "vbon/rollout/collect.hpp"
#include "vbon/train/probe.hpp"

namespace vbon::program {
void refuse_own_inputs(const AlignOptions& o, const train::RunFolder& run) {
  if (!run.replaces()) return;
  for (const auto& [flag, path] : {std::pair{"--model", o.model},
                                   {"--prompts", o.prompts},
                                   {"--pairs", o.pairs},
                                   {"--evaluation-prompts", o.evaluation_prompts},
                                   {"--reward", reward_place(o.reward)}})
    refuse_inside(run.path(), flag, path);
}

Policy starting_policy(const AlignOptions& o) {
  remark_bf16(o.common, o.bf16);
  Policy policy = Policy::load(o.model, {}, o.bf16);
  if (o.lora.rank > 0) policy.adapt(o.lora, RngKey{o.common.seed, 0}.fold(105));
  if (o.recompute) policy.recompute();
  policy.keep_sampled(o.keep_sampled);
  policy.sampler().temperature = o.temperature;
  policy.sampler().max_new_tokens = o.max_new_tokens;
  return policy;
}

std::string figures(const train::Metrics& metrics) {
  // A data set of preferences has no win rate, an objective that does not read the reference no KL.
  std::string text;
  const std::pair<const char*, const char*> shown[] = {{"reward", "reward"}, {"win rate", "win_rate"}, {"KL", "kl_k1"}};
  const bool judged = !std::isnan(train::metric(metrics, "win_rate"));
  const auto add = [&](const char* label, double value) {
    char one[48];
    std::snprintf(one, sizeof(one), "%s%s %.3f", text.empty() ? "" : "  ", label, value);
    text += one;
  };
  for (const auto& [label, name] : shown)
    if (const double value = train::metric(metrics, name); judged && !std::isnan(value)) add(label, value);
  if (!judged) add("loss", train::metric(metrics, "loss"));
  return text;
}

rollout::ReferenceCache references(Policy& reference, const reward::Any& reward, const std::vector<Prompt>& prompts,
                                   const std::filesystem::path& file, Index samples, RngKey key, const Stages& stages) {
  std::unique_ptr<train::Progress> bar;
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

namespace {
train::Draw draw_from_name(std::string_view flag, const std::string& name) {
  const std::pair<std::string_view, train::Draw> known[] = {{"outer", train::Draw::outer},
                                                            {"best", train::Draw::best},
                                                            {"uniform", train::Draw::uniform},
                                                            {"all", train::Draw::all}};
  for (const auto& [one, draw] : known)
    if (one == name) return draw;
  throw ConfigError(message("unknown ", flag, " '", name, "'; known: outer, best, uniform, all"));
}
}  // namespace

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
    require<ConfigError>(!given_option("--objective", name_and_argument(o.objective).second, "pairs"), "--objective ",
                         o.objective,
                         ": the option pairs makes pairs from samples, and --pairs brings them; give one of the two");
    static const std::vector<Preference> some = {{.prompt = {}, .chosen = {0}, .rejected = {0}}};
    last.source = train::Source::pairs;
    last.pairs = some;  // stands for those of the file until the model is there to read them
  }
  if (o.anchor_eta) last.objective.anchor = {.eta = *o.anchor_eta, .swap_every = 0};
  if (o.anchor_swap_every) last.objective.anchor = {.eta = 0, .swap_every = *o.anchor_swap_every};
  return all;
}

void try_out(const std::vector<train::Phase>& plan, const AlignOptions& o) {
  for (const auto& phase : plan) {
    try {
      train::probe(phase, o.references);
    } catch (const ConfigError& error) {
      if (error.code() != "cache_too_small" && error.code() != "group_too_small") throw;
      const bool warm = phase.name == "warm_start";
      throw ConfigError(
          message(error.what(), "; a step takes ", warm ? "--warm-samples" : "--samples", " responses of each of ",
                  warm ? "--warm-prompts" : "--step-prompts", " prompts",
                  phase.from_cache() ? message(", and ", warm ? "--warm-draw" : "--draw", " all takes all --references")
                                     : std::string()),
          ErrorCode{std::string(error.code())});
    }
  }
}
}  // namespace vbon::program
