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
  Index tokens = 128;  // of the texts that go through the network together
};

/// An encoder, with or without a classification head. Its plain weights stay beside the packed ones.
inline model::MemoryPlan plan_scoring(const model::EncoderShape& s, const model::EncoderNames& names,
                                      const PlannedScoring& job) {
  constexpr Index bytes = model::detail::float_bytes;
  const model::Encoder layout(s, names);  // never filled
  const Index head = s.labels > 0 ? model::packed_bytes(s.width, s.width) + model::packed_bytes(s.labels, s.width) : 0;
  const Index layer = 4 * model::packed_bytes(s.width, s.width) + model::packed_bytes(s.intermediate, s.width) +
                      model::packed_bytes(s.width, s.intermediate);
  const Index rows = job.threads * std::max(job.tokens, s.max_length());  // each thread has a batch of its own
  // Two layers take turns (EncoderTape); the norm of the embeddings keeps its input.
  const Index row = 2 * (8 * s.width + 2 * s.intermediate + 4) + 2 * s.width + 2;
  return {"score",
          {{"program and tokenizer", job.overhead},
           {"weights", layout.parameters().size() * bytes},
           {"packed copy", s.layers * layer + head},
           {"activations", rows * row * bytes}}};
}

/// A causal language model with a score head, in a Hugging Face folder.
inline model::MemoryPlan plan_scoring(const model::Shape& s, const model::WeightSizes& weights, const PlannedScoring& job) {
  const Index rows = std::max(job.tokens, s.context);
  return {"score",
          {{"program and tokenizer", job.overhead},
           {"packed weights", weights.loaded},
           {"other weights", weights.early},
           {"activations", model::forward_bytes(s, rows, 1) + model::kernel_bytes(s, job.threads)}}};
}
}  // namespace vbon::reward
