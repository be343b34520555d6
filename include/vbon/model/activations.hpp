// vbon/model/activations.hpp
//
// What a block's forward pass leaves for its backward pass. Norm outputs and the MLP's activation are
// computed again there: they cost a pass over memory and would take a third of the space.
#pragma once
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/kernel/token_log_prob.hpp"
#include "vbon/model/shape.hpp"
#include "vbon/model/workspace.hpp"

namespace vbon::model {
/// Statistics of a norm's rows; the mean is for layer norm only.
template <Device D = Cpu>
struct NormStatistics {
  Buffer<D> inv_std, mean;  // [T]
};

template <Device D = Cpu>
struct BlockActivations {
  Buffer<D> input;   // [T, C] residual stream before the block
  Buffer<D> middle;  // [T, C] between attention and MLP (sequential blocks)
  NormStatistics<D> attention_norm, mlp_norm;
  Buffer<D> q, k, v;       // [T, heads D], [T, kv_heads D]: normalised and rotated
  Buffer<D> q_raw, k_raw;  // before their norm, where there is one
  NormStatistics<D> q_norm, k_norm;
  Buffer<D> attended;     // [T, heads D]
  Buffer<D> log_sum_exp;  // [T, heads]
  Buffer<D> gate, up;     // [T, inner] before the activation

  /// What is kept of a block from sampling for its backward pass, where the statistics of its own norms are made again.
  /// @param recompute  where all but attention is made again (MemoryOptions)
  std::vector<Buffer<D>*> recorded(bool recompute) {
    if (recompute) return {&input, &attended, &log_sum_exp};
    return {&input,       &middle,         &q,           &k,        &v,           &q_raw, &k_raw, &q_norm.inv_std,
            &q_norm.mean, &k_norm.inv_std, &k_norm.mean, &attended, &log_sum_exp, &gate,  &up};
  }
};

/// What a model may hold on to. No choice changes a result.
struct MemoryOptions {
  bool recompute = false;   // backward: keep the input of each block only, of sampled rows what attention gave too, and
                            // compute the rest of it again
  bool keep_packed = true;  // a second, packed copy of the weights, for speed in sampling; without it each use packs the
                            // plain ones, which costs little where every pass has many rows
  Index logit_bytes = 320 * 1024 * 1024;  // backward: keep as many logits, make the others again; 0 where it recomputes;
                                          // not used where sampling recorded their log-sum-exps

  /// Values of logits that a backward pass over so many read rows keeps.
  Index kept_logits(Index reads, Index vocabulary) const {
    return recompute ? 0 : kernel::kept_logits(reads, vocabulary, logit_bytes / static_cast<Index>(sizeof(float)));
  }
};

/// What a forward pass keeps for one row [bytes].
inline Index kept_bytes_per_row(const Shape& s, const MemoryOptions& memory) {
  const Index q = s.q_width() * (s.qk_norm ? 3 : 2), kv = s.kv_width() * (s.qk_norm ? 3 : 2);
  const Index block = s.width + q + kv + s.heads + (s.mlp == Mlp::gated ? 2 : 1) * s.inner + 4;
  const Index floats = s.layers * s.width + (memory.recompute ? 1 : s.layers) * block;
  return floats * static_cast<Index>(sizeof(float));
}

/// What a recording keeps of one row, at most [bytes].
inline Index recorded_bytes_per_row(const Shape& s, const MemoryOptions& memory) {
  constexpr auto value = static_cast<Index>(sizeof(float));
  const Index stream = s.width * value;
  if (memory.recompute) return s.layers * (s.width + s.q_width() + s.heads) * value + stream;
  return kept_bytes_per_row(s, memory) + stream;
}

/// Buffers shared by all blocks of a pass.
template <Device D = Cpu>
struct Scratch {
  Buffer<D> normed;     // [T, C] input of the linear maps
  Buffer<D> activated;  // [T, inner]
  Buffer<D> d_inner, d_gate, d_up;
  Buffer<D> d_normed, d_residual, d_attended, dq, dk, dv;
};
}  // namespace vbon::model
