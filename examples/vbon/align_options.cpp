#include "align_options.hpp"

#include <cmath>

#include "answers.hpp"
#include "save_format.hpp"
#include "settings.hpp"
#include "vbon/core/error.hpp"

namespace vbon::program {
void AlignOptions::add_to(CLI::App& c) {
  const auto add = [&](const char* flag, auto& value, const std::string& help, const char* group) {
    c.add_option(flag, value, help)->capture_default_str()->group(group);
  };
  c.footer(
      "Without --model, --reward and --prompts the fetched SmolLM2-135M learns to continue film reviews kindly: a reward is "
      "trained on review snippets\n"
      "with human scores, prompts are the first words of other snippets, and further snippets are held out for the "
      "evaluation.\n"
      "Stop with Ctrl-C at any time; the same command goes on where it stopped.");
  const char* what = "What to align";
  add("--model", model, "GGUF file or Hugging Face folder; by default the fetched SmolLM2-135M-Instruct", what);
  add("--reward", reward, std::string(reward_help) + "; by default a sentiment head, trained here on the fetched snippets",
      what);
  add("--prompts", prompts,
      "training prompts, JSON lines {\"prompt\": ...} or {\"messages\": [...]}; by default snippet beginnings", what);
  add("--pairs", pairs,
      "instead of --prompts: preferences to learn from, JSON lines {\"prompt\", \"chosen\", \"rejected\"}, for dpo, ipo and "
      "the other pair losses",
      what);
  add("--evaluation-prompts", evaluation_prompts,
      "held-out prompts; by default a fifth of --prompts or of the prompts of --pairs, chosen by a hash of the text", what);
  add("--out", out, "folder of the run: model/, report.html, metrics, caches, checkpoints", what);
  add("--save-dtype", save_dtype, "of the aligned model's numbers: f32, f16, bf16; 'vbon export' writes other formats",
      what);
  c.add_flag("--overwrite", overwrite, "remove an earlier run in --out first")->group(what);
  const char* target = "The target";
  add("--n", n, "N of best-of-N, any real number >= 1", target);
  add("--objective", objective, "NAME or NAME:option=value,...; see 'vbon inspect objectives'", target);
  add("--estimator", estimator, "how the reference's reward CDF is estimated; see 'vbon inspect estimators'", target);
  add("--answer-pattern", answer_pattern, answer_pattern_help, target);
  const char* responses = "Responses";
  add("--max-new-tokens", max_new_tokens, "tokens of a response at most", responses);
  add("--temperature", temperature, "of sampling, everywhere", responses);
  add("--top-k", top_k, "not possible here: training needs the full vocabulary (see 'vbon sample')", responses);
  add("--top-p", top_p, "not possible here", responses);
  add("--min-p", min_p, "not possible here", responses);
  const char* data = "Data";
  add("--training-prompts", training_prompts, "training prompts to use at most", data);
  add("--references", references, "responses of the reference per training prompt", data);
  add("--evaluation-count", evaluation_count, "held-out prompts to use at most", data);
  add("--evaluation-samples", evaluation_samples, "responses of the aligned policy per held-out prompt", data);
  add("--evaluation-references", evaluation_references, "responses of the reference per held-out prompt", data);
  const char* warm = "Offline warm start (from the reference cache)";
  add("--warm-objective", warm_objective,
      "quantile-regression:centred=true compares cached responses, likelihood imitates them (with --warm-draw best); others "
      "by name",
      warm);
  add("--warm-draw", warm_draw,
      "cached responses a step takes: outer (worst and best quarter), best (as best-of-N would), uniform", warm);
  add("--warm-steps", warm_steps, "optimiser steps; 0: none", warm);
  add("--warm-prompts", warm_prompts, "prompts per step", warm);
  add("--warm-samples", warm_samples, "cached responses per prompt and step", warm);
  add("--warm-learning-rate", warm_learning_rate, "peak learning rate", warm);
  const char* training = "Training (on the policy's own samples)";
  add("--steps", steps, "optimiser steps", training);
  add("--step-prompts", step_prompts, "prompts per step", training);
  add("--samples", samples, "responses per prompt and step", training);
  add("--updates", updates, "optimiser steps per rollout", training);
  add("--learning-rate", learning_rate, "peak learning rate", training);
  add("--draw", draw,
      "cached responses a step takes, for an objective that learns from the cache: uniform, outer, best, all", training);
  add("--critic-learning-rate", critic_learning_rate, "of the critic, for an objective that has one (ppo, vbon_ppo, pfppo)",
      training);
  c.add_option("--anchor-eta", anchor_eta,
               "for an objective with an anchor: the share of the policy it takes in each step (jbond: 0.02)")
      ->group(training);
  c.add_option("--anchor-swap-every", anchor_swap_every, "or: steps after which it becomes the policy (wind: 4)")
      ->group(training);
  add("--decay", decay, "of the learning rate: constant, linear or cosine", training);
  add("--warmup", warmup, "steps of linear warm-up", training);
  add("--weight-decay", weight_decay, "of AdamW", training);
  add("--clip", clip, "bound of the gradient norm", training);
  add("--micro-batch", micro_batch,
      "responses per backward pass at most; less needs less memory, and may be changed when a run is resumed "
      "(gradients then agree to rounding)",
      training);
  c.add_flag("--recompute", recompute, recompute_help)->group(training);
  add("--keep-sampled", keep_sampled, keep_sampled_help, training);
  c.add_flag("--bf16", bf16, message(bf16_help, "; sampling and evaluation too, the reward with --reward-bf16"))
      ->group(training);
  add("--checkpoint-every", checkpoint_every, "steps between checkpoints", training);
  add("--evaluate-every", evaluate_every, "steps between glances at 32 held-out prompts; 0: none", training);
  const char* adapter = "LoRA (train a small adapter instead of all weights)";
  add("--lora-rank", lora.rank,
      "rank of the adapter, as 8; 0: none. The weights are kept once and not changed; it wants a larger learning rate, as "
      "2e-4",
      adapter);
  add("--lora-alpha", lora.alpha, "the adapter is scaled by alpha / rank", adapter);
  c.add_flag("--lora-rslora", lora.rank_stabilized, "scale by alpha / sqrt(rank) instead")->group(adapter);
  add("--lora-targets", lora.targets,
      "linear maps to adapt: names as q_proj,v_proj, regex:PATTERN of whole names, or all-linear", adapter);
  add_common(c, common);
}

void AlignOptions::check() const {
  require<ConfigError>(
      top_k == 0 && top_p == 1 && min_p == 0,
      "--top-k, --top-p and --min-p cannot be used in training: a token outside the kept set has log pi_ref = -inf, so the "
      "log-ratio that is learnt would not exist; truncate when you sample the aligned model (vbon sample)");
  folder_type("--save-dtype", save_dtype);
  check_target(n, temperature);
  answer_of(answer_pattern);
  require<ConfigError>(prompts.empty() || pairs.empty(), "--prompts and --pairs: give one of them, got both");
  for (const auto& [name, value] : {std::pair<const char*, Index>{"--max-new-tokens", max_new_tokens},
                                    {"--training-prompts", training_prompts},
                                    {"--evaluation-count", evaluation_count},
                                    {"--evaluation-samples", evaluation_samples},
                                    {"--step-prompts", step_prompts},
                                    {"--samples", samples},
                                    {"--updates", updates},
                                    {"--warm-prompts", warm_prompts},
                                    {"--warm-samples", warm_samples},
                                    {"--micro-batch", micro_batch}})
    check_count(name, value, 1);
  for (const auto& [name, value] : {std::pair<const char*, Index>{"--steps", steps},
                                    {"--warm-steps", warm_steps},
                                    {"--warmup", warmup},
                                    {"--checkpoint-every", checkpoint_every},
                                    {"--evaluate-every", evaluate_every},
                                    {"--keep-sampled", keep_sampled}})
    check_count(name, value, 0);
  check_count("--references", references, 2);
  check_count("--evaluation-references", evaluation_references, 2);
  const std::pair<const char*, Index> stages[] = {{"--steps", steps}, {"--warm-steps", warm_steps}};
  for (const auto& [name, value] : stages)
    require<ConfigError>(value == 0 || warmup <= value, "--warmup (", warmup, ", ", AlignOptions().warmup,
                         " unless given) <= ", name, " (", value, ") expected; give a smaller --warmup");
  const std::pair<const char*, double> rates[] = {
      {"--learning-rate", learning_rate}, {"--warm-learning-rate", warm_learning_rate}, {"--weight-decay", weight_decay}};
  for (const auto& [name, value] : rates)
    require<ConfigError>(value >= 0 && std::isfinite(value), name, " >= 0 and finite expected, got ", value);
  require<ConfigError>(critic_learning_rate >= 0 && std::isfinite(critic_learning_rate),
                       "--critic-learning-rate >= 0 and finite expected, got ", critic_learning_rate);
  require<ConfigError>(!anchor_eta || !anchor_swap_every, "--anchor-eta and --anchor-swap-every: give one of them");
  if (anchor_eta)
    require<ConfigError>(*anchor_eta >= 0 && *anchor_eta <= 1, "--anchor-eta in [0, 1] expected, got ", *anchor_eta);
  if (anchor_swap_every) check_count("--anchor-swap-every", *anchor_swap_every, 1);
  check_count("--lora-rank", lora.rank, 0);
  const LoraSettings none;
  require<ConfigError>(lora.rank > 0 || (lora.alpha == none.alpha && lora.targets == none.targets && !lora.rank_stabilized),
                       "--lora-alpha, --lora-targets and --lora-rslora need --lora-rank");
  require<ConfigError>(lora.alpha > 0 && std::isfinite(lora.alpha), "--lora-alpha > 0 and finite expected, got ",
                       lora.alpha);
  require<ConfigError>(clip > 0, "--clip > 0 expected (inf: no clipping), got ", clip);
}

io::Json AlignOptions::settings() const {
  io::Json all = numbers();
  set_place(all, "model", model, "SmolLM2-135M-Instruct");
  set_place(all, "prompts", prompts, "snippets");
  set_place(all, "pairs", pairs, "none");
  set_place(all, "evaluation-prompts", evaluation_prompts, "");
  set_reward(all, "reward", reward, "snippets");
  set_bf16(all, bf16, common);
  if (!answer_pattern.empty()) all["answer-pattern"] = answer_pattern;
  if (lora.rank > 0) {
    all["lora-rank"] = lora.rank;
    all["lora-alpha"] = lora.alpha;
    all["lora-rslora"] = lora.rank_stabilized;
    all["lora-targets"] = lora.targets;
  }
  return all;
}

io::Json AlignOptions::numbers() const {
  return {{"n", n},
          {"objective", objective},
          {"estimator", estimator},
          {"max-new-tokens", max_new_tokens},
          {"temperature", temperature},
          {"training-prompts", training_prompts},
          {"references", references},
          {"evaluation-count", evaluation_count},
          {"evaluation-samples", evaluation_samples},
          {"evaluation-references", evaluation_references},
          {"warm-objective", warm_objective},
          {"warm-draw", warm_draw},
          {"warm-steps", warm_steps},
          {"warm-prompts", warm_prompts},
          {"warm-samples", warm_samples},
          {"warm-learning-rate", warm_learning_rate},
          {"steps", steps},
          {"step-prompts", step_prompts},
          {"samples", samples},
          {"updates", updates},
          {"learning-rate", learning_rate},
          {"draw", draw},
          {"critic-learning-rate", critic_learning_rate},
          {"anchor-eta", anchor_eta ? io::Json(*anchor_eta) : io::Json("of the objective")},
          {"anchor-swap-every", anchor_swap_every ? io::Json(*anchor_swap_every) : io::Json("of the objective")},
          {"decay", decay},
          {"warmup", warmup},
          {"weight-decay", weight_decay},
          {"clip", clip},
          {"evaluate-every", evaluate_every},
          {"seed", common.seed}};
}
}  // namespace vbon::program
