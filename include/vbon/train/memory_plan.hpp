// vbon/train/memory_plan.hpp
//
// The peak of memory of sampling from a model and of aligning it, planned from the shape and the sizes of the job. A job
// has stages (load, sample references, train, evaluate); the plan is that of the stage that holds most. The reward is the
// caller's and not counted.
#pragma once
#include <algorithm>
#include <vector>

#include "vbon/model/lora.hpp"
#include "vbon/model/memory_plan.hpp"
#include "vbon/policy/causal_lm_policy.hpp"

namespace vbon::train {
using model::MemoryPlan;

/// What a plan starts from.
struct PlannedModel {
  model::Shape shape;
  model::WeightSizes weights;
  Index overhead = 0;  // [bytes] of the program and the tokenizer
  Index threads = 1;
};
/// Responses drawn together.
struct PlannedSampling {
  Index prompts = 1, samples = 1;  // prompts a call, responses a prompt
  Index prompt_tokens = 16, new_tokens = 64;
};
struct PlannedAlignment {
  PlannedSampling references, step, evaluation;
  Index micro_batch = 64;
  std::vector<model::LoraModule> adapted = {};  // empty: all weights are trained
  Index lora_rank = 0;
  // Some backward passes are over other responses than those just drawn: cached ones, or those of an earlier update.
  bool other_passes = true;
  bool recompute = false;  // MemoryOptions::recompute, in passes of as many rows
  Index recorded_bytes = policy::PassOptions{}.recorded_bytes;
};

namespace detail {
inline const MemoryPlan& largest(const std::vector<MemoryPlan>& stages) {
  return *std::max_element(stages.begin(), stages.end(), [](const auto& a, const auto& b) { return a.bytes() < b.bytes(); });
}
/// Rows of the largest of the passes that a batch of prompts with `each` rows is cut into.
inline Index pass_rows(Index total, Index most, Index each) {
  const Index passes = std::max<Index>(1, (total + most - 1) / most), wanted = (total + passes - 1) / passes;
  if (passes == 1) return total;
  return std::min(total, each <= wanted ? std::min(most, wanted + each / 2) : wanted + wanted / 16);
}

struct SamplingBytes {
  Index cache = 0, activations = 0, rows = 0;
  Index responses = 0;  // tokens, log-probs and texts of all that one call draws
};
/// One call of CausalLmPolicy::sample.
inline SamplingBytes sampling_bytes(const model::Shape& s, const PlannedSampling& job) {
  const policy::PassOptions passes;
  const Index slice = std::min(job.samples, passes.sampled_rows);
  const Index prompts = std::min(job.prompts, passes.sampled_rows / slice), together = prompts * slice;
  SamplingBytes out;
  out.cache = model::cache_bytes(s, prompts, job.prompt_tokens, together, job.new_tokens);
  out.rows = std::max(prompts * job.prompt_tokens, together);
  // A token, its log-prob as collected and as handed over, about 4 bytes of text; a text's string, its end and weight.
  constexpr Index per_token = sizeof(TokenId) + 2 * sizeof(double) + 4, per_response = sizeof(std::string) + 32;
  out.responses = job.prompts * job.samples * (job.new_tokens * per_token + per_response);
  // A session keeps the hidden rows twice; drafts of one prompt have their first logits in common.
  const Index logits = slice > 1 ? prompts * s.vocab : 0;
  out.activations = (2 * together * s.width + logits) * static_cast<Index>(sizeof(float));
  return out;
}
/// Rows and read rows of a batch: each prompt once, each response but its last token.
inline Index rows_of(const PlannedSampling& job, Index prompts) {
  return prompts * (job.prompt_tokens + job.samples * (job.new_tokens - 1));
}
inline Index rotary_bytes(const model::Shape& s) {
  return s.position == model::Position::rotary ? std::min<Index>(s.context, 4096) * s.rope.dim * 4 : 0;
}
}  // namespace detail

/// `vbon sample`, and any other use that samples alone.
template <class = void>
MemoryPlan plan_sampling(const PlannedModel& m, const PlannedSampling& job) {
  const auto sampling = detail::sampling_bytes(m.shape, job);
  return {"sample",
          {{"program and tokenizer", m.overhead},
           {"packed weights", m.weights.loaded},
           {"other weights", m.weights.early},
           {"KV cache", sampling.cache},
           {"responses", sampling.responses},
           {"activations", sampling.activations + model::forward_bytes(m.shape, sampling.rows, 0) +
                               model::laid_bytes(m.shape, sampling.rows, m.weights.precision) +
                               model::kernel_bytes(m.shape, m.threads) + detail::rotary_bytes(m.shape)}}};
}

/// `vbon align`.
template <class = void>
MemoryPlan plan_alignment(const PlannedModel& m, const PlannedAlignment& job) {
  const model::Shape& s = m.shape;
  const auto& weights = m.weights;
  const bool adapted = !job.adapted.empty();
  Index trained = weights.values, adapter = 0;
  if (adapted) {
    trained = 0;
    for (const auto& module : job.adapted) trained += job.lora_rank * (module.inputs + module.outputs) * 4;
    adapter = 2 * trained;  // and packed
  }
  // The reference shares the weights of an adapted policy; otherwise it keeps what it loaded.
  const Index plain = weights.values + (adapted ? adapter : weights.early);
  const Index packed = weights.loaded + (adapted ? 0 : weights.packed);

  const policy::PassOptions passes;
  const Index scored =
      std::max(detail::rows_of(job.step, job.step.prompts), detail::rows_of(job.evaluation, job.evaluation.prompts));
  const Index forward = detail::pass_rows(scored, passes.forward_rows,
                                          std::max(detail::rows_of(job.step, 1), detail::rows_of(job.evaluation, 1)));
  const Index groups =
      std::max<Index>(1, std::min(job.step.prompts, job.micro_batch / std::max<Index>(1, job.step.samples)));
  const Index backward = detail::pass_rows(detail::rows_of(job.step, groups),
                                           std::max<Index>(1, passes.activation_bytes / model::kept_bytes_per_row(s, {})),
                                           detail::rows_of(job.step, 1));
  const auto references = detail::sampling_bytes(s, job.references), step = detail::sampling_bytes(s, job.step),
             evaluation = detail::sampling_bytes(s, job.evaluation);
  const auto& drawn = step.cache > evaluation.cache ? step : evaluation;
  const Index reference_rows = std::max(references.rows, forward);
  const Index policy_rows = std::max({step.rows, evaluation.rows, forward, backward});
  const Index fixed = detail::rotary_bytes(s) * 2;
  model::MemoryOptions memory{.recompute = job.recompute};
  // Other passes keep their activations beside those that are recorded.
  const Index drawn_bytes = detail::rows_of(job.step, job.step.prompts) * model::recorded_bytes_per_row(s, memory);
  const Index recorded = drawn_bytes > job.recorded_bytes ? 0 : drawn_bytes;
  if (recorded > 0 && !job.other_passes) memory.logit_bytes = 0;  // they are made once, in the backward pass
  const bool whole = detail::rows_of(job.step, 1) <= backward;  // a prompt in two passes is copied for the second
  const Index all_blocks = job.recompute ? s.layers * s.width * static_cast<Index>(sizeof(float))
                                         : model::kept_bytes_per_row(s, memory);  // not the one that is made again
  const Index looked_at = recorded > 0 && whole && !job.other_passes ? backward * all_blocks : 0;
  const Index copied = job.recompute && recorded > 0 && !whole
                           ? backward * (model::recorded_bytes_per_row(s, memory) - (s.layers + 1) * s.width * 4)
                           : 0;

  return detail::largest(
      {{"load",  // the plain weights are read while those needed before are still there
        {{"program and tokenizer", m.overhead},
         {"weights", weights.values + weights.early},
         {"packed copy", weights.loaded}}},
       {"references",
        {{"program and tokenizer", m.overhead},
         {"weights", plain},
         {"packed copies", packed},
         {"KV cache", references.cache},
         {"responses", references.responses},
         {"activations", references.activations + model::forward_bytes(s, references.rows, 0) +
                             model::laid_bytes(s, references.rows, weights.precision) + model::kernel_bytes(s, m.threads) +
                             fixed}}},
       {"train",
        {{"program and tokenizer", m.overhead},
         {"weights", plain},
         {"packed copies", packed},
         {"gradients", trained},
         {"optimiser moments", 2 * trained},
         {"KV cache", drawn.cache},
         {"activations of drawn responses", recorded},
         {"activations", drawn.activations + model::forward_bytes(s, policy_rows, forward) +
                             model::forward_bytes(s, reference_rows, forward) +
                             model::laid_bytes(s, std::max(policy_rows, reference_rows), weights.precision) +
                             model::backward_bytes(s, backward, backward, memory) - looked_at + copied +
                             model::kernel_bytes(s, m.threads, backward, !adapted, weights.precision) + fixed}}}});
}
}  // namespace vbon::train
