// vbon/vbon.hpp
//
// The table of contents: all of the library, in the order of the story. What costs much to compile is a template, so that
// it costs only where it is called (docs/architecture.md, "Compiled when called").
#pragma once

// The version and what this build can do.
#include "vbon/core/config.hpp"
#include "vbon/kernel/instruction_set.hpp"

// A prompt comes in, from a file or as a chat.
#include "vbon/io/cache_folder.hpp"
#include "vbon/rollout/prompts.hpp"
#include "vbon/rollout/snippets.hpp"
#include "vbon/text/answer_pattern.hpp"
#include "vbon/text/chat_template.hpp"

// A policy samples responses: a causal language model from a file, or an enumerable table.
#include "vbon/policy/load.hpp"
#include "vbon/policy/peft.hpp"
#include "vbon/policy/save_gguf.hpp"
#include "vbon/policy/tabular_policy.hpp"

// A reward scores them.
#include "vbon/model/score.hpp"
#include "vbon/reward/callable.hpp"
#include "vbon/reward/ensemble.hpp"
#include "vbon/reward/memory_plan.hpp"
#include "vbon/reward/registry.hpp"

// Or one is trained for the purpose, on scores or preferences.
#include "vbon/reward/training_text.hpp"
#include "vbon/train/reward_trainer.hpp"

// The empirical CDF of the rewards is built, and the law of best-of-N follows in closed form.
#include "vbon/bon.hpp"

// An objective turns log-probabilities into a gradient.
#include "vbon/objective.hpp"

// An optimiser moves the policy.
#include "vbon/optim/sgd.hpp"
#include "vbon/train/memory_plan.hpp"
#include "vbon/train/probe.hpp"
#include "vbon/train/progress.hpp"
#include "vbon/train/run_folder.hpp"
#include "vbon/train/trainer.hpp"

// Or, on a policy that can be enumerated, exact gradients move it to the optimum that is known.
#include "vbon/objective/optimum.hpp"
#include "vbon/train/exact.hpp"

// The same aim met at inference time: decoders and their exact laws.
#include "vbon/decode/controlled_law.hpp"
#include "vbon/decode/hedge.hpp"
#include "vbon/decode/iad_law.hpp"
#include "vbon/decode/prune.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/decode/rejection_law.hpp"
#include "vbon/decode/smc_law.hpp"
#include "vbon/decode/soft_bon_law.hpp"
#include "vbon/decode/tree_law.hpp"

// The evaluation reports KL, win rate and the frontier, of one policy or of several methods side by side.
#include "vbon/eval/calibration.hpp"
#include "vbon/eval/comparison.hpp"
#include "vbon/eval/pareto.hpp"
#include "vbon/eval/report_html.hpp"
#include "vbon/eval/report_json.hpp"
#include "vbon/eval/rmb_data.hpp"
