// vbon/reward/memory_plan.hpp
//
// What a reward network will hold while it scores, planned from its shape: the buffers of sentence_encoder.hpp,
// classifier.hpp and causal_scorer.hpp, counted.
#pragma once
#include <algorithm>

#include "vbon/model/encoder.hpp"
#include "vbon/model/memory_plan.hpp"

namespace vbon::reward {
/// What the plan of a reward starts from.
struct PlannedScoring {
  Index overhead = 0;  // [bytes] of the program and the tokenizer
  Index threads = 1;
  Index tokens = 128;   // of the texts that go through the network together
  Index longest = 128;  // tokens of a text at most
  kernel::Precision precision = kernel::Precision::float32;
};

/// An encoder, with or without a classification head. Its plain weights stay beside the packed ones.
template <class = void>
model::MemoryPlan plan_scoring(const model::EncoderShape& s, const model::EncoderNames& names, const PlannedScoring& job) {
  constexpr Index bytes = model::detail::float_bytes;
  const model::Encoder layout(s, names);  // never filled
  const auto* format = job.precision == kernel::Precision::bfloat16 ? kernel::bfloat16_format : nullptr;
  const auto packed = [&](Index outputs, Index inputs) { return model::packed_bytes(outputs, inputs, format); };
  const Index head = s.labels > 0 ? packed(s.width, s.width) + packed(s.labels, s.width) : 0;
  const Index layer = 4 * packed(s.width, s.width) + packed(s.intermediate, s.width) + packed(s.width, s.intermediate);
  const Index rows = job.threads * std::max(job.tokens, job.longest);  // each thread has a batch of its own
  // Two layers take turns (EncoderTape); the norm of the embeddings keeps its input.
  const Index row = 2 * (8 * s.width + s.intermediate + 4) + 2 * s.width + 2 +
                    std::max(model::laid_slots(s.width, job.precision), model::laid_slots(s.intermediate, job.precision));
  return {"score",
          {{"program and tokenizer", job.overhead},
           {"weights", layout.parameters().size() * bytes},
           {"packed copy", s.layers * layer + head},
           {"activations", rows * row * bytes}}};
}

/// A causal language model with a score head, in a Hugging Face folder.
template <class = void>
model::MemoryPlan plan_scoring(const model::Shape& s, const model::WeightSizes& weights, const PlannedScoring& job) {
  const Index rows = std::max(job.tokens, std::min(job.longest, s.context));
  return {"score",
          {{"program and tokenizer", job.overhead},
           {"packed weights", weights.loaded},
           {"other weights", weights.early},
           {"activations", model::forward_bytes(s, rows, 1) + model::laid_bytes(s, rows, weights.precision) +
                               model::kernel_bytes(s, job.threads)}}};
}
}  // namespace vbon::reward
