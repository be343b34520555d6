// vbon/model/memory_plan.hpp
//
// How many bytes a model of a shape holds in each use, before it is loaded: the sizes of the buffers that
// causal_lm.hpp, kv_cache.hpp and the kernels take, counted rather than measured.
#pragma once
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "vbon/kernel/token_log_prob.hpp"
#include "vbon/model/activations.hpp"
#include "vbon/model/kv_cache.hpp"
#include "vbon/model/network.hpp"
#include "vbon/model/registry.hpp"
#include "vbon/model/source.hpp"

namespace vbon::model {
/// What is held at once, taken apart.   [bytes]
struct MemoryPlan {
  std::string stage;
  std::vector<std::pair<std::string, Index>> part;
  Index bytes() const {
    Index sum = 0;
    for (const auto& [name, size] : part) sum += size;
    return sum;
  }
};

namespace detail {
constexpr Index float_bytes = static_cast<Index>(sizeof(float));
}

/// A linear map as the matrix kernel keeps it.   [bytes]
/// @param format  nullptr: as floats
inline Index packed_bytes(Index outputs, Index inputs, const kernel::PackedFormat* format = nullptr) {
  constexpr Index panel = kernel::PackedMatrix<float>::width;
  return (outputs + panel - 1) / panel * kernel::packed_panel_size(inputs, format) * detail::float_bytes;
}

/// What does not depend on the use.   [bytes]
struct WeightSizes {
  Index values = 0;  // all parameters
  Index packed = 0;  // the second copy of the linear maps, for the matrix kernel, of weights that move
  Index loaded = 0;  // the same in the bits of the file, which a model has until its weights change
  Index early = 0;   // the parameters that a forward pass needs beside that copy
  kernel::Precision precision = kernel::Precision::float32;  // of the linear maps
};
/// @throws FormatError as find_tensors()
template <class = void>
WeightSizes weight_sizes(const Shape& shape, const TensorSource& source,
                         kernel::Precision precision = kernel::Precision::float32) {
  Parameters<> parameters;  // laid out, never filled
  FoundTensors found = find_tensors(source, find_family(shape.family), shape, parameters);
  const auto later = read_by_linear_maps_alone(found.network, source.gguf);
  const auto compact = compact_rows(source, found, parameters, precision);
  const auto* moving = precision == kernel::Precision::bfloat16 ? kernel::bfloat16_format : nullptr;
  WeightSizes sizes;
  sizes.precision = precision;
  sizes.values = parameters.size() * detail::float_bytes;
  for (std::size_t i = 0; i < later.size(); ++i)
    if (!later[i]) sizes.early += parameters.list()[i].size() * detail::float_bytes;
  found.network.for_each_linear([&](const Linear& linear) {
    const auto& rows = compact[static_cast<std::size_t>(parameters.number_at(linear.place()))];
    const auto* format = rows ? kernel::find_packed_format(rows->type, linear.inputs()) : moving;
    sizes.packed += packed_bytes(linear.outputs(), linear.inputs(), moving);
    sizes.loaded += packed_bytes(linear.outputs(), linear.inputs(), format);
  });
  return sizes;
}

/// A pass over rows that keeps nothing for a backward pass.
/// @param reads  rows that the head is applied to
inline Index forward_bytes(const Shape& s, Index rows, Index reads) {
  const Index qk_raw = s.qk_norm ? s.q_width() + s.kv_width() : 0;
  const Index block = 2 * s.q_width() + 2 * s.kv_width() + qk_raw + s.heads + (s.mlp == Mlp::gated ? 2 : 1) * s.inner;
  const Index stream = 2 * s.width, scratch = s.width + s.inner;
  return (rows * (block + stream + scratch) + reads * s.width) * detail::float_bytes;
}

/// Floats of each row of so many values that a product lays out anew.
inline Index laid_slots(Index depth, kernel::Precision precision) {
  return kernel::detail::laid_slots<kernel::detail::Bfloat16Slots<xsimd::default_arch>>(depth, precision);
}
/// What a product holds beside that: its rows, where it lays them out anew.
inline Index laid_bytes(const Shape& s, Index rows, kernel::Precision precision) {
  return rows * detail::float_bytes *
         std::max({laid_slots(s.inner, precision), laid_slots(s.q_width(), precision), laid_slots(s.width, precision)});
}

/// What a backward pass holds beside what forward_bytes() counts of the same rows.
inline Index backward_bytes(const Shape& s, Index rows, Index reads, const MemoryOptions& memory = {}) {
  const Index gated = s.mlp == Mlp::gated ? 1 : 0;
  const Index scratch = (2 + gated) * s.inner + 2 * s.width + 2 * s.q_width() + 2 * s.kv_width();
  const Index streams = 2 * s.width;
  const Index head = reads * s.width + memory.kept_logits(reads, s.vocab);
  return rows * kept_bytes_per_row(s, memory) + (rows * (scratch + streams) + head) * detail::float_bytes;
}

/// Keys and values of `sequences` responses of `tokens` tokens that grow together from `prompts` prompts.
inline Index cache_bytes(const Shape& s, Index prompts, Index prompt_tokens, Index sequences, Index tokens) {
  constexpr Index page = KvPool<>::page_rows;
  const Index row = 2 * s.layers * s.kv_width() * detail::float_bytes;
  const Index grown = (std::max<Index>(0, tokens - 1) + page - 1) / page * page;  // the last token is never fed
  return row * (prompts * prompt_tokens + sequences * grown);
}

/// What the threads keep between calls of the head and the matrix kernels.
/// @param trained_reads  rows that a loss is computed on at once; 0: none
/// @param trains_head    whether the head's weight has a gradient
/// @param precision      of the head
inline Index kernel_bytes(const Shape& s, Index threads, Index trained_reads = 0, bool trains_head = true,
                          kernel::Precision precision = kernel::Precision::float32) {
  const Index width = kernel::PackedMatrix<float>::width, tile = kernel::detail::vocabulary_tile;
  const Index padded = (s.width + width - 1) / width * width;
  const Index logits = 2 * kernel::detail::head_rows * tile;
  if (trained_reads == 0) return threads * logits * detail::float_bytes;
  const Index turned = padded * tile + std::max({s.inner, s.q_width(), s.width}) * width;
  const Index block = tile * kernel::detail::backward_rows;  // gradients of logits, packed and rounded
  const Index gradient = (trains_head ? block : 0) + (precision == kernel::Precision::bfloat16 ? block : 0);
  const Index slice = std::min(kernel::detail::backward_slice, trained_reads);
  const Index partial = kernel::detail::backward_groups * slice * s.width + (trains_head ? slice * padded : 0);
  const Index weights = std::min<Index>(kernel::detail::grad_slice, trained_reads) * 2 *
                        std::max({s.inner, s.q_width(), padded});  // packed dy and x
  return (threads * (logits + turned + gradient) + partial + weights) * detail::float_bytes;
}
}  // namespace vbon::model
