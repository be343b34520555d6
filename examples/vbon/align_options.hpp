// The options of `vbon align`, their defaults, and which of them decide the result.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models.hpp"
#include "program.hpp"
#include "vbon/core/types.hpp"
#include "vbon/io/json.hpp"

namespace vbon::program {
struct AlignOptions {
  Common common;
  // what to align, by what, on what
  std::string model, reward, prompts, pairs, evaluation_prompts, out = "vbon-run", save_dtype = "f32";
  bool overwrite = false;
  // the target
  double n = 4;
  std::string objective = "vbon", estimator = "harmonic", answer_pattern;
  // responses
  Index max_new_tokens = 24;
  double temperature = 1, top_p = 1, min_p = 0;
  Index top_k = 0;
  // data
  Index training_prompts = 128, references = 32;
  Index evaluation_count = 128, evaluation_samples = 8, evaluation_references = 16;
  // offline warm start
  std::string warm_objective = "quantile-regression:centred=true", warm_draw = "outer";
  Index warm_steps = 40, warm_prompts = 16, warm_samples = 4;
  double warm_learning_rate = 2e-5;
  // training on the policy's own samples
  Index steps = 16, step_prompts = 16, samples = 4, updates = 1;
  double learning_rate = 1e-5;
  double critic_learning_rate = 1e-2;
  std::optional<double> anchor_eta;  // without one the anchor moves as its objective says
  std::optional<Index> anchor_swap_every;
  std::string draw = "uniform", decay = "linear";
  Index warmup = 2;
  double weight_decay = 0, clip = 1;
  Index micro_batch = 64, checkpoint_every = 10, evaluate_every = 0;
  bool bf16 = false;
  // These change no bit of the result, as Policy::recompute() says: no settings of the run.
  bool recompute = false;
  Index keep_sampled = 2048;  // MB
  // what of the model is trained
  LoraSettings lora;

  void add_to(CLI::App& command);
  /// @throws ConfigError for settings that cannot work
  void check() const;
  /// What decides the result, for run.json: a run with other values is another run. Files stand there with their whole
  /// path, prompts and a reward's file with a hash of their content too.
  /// @throws RunError for a file that cannot be read
  io::Json settings() const;

 private:
  /// The settings that name no file.
  io::Json numbers() const;
};
}  // namespace vbon::program
