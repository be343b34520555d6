// vbon calibrate: responses with the reward a decoder would follow and a truer one, and how far to follow the first.
#include "decoders.hpp"
#include "option_value.hpp"
#include "output_file.hpp"
#include "prompt_source.hpp"
#include "settings.hpp"
#include "vbon/eval/calibration.hpp"
#include "vbon/rollout/collect.hpp"
#include "vbon/train/progress.hpp"

namespace vbon::program {
namespace {
struct CalibrateOptions {
  Common common;
  std::string model, adapter, reward, true_reward, out;
  PromptSource source;
  Index samples = 32, max_new_tokens = 64;
  double temperature = 1;
  bool bf16 = false;

  /// What decides the lines.
  io::Json settings() const {
    io::Json all;
    set_model(all, model, adapter);
    set_bf16(all, bf16, common);
    set_reward(all, "reward", reward, "");
    set_reward(all, "true-reward", true_reward, "");
    all["samples"] = samples;
    all["max-new-tokens"] = max_new_tokens;
    all["temperature"] = temperature;
    all["seed"] = common.seed;
    return all;
  }
};

/// The curve of a decoder, and its top. The decoders that draw a number of their own draw it as `hedge` lets them by
/// default.
std::string curve_in_words(const eval::Calibration& calibration, eval::Hedged what, Index samples) {
  using enum eval::Hedged;
  eval::HedgeGrid grid;
  grid.largest = samples;
  grid.n = std::min(grid.n, samples);
  const auto curve = eval::hedge_curve(calibration, what, grid);
  const auto choice = eval::hedge_choice(curve);
  std::string out = message(eval::setting_name(what), " of ", option_text(what));
  if (what == soft_best_of_n) out += message(" with n = ", grid.n);
  if (what == pessimism) out += " with a large n";
  out += ":";
  for (const auto& point : curve) out += message("  ", option_text(point.setting), ": ", option_text(point.value));
  out += message("\n  largest true reward at ", option_text(curve[choice.index].setting));
  if (what == best_of_n || what == best_of_poisson) {
    if (choice.at_end) out += ", the end of the curve: it may rise further with more --samples";
  } else if (choice.last_ties && choice.index > 0) {
    out += what == soft_best_of_n ? ", which is best_of_n" : ", where all weight is on the best";
  }
  return out;
}

int calibrate(const CalibrateOptions& o) {
  begin(o.common);
  o.source.check();
  require<ConfigError>(!o.reward.empty(), "--reward is missing; ", reward_help);
  require<ConfigError>(!o.true_reward.empty(), "--true-reward is missing; ", reward_help);
  require<ConfigError>(!o.out.empty(), "--out is missing; name the file for the pairs of rewards, as calibration.jsonl");
  check_count("--samples", o.samples, 2);
  check_count("--max-new-tokens", o.max_new_tokens, 1);
  check_target(1, o.temperature);
  const reward::Any proxy = open_reward(o.reward, o.common), truth = open_reward(o.true_reward, o.common);
  remark_bf16(o.common, o.bf16);
  Policy policy = Policy::load(o.model, o.adapter, o.bf16);
  policy.sampler().max_new_tokens = o.max_new_tokens;
  policy.sampler().temperature = o.temperature;
  const auto prompts = o.source.load(policy);

  const io::Json settings = o.settings();
  const io::FileHandle alone = hold_output(o.out);
  const auto samples = static_cast<std::size_t>(o.samples);
  std::size_t held = 0;  // lines
  read_held(o.out, "vbon calibrate", settings, [&](const io::Json& row, const std::string& where) {
    const std::size_t p = held / samples;
    require<ConfigError>(p < prompts.size(), where, " is for prompt ", p, ", this command has only ", prompts.size(),
                         " prompts; choose another --out");
    require_same_prompt(row, prompts[p].text, p, where);
    ++held;
  });
  io::JsonlWriter file(o.out);
  if (held > 0) remark(o.common, message("going on after ", held, " responses in ", o.out));

  using Style = train::Progress::Style;
  train::Progress bar(stderr, o.common.quiet ? Style::silent : train::Progress::style_for(stderr), "calibrate",
                      static_cast<Index>(prompts.size()), static_cast<Index>(held / samples));
  for (std::size_t p = held / samples; p < prompts.size(); ++p) {
    if (stop_requested())
      throw RunError(message("stopped after ", p, " of ", prompts.size(), " prompts; the same command goes on"),
                     ErrorCode{"stopped"});
    // The same key for every prompt: what a prompt's responses are does not depend on where the command began.
    RolloutBatch batch = policy.sample(std::span(prompts).subspan(p, 1), o.samples, RngKey{o.common.seed, 0});
    rollout::score(proxy, batch);
    const Array followed = batch.reward;
    rollout::score(truth, batch);
    for (auto i = static_cast<Index>(held > p * samples ? held - p * samples : 0); i < batch.responses(); ++i) {
      require<DomainError>(std::isfinite(batch.reward[i]), "--true-reward: finite rewards expected, got ", batch.reward[i],
                           " for a response to prompt ", p);
      const nlohmann::ordered_json row = {{"prompt", prompts[p].text},
                                          {"text", batch.text[static_cast<std::size_t>(i)]},
                                          {"proxy", io::json_of(followed[i])},
                                          {"true", batch.reward[i]},
                                          {"settings", settings}};
      file.append(row);
    }
    bar.update(static_cast<Index>(p) + 1);
  }
  const auto calibration = eval::read_calibration(o.out);
  for (const auto what : {eval::Hedged::best_of_n, eval::Hedged::best_of_poisson, eval::Hedged::soft_best_of_n})
    print_line(curve_in_words(calibration, what, o.samples));
  try {
    print_line(curve_in_words(calibration, eval::Hedged::pessimism, o.samples));
  } catch (const DomainError& error) {  // the pairs are written and good for the others
    remark(o.common, error.what());
  }
  return 0;
}
}  // namespace

void add_calibrate(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("calibrate", "How far a decoder should follow a reward, judged by a truer one");
  auto o = std::make_shared<CalibrateOptions>();
  c->footer(
      "Example: vbon calibrate --reward classifier:SMALL --true-reward classifier:LARGE --prompts prompts.jsonl --out "
      "calibration.jsonl\n"
      "Then:    vbon decode --decoder hedge:calibration=calibration.jsonl --reward classifier:SMALL ...");
  c->add_option("--model", o->model, "GGUF file or Hugging Face folder; by default the fetched SmolLM2-135M-Instruct");
  c->add_option("--adapter", o->adapter, "LoRA adapter of that model, a peft folder");
  c->add_flag("--bf16", o->bf16, bf16_help);
  c->add_option("--reward", o->reward, std::string("the one a decoder will follow; ") + reward_help);
  c->add_option("--true-reward", o->true_reward, "the one that counts, as --reward");
  o->source.add_to(*c);
  c->add_option("--samples", o->samples, "responses per prompt")->capture_default_str();
  c->add_option("--max-new-tokens", o->max_new_tokens, "tokens of a response at most")->capture_default_str();
  c->add_option("--temperature", o->temperature, "of sampling")->capture_default_str();
  c->add_option("--out", o->out,
                "file for the pairs: JSON lines {\"prompt\", \"text\", \"proxy\", \"true\"}; the same command goes on with "
                "one that is not complete");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return calibrate(*o); }; });
}
}  // namespace vbon::program
