// vbon decode: one response to each prompt, by a decoder that aims at the reward while it samples.
#include <optional>

#include "answers.hpp"
#include "decoders.hpp"
#include "output_file.hpp"
#include "prompt_source.hpp"
#include "settings.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/train/progress.hpp"

namespace vbon::program {
namespace {
struct DecodeOptions {
  Common common;
  std::string model, adapter, reward, decoder = "best_of_n", answer_pattern, out;
  PromptSource source;
  Index max_new_tokens = 64;
  double temperature = 1;
  bool json = false, bf16 = false;

  /// @throws ConfigError naming the flag
  void check() const {
    source.check();
    require<ConfigError>(!reward.empty(), "--reward is missing; ", reward_help);
    check_count("--max-new-tokens", max_new_tokens, 1);
    require<ConfigError>(temperature == 0 || (temperature >= 1e-6 && temperature <= 1e6),
                         "--temperature in [1e-6, 1e6], or 0 for the most probable token, expected, got ", temperature);
  }
  /// What decides the response to a prompt.
  io::Json settings(const AnyDecoder& chosen) const {
    io::Json all = chosen.settings;
    set_model(all, model, adapter);
    set_bf16(all, bf16, common);
    set_reward(all, "reward", reward, "");
    if (!answer_pattern.empty()) all["answer-pattern"] = answer_pattern;
    all["max-new-tokens"] = max_new_tokens;
    all["temperature"] = temperature;
    if (!chosen.dpo.empty()) set_place(all, "decoder.dpo", chosen.dpo, "");
    if (!chosen.value.empty()) set_reward(all, "decoder.value", chosen.value, "");
    all["seed"] = common.seed;
    return all;
  }
};

/// What was decoded so far.
struct Totals {
  Index prompts = 0;
  decode::Counters spent;

  std::string in_words(const std::string& decoder) const {
    std::string out = message(prompts, prompts == 1 ? " prompt" : " prompts", " with ", decoder);
    const std::pair<const char*, Index> counts[] = {
        {"tokens", spent.tokens}, {"sequences", spent.sequences}, {"reward calls", spent.reward_calls}};
    for (const auto& [what, count] : counts)
      out += message(out.ends_with(decoder) ? ": " : ", ", count, " ", what, " (",
                     static_cast<double>(count) / static_cast<double>(std::max<Index>(prompts, 1)), " per prompt)");
    return out;
  }
};

nlohmann::ordered_json row_of(const Prompt& prompt, const Decoded& decoded, const std::string& decoder) {
  const auto& answer = decoded.answer();
  nlohmann::ordered_json row = {{"prompt", prompt.text}, {"text", answer.text}, {"reward", answer.reward}};
  if (std::isinf(answer.reward)) row["reward"] = answer.reward > 0 ? "inf" : "-inf";  // JSON has no infinity
  row["log_prob"] = answer.log_prob;
  row["length"] = answer.token.size();
  row["finished"] = answer.finished;
  row["decoder"] = decoder;
  row["tokens"] = decoded.counters.tokens;
  row["sequences"] = decoded.counters.sequences;
  row["reward_calls"] = decoded.counters.reward_calls;
  if (!decoded.note.empty()) row["note"] = decoded.note;
  return row;
}

/// What an earlier start of the command left in its file: the first of the prompts, in their order.
/// @throws FormatError for a file of another kind; ConfigError for one made with other settings or prompts, naming what
/// differs
Totals held_in(const std::filesystem::path& path, std::span<const Prompt> prompts, const io::Json& settings) {
  Totals held;
  read_held(path, "vbon decode", settings, [&](const io::Json& row, const std::string& where) {
    const auto number = static_cast<std::size_t>(held.prompts);
    require<ConfigError>(number < prompts.size(), where, " answers prompt ", number, ", this command has only ",
                         prompts.size(), " prompts; choose another --out");
    require_same_prompt(row, prompts[number].text, number, where);
    ++held.prompts;
    held.spent += {.sequences = io::json_get<Index>(row, "sequences", where),
                   .tokens = io::json_get<Index>(row, "tokens", where),
                   .reward_calls = io::json_get<Index>(row, "reward_calls", where)};
  });
  return held;
}

int decode(const DecodeOptions& o) {
  begin(o.common);
  o.check();
  const AnyDecoder decoder =
      make_decoder(o.decoder, answer_of(o.answer_pattern));  // a wrong name or value is told before anything is loaded
  // A choice that a longer curve might change is told even under --quiet (spec methods 6.10).
  if (!decoder.note.empty()) remark(decoder.doubtful ? Common{} : o.common, decoder.note);
  const reward::Any reward = open_reward(o.reward, o.common);
  decoder.open_value(o.common);
  remark_bf16(o.common, o.bf16);
  Policy policy = Policy::load(o.model, o.adapter, o.bf16);
  policy.sampler().max_new_tokens = o.max_new_tokens;
  policy.sampler().temperature = o.temperature;
  decoder.open_dpo(o.model, policy);
  const auto prompts = o.source.load(policy);
  const auto total = static_cast<Index>(prompts.size());

  Totals totals;
  io::FileHandle held;
  std::optional<io::JsonlWriter> file;
  std::unique_ptr<train::Progress> bar;
  io::Json settings;
  if (!o.out.empty()) {
    settings = o.settings(decoder);
    held = hold_output(o.out);
    totals = held_in(o.out, prompts, settings);
    file.emplace(o.out);
    if (totals.prompts > 0) remark(o.common, message("going on after ", totals.prompts, " prompts in ", o.out));
    using Style = train::Progress::Style;
    bar = std::make_unique<train::Progress>(stderr, o.common.quiet ? Style::silent : train::Progress::style_for(stderr),
                                            "decode", total, totals.prompts);
  }
  for (; totals.prompts < total && !stop_requested(); ++totals.prompts) {
    const auto& prompt = prompts[static_cast<std::size_t>(totals.prompts)];
    // The key of `vbon sample`: the first draws of a decoder are its samples.
    const Decoded decoded = decoder.decode(policy, reward, prompt, RngKey{o.common.seed, 0});
    totals.spent += decoded.counters;
    if (!decoded.note.empty()) remark(o.common, decoded.note);
    if (file) {
      auto row = row_of(prompt, decoded, decoder.name);
      row["settings"] = settings;
      file->append(row);
      bar->update(totals.prompts + 1);
    } else if (o.json) {
      print_line(io::to_json_line(row_of(prompt, decoded, decoder.name)));
    } else {
      print_line(message("[", decoded.reward(), "] ", prompt.text, decoded.answer().text));
    }
  }
  bar.reset();
  remark(o.common, totals.in_words(decoder.name));
  if (totals.prompts == total) return 0;
  if (file) throw RunError(message("stopped after ", totals.prompts, " of ", total, " prompts"), ErrorCode{"stopped"});
  return stopped;
}
}  // namespace

void add_decode(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("decode", "One response to each prompt by Best-of-N or another decoder");
  auto o = std::make_shared<DecodeOptions>();
  c->footer(
      "Example: vbon decode --decoder speculative-rejection:alpha=0.5,n=32 --reward length:24 --prompt 'This film is'");
  c->add_option("--model", o->model, "GGUF file or Hugging Face folder; by default the fetched SmolLM2-135M-Instruct");
  c->add_option("--adapter", o->adapter, "LoRA adapter of that model, a peft folder");
  c->add_flag("--bf16", o->bf16, bf16_help);
  c->add_option("--decoder", o->decoder, "NAME or NAME:option=value,...; see 'vbon inspect decoders'")
      ->capture_default_str();
  c->add_option("--reward", o->reward, reward_help);
  c->add_option("--answer-pattern", o->answer_pattern, answer_pattern_help);
  o->source.add_to(*c);
  c->add_option("--max-new-tokens", o->max_new_tokens, "tokens of a response at most")->capture_default_str();
  c->add_option("--temperature", o->temperature, "of sampling; 0: always the most probable token")->capture_default_str();
  c->add_flag("--json", o->json, "JSON lines with text, reward, log-prob, and the tokens, sequences and reward calls spent");
  c->add_option("--out", o->out,
                "write JSON lines to this file instead; the same command goes on with a file that is not complete");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return decode(*o); }; });
}
}  // namespace vbon::program
