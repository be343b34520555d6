// vbon train-reward: a reward model from scores or preferences.
#include <cmath>
#include <limits>
#include <optional>

#include "program.hpp"
#include "settings.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/json.hpp"
#include "vbon/reward/training_text.hpp"
#include "vbon/train/progress.hpp"
#include "vbon/train/reward_trainer.hpp"
#include "vbon/train/run_folder.hpp"

namespace vbon::program {
namespace {
struct TrainRewardOptions {
  Common common;
  // what is trained, on what
  std::string model, scores, pairs, held_out, out = "vbon-reward";
  bool overwrite = false, new_head = false, head_only = false, end_token = false, recompute = false;
  double held_out_share = 0.1;
  // the loss
  std::string loss = "regression";
  std::optional<double> threshold;
  double centering = 0;
  // texts
  Index max_length = 0;
  std::string too_long = "cut";
  // training
  double epochs = 1;
  std::optional<Index> steps;
  Index batch = 16, micro_batch = 8;
  std::optional<double> learning_rate;
  std::string decay = "linear";
  Index warmup = 0;
  double weight_decay = 0, clip = 1;
  Index checkpoint_every = 50, evaluate_every = 0;

  void add_to(CLI::App& command);
  void check() const;
  io::Json settings() const;
  double rate() const { return learning_rate.value_or(head_only ? 1e-3 : 2e-5); }
  reward::ExampleLoss example_loss() const {
    if (!pairs.empty()) return reward::ExampleLoss::preference;
    return loss == "regression" ? reward::ExampleLoss::regression : reward::ExampleLoss::logistic;
  }
};

void TrainRewardOptions::add_to(CLI::App& c) {
  const auto add = [&](const char* flag, auto& value, const std::string& help, const char* group) {
    return c.add_option(flag, value, help)->group(group);
  };
  const auto with_default = [&](const char* flag, auto& value, const std::string& help, const char* group) {
    return add(flag, value, help, group)->capture_default_str();
  };
  const auto flag = [&](const char* name, bool& value, const char* help, const char* group) {
    c.add_flag(name, value, help)->group(group);
  };
  c.footer(
      "Stop with Ctrl-C at any time; the same command goes on where it stopped.\n"
      "Example: vbon train-reward --model ENCODER_FOLDER --pairs pairs.jsonl --out reward\n"
      "         vbon score --reward classifier:reward/model --input responses.jsonl");
  const char* what = "What to train";
  add("--model", model,
      "Hugging Face folder of an encoder (BERT, DistilBERT, RoBERTa) or a causal language model (GPT-2, GPT-NeoX, Llama, "
      "Qwen), with or without a classification head",
      what);
  add("--scores", scores, "JSON lines {\"text\", \"score\"} or {\"prompt\", \"response\", \"score\"}", what);
  add("--pairs", pairs,
      "instead: preferences, JSON lines {\"prompt\", \"chosen\", \"rejected\"} with an optional \"margin\", texts or "
      "conversations; without \"prompt\" chosen and rejected hold it",
      what);
  auto* file =
      add("--held-out", held_out, "examples of the same form to measure on; by default a share of the others", what);
  with_default("--held-out-share", held_out_share, "share of the prompts to hold out, chosen by a hash of the text; 0: none",
               what)
      ->excludes(file);
  flag("--head-only", head_only, "train the head alone, on states of the model that are computed once", what);
  flag("--new-head", new_head, "begin a new head of one output where the model has one already", what);
  with_default("--out", out, "folder of the run: model/, metrics, checkpoints", what);
  flag("--overwrite", overwrite, "remove an earlier run in --out first", what);
  const char* target = "The loss";
  with_default("--loss", loss,
               "of --scores: regression (squared error) or logistic (scores are probabilities, or see --threshold)", target);
  add("--threshold", threshold, "of the logistic loss: scores above are positive, below negative, equal half each", target);
  with_default("--centering", centering,
               "of --pairs: factor of the mean of (chosen + rejected)^2, TRL's center_rewards_coefficient", target);
  const char* texts = "Texts";
  with_default("--max-length", max_length, "tokens of a text at most; 0: as many as the model reads", texts);
  with_default("--too-long", too_long, "what becomes of a longer text: cut, or drop its example as TRL does", texts);
  flag("--end-token", end_token,
       "texts end with the end token, or what the chat template writes behind an answer, as TRL ends them; the reward "
       "classifier:FOLDER reads responses as they are",
       texts);
  const char* training = "Training";
  auto* passes = with_default("--epochs", epochs, "times that each example is taken", training);
  add("--steps", steps, "instead: optimiser steps", training)->excludes(passes);
  with_default("--batch", batch, "examples per step", training);
  with_default("--micro-batch", micro_batch,
               "examples per backward pass at most; less needs less memory, and may be changed when a run is resumed "
               "(gradients then agree to rounding)",
               training);
  flag("--recompute", recompute, recompute_help, training);
  add("--learning-rate", learning_rate, "peak learning rate; by default 2e-5, with --head-only 1e-3", training);
  with_default("--decay", decay, "of the learning rate: constant, linear or cosine", training);
  with_default("--warmup", warmup, "steps of linear warm-up", training);
  with_default("--weight-decay", weight_decay, "of AdamW, on matrices", training);
  with_default("--clip", clip, "bound of the gradient norm; inf: none", training);
  with_default("--checkpoint-every", checkpoint_every, "steps between checkpoints", training);
  with_default("--evaluate-every", evaluate_every, "steps between measurements on what is held out; 0: at the end",
               training);
  add_common(c, common);
}

void TrainRewardOptions::check() const {
  require<ConfigError>(!model.empty(), "--model is missing; give the folder of an encoder or a causal language model");
  require<ConfigError>(scores.empty() != pairs.empty(), "give --scores or --pairs, one of them; got ",
                       scores.empty() ? "neither" : "both");
  require<ConfigError>(loss == "regression" || loss == "logistic", "unknown --loss '", loss,
                       "'; known: regression, logistic (and preference, by --pairs)");
  require<ConfigError>(too_long == "cut" || too_long == "drop", "unknown --too-long '", too_long, "'; known: cut, drop");
  require<ConfigError>(!threshold || (loss == "logistic" && pairs.empty()),
                       "--threshold needs --scores and --loss logistic");
  require<ConfigError>(!threshold || std::isfinite(*threshold), "--threshold: a finite number expected, got ", *threshold);
  require<ConfigError>(pairs.empty() || loss == "regression", "--loss is of --scores; --pairs have their own");
  require<ConfigError>(!pairs.empty() || centering == 0, "--centering needs --pairs");
  for (const auto& [name, value] :
       {std::pair{"--centering", centering}, {"--weight-decay", weight_decay}, {"--learning-rate", rate()}})
    require<ConfigError>(value >= 0 && std::isfinite(value), name, " >= 0 and finite expected, got ", value);
  require<ConfigError>(held_out_share >= 0 && held_out_share < 1, "--held-out-share in [0, 1) expected, got ",
                       held_out_share);
  require<ConfigError>(epochs > 0 && epochs <= 1e6, "--epochs in (0, 1000000] expected, got ", epochs);
  check_count("--batch", batch, 1);
  check_count("--micro-batch", micro_batch, 1);
  for (const auto& [name, value] : {std::pair<const char*, Index>{"--max-length", max_length},
                                    {"--steps", steps.value_or(1)},
                                    {"--warmup", warmup},
                                    {"--checkpoint-every", checkpoint_every},
                                    {"--evaluate-every", evaluate_every}})
    check_count(name, value, 0);
  require<ConfigError>(clip > 0, "--clip > 0 expected (inf: no clipping), got ", clip);
  require<ConfigError>(!recompute || !head_only,
                       "--recompute has nothing to do with --head-only: no block has a backward pass; leave it out");
  optim::decay_from_name(decay);
}

/// --micro-batch, --recompute and --checkpoint-every change no result and may change in a resumed run.
io::Json TrainRewardOptions::settings() const {
  io::Json all = {{"loss", reward::name_of(example_loss())},
                  {"threshold", threshold ? io::Json(*threshold) : io::Json("none")},
                  {"centering", centering},
                  {"head-only", head_only},
                  {"new-head", new_head},
                  {"end-token", end_token},
                  {"held-out-share", held_out_share},
                  {"max-length", max_length},
                  {"too-long", too_long},
                  {"epochs", steps ? io::Json("of the steps") : io::Json(epochs)},
                  {"steps", steps ? io::Json(*steps) : io::Json("of the epochs")},
                  {"batch", batch},
                  {"learning-rate", rate()},
                  {"decay", decay},
                  {"warmup", warmup},
                  {"weight-decay", weight_decay},
                  {"clip", io::json_of(clip)},
                  {"evaluate-every", evaluate_every},
                  {"seed", common.seed}};
  set_place(all, "model", model, "");
  set_place(all, "scores", scores, "none");
  set_place(all, "pairs", pairs, "none");
  set_place(all, "held-out", held_out, "a share");
  return all;
}

/// The examples of a file.
reward::TrainingExamples read_examples(const TrainRewardOptions& o, const std::string& file,
                                       reward::TrainingText& training_text) {
  const auto text = [&](const std::string& prompt, const std::string& response) {
    return prompt + training_text.response(response);
  };
  const reward::TurnsToText turns = [&](std::span<const text::ChatMessage> all) { return training_text.turns(all); };
  try {
    if (o.pairs.empty())
      return reward::scored_examples(reward::read_scored_texts(file, {.turns_to_text = turns}), o.example_loss(),
                                     o.threshold, text);
    return reward::preference_examples(reward::read_preferences(file, {.turns_to_text = turns, .implicit_prompt = true}),
                                       o.centering, text);
  } catch (const DomainError& error) {  // the reader names the file, the examples their line
    throw FormatError(message(file, ": ", error.what()));
  }
}

/// What the tokenizer left over is told: a text that was cut is another text.
void tell_lengths(const Common& common, const std::string& which, const reward::TokenizedExamples& set, Index max_length) {
  if (set.cut > 0)
    remark(common, message(which, ": ", set.cut, " of ", set.tokens.size(), " texts are longer than ", max_length,
                           " tokens (up to ", set.longest, ") and are cut there; see --max-length and --too-long"));
  if (set.dropped > 0)
    remark(common, message(which, ": ", set.dropped, " of ", set.size() + set.dropped, " examples have a text longer than ",
                           max_length, " tokens (up to ", set.longest, ") and are left out"));
}

std::string figures(const train::Metrics& metrics) {
  std::string text;
  for (const char* name : {"loss", "accuracy", "pearson"}) {
    const double value = train::metric(metrics, name);
    char part[64];
    std::snprintf(part, sizeof(part), "%s%s %.3f", text.empty() ? "" : "  ", name, value);
    if (!std::isnan(value)) text += part;
  }
  return text;
}
nlohmann::ordered_json json_of(const train::Metrics& metrics) {
  nlohmann::ordered_json json;
  for (const auto& [name, value] : metrics) json[name] = value;
  return json;
}

template <class Model>
int run_training(const TrainRewardOptions& o, train::RunFolder& run, Model& model) {
  constexpr bool plain_turns = std::is_same_v<Model, reward::TrainableEncoder>;
  if constexpr (requires { model.recompute(); }) {
    if (o.recompute) model.recompute();
  } else {
    require<ConfigError>(!o.recompute, "--recompute: ", o.model,
                         " is an encoder, which keeps its activations; to save memory lower --micro-batch or --max-length");
  }
  reward::TrainingText text(model.tokenizer(), plain_turns, o.end_token);
  require<ConfigError>(o.max_length <= model.max_length(), "--max-length up to ", model.max_length(),
                       " expected, what this model reads; got ", o.max_length);
  const Index max_length = o.max_length > 0 ? o.max_length : model.max_length();
  const std::string file = o.scores + o.pairs;
  auto examples = read_examples(o, file, text);
  reward::TrainingExamples unseen = examples.subset({});
  if (!o.held_out.empty())
    unseen = read_examples(o, o.held_out, text);
  else
    std::tie(examples, unseen) = reward::hold_out(examples, o.held_out_share);
  const auto too_long = o.too_long == "cut" ? reward::TooLong::cut : reward::TooLong::drop;
  const auto training = reward::tokenize(model, std::move(examples), max_length, too_long);
  const auto held_out = reward::tokenize(model, std::move(unseen), max_length, too_long);
  tell_lengths(o.common, file, training, max_length);
  tell_lengths(o.common, o.held_out.empty() ? "held out" : o.held_out, held_out, max_length);
  require<ConfigError>(training.size() > 0, file, ": no example is left to train on; ",
                       training.dropped > 0 ? "raise --max-length or take --too-long cut" : "lower --held-out-share");
  if (held_out.size() == 0 && (o.held_out_share > 0 || !o.held_out.empty()))
    remark(o.common, "nothing is held out: too few prompts; give --held-out");
  if (model.new_head()) remark(o.common, message("a new head of ", model.labels(), " output begins, drawn with --seed"));

  const double all = o.epochs * static_cast<double>(training.size()) / static_cast<double>(o.batch);
  const Index steps = o.steps.value_or(static_cast<Index>(std::ceil(std::min(all, 1e15))));
  require<ConfigError>(o.warmup <= steps, "--warmup <= ", steps, " (the steps) expected, got ", o.warmup);
  remark(o.common, message(training.size(), o.pairs.empty() ? " scored texts, " : " pairs, ", held_out.size(), " held out; ",
                           steps, " steps of ", o.batch));
  run.begin();

  train::RewardTrainer trainer(
      model, training, held_out, optim::AdamW{.weight_decay = o.weight_decay},
      {.seed = o.common.seed,
       .head_only = o.head_only,
       .steps = steps,
       .batch = o.batch,
       .micro_batch = o.micro_batch,
       .rate = o.rate(),
       .schedule = {.decay = optim::decay_from_name(o.decay), .warmup = o.warmup, .total = steps + 1},
       .clip = o.clip,
       .checkpoint_every = o.checkpoint_every,
       .evaluate_every = o.evaluate_every,
       .folder = run.path()});
  std::unique_ptr<train::Progress> bar;
  train::Callbacks callbacks;
  callbacks.step = [&](const train::StepReport& report) {
    if (!bar)
      bar = std::make_unique<train::Progress>(
          stderr, o.common.quiet ? train::Progress::Style::silent : train::Progress::style_for(stderr), "train reward",
          report.steps, report.step - 1);
    bar->update(report.step, figures(report.metrics));
  };
  callbacks.stop = [] { return stop_requested(); };
  const auto outcome = trainer.run(callbacks);
  bar.reset();
  if (outcome == train::Outcome::stopped) throw RunError("stopped in training, everything is saved", ErrorCode{"stopped"});

  model.save(run.path() / "model", reward::problem_type(o.example_loss(), model.labels()));
  nlohmann::ordered_json report = {{"examples", training.size()}, {"held_out_examples", held_out.size()}, {"steps", steps}};
  if (held_out.size() > 0) report["held_out"] = json_of(trainer.evaluate());
  const std::string written = report.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  io::write_file_atomically(run.path() / "report.json", written + "\n");
  print_line(written);
  remark(o.common, "model: " + (run.path() / "model").string());
  run.mark_finished();
  trainer.remove_checkpoints();
  return 0;
}

int train_reward(const TrainRewardOptions& o) {
  begin(o.common);
  o.check();
  train::RunFolder run(o.out, {"train-reward", {"model", "metrics.jsonl", "metrics.csv", "timing.jsonl", "report.json"}},
                       o.settings(), o.overwrite);
  if (run.replaces())
    for (const auto& [flag, path] :
         {std::pair{"--model", o.model}, {"--scores", o.scores}, {"--pairs", o.pairs}, {"--held-out", o.held_out}})
      refuse_inside(run.path(), flag, path);
  if (run.resumed()) remark(o.common, "going on with the run in " + run.path().string());
  const model::NewHead head{.labels = 1, .replace = o.new_head, .key = RngKey{o.common.seed, 0}.fold(2)};
  return reward::with_trainable_classifier(o.model, head, [&](auto& model) { return run_training(o, run, model); });
}
}  // namespace

void add_train_reward(CLI::App& program, Job& job) {
  auto* command = program.add_subcommand("train-reward", "Trains a reward model on scores or preferences");
  auto options = std::make_shared<TrainRewardOptions>();
  options->add_to(*command);
  command->callback([options, &job] { job = [options] { return train_reward(*options); }; });
}
}  // namespace vbon::program
