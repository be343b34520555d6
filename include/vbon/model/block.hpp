// vbon/model/block.hpp
//
// One transformer block, forward: x + attention(norm(x)), then + mlp(norm(x)); or both from the same x
// (parallel residual). Who attends to whom is the caller's: training and prefill attend over a forest,
// decoding over cached keys and values.
#pragma once
#include <algorithm>
#include <span>

#include "vbon/kernel/gelu.hpp"
#include "vbon/kernel/rotary.hpp"
#include "vbon/kernel/swiglu.hpp"
#include "vbon/model/activations.hpp"
#include "vbon/model/norm.hpp"

namespace vbon::model {
/// What all blocks of a model share during a pass.
struct BlockContext {
  const Shape& shape;
  const Parameters<>& parameters;
  const kernel::Rotary& rotary;
  std::span<const Index> position;  // [T]
  Scratch<>& scratch;
};

namespace detail {
template <class = void>
void copy(View<const float> from, View<float> to) {
  if (from.data() == to.data()) return;
  parallel_for(from.size(), 1 << 16,
               [&](Index begin, Index end) { std::copy(from.data() + begin, from.data() + end, to.data() + begin); });
}
template <class = void>
void add(View<const float> from, View<float> to) {
  parallel_for(from.size(), 1 << 15, [&](Index begin, Index end) {
    to.slice(begin, end - begin).array() += from.slice(begin, end - begin).array();
  });
}

/// q or k: projected, normalised head by head where the family does so, rotated.
template <class = void>
View<float> project(const BlockContext& c, const Linear& linear, NormPlace place, View<const float> x, Buffer<>& raw,
                    NormStatistics<>& statistics, Buffer<>& out) {
  const View<float> y = out.shaped(x.rows(), linear.outputs());
  if (place.weight < 0) {
    linear.forward(c.parameters, x, y);
  } else {
    const View<float> before = raw.shaped(x.rows(), linear.outputs());
    linear.forward(c.parameters, x, before);
    const Index heads = y.size() / c.shape.head_dim;
    norm_forward(c.shape, c.parameters, place, before.reshaped(heads, c.shape.head_dim), y.reshaped(heads, c.shape.head_dim),
                 statistics);
  }
  if (c.shape.position == Position::rotary) kernel::rotate(Cpu{}, c.rotary, y, c.position);
  return y;
}

template <class = void>
void project_qkv(const BlockContext& c, const BlockPlaces& places, View<const float> x, BlockActivations<>& kept) {
  const View<float> normed = c.scratch.normed.shaped(x.rows(), x.cols());
  norm_forward(c.shape, c.parameters, places.attention_norm, x, normed, kept.attention_norm);
  project(c, places.q, places.q_norm, normed, kept.q_raw, kept.q_norm, kept.q);
  project(c, places.k, places.k_norm, normed, kept.k_raw, kept.k_norm, kept.k);
  places.v.forward(c.parameters, normed, kept.v.shaped(x.rows(), places.v.outputs()));
}

/// Calls f with the kernel's type of an activation.
template <class F>
void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::silu:
      return f(kernel::Silu{});
    case Activation::gelu_exact:
      return f(kernel::GeluExact{});
    case Activation::gelu_tanh:
      return f(kernel::GeluTanh{});
    case Activation::relu:
      return f(kernel::Relu{});
  }
}

/// The MLP's hidden layer after its activation, from gate and up.
template <class = void>
View<float> activate(const BlockContext& c, BlockActivations<>& kept) {
  const View<const float> up = kept.up.view();
  const View<float> out = c.scratch.activated.shaped(up.rows(), up.cols());
  const bool gated = c.shape.mlp == Mlp::gated;
  if (gated && c.shape.activation == Activation::silu) {
    kernel::swiglu(Cpu{}, kept.gate.view(), up, out);
    return out;
  }
  const View<const float> in = gated ? View<const float>(kept.gate.view()) : up;
  with_activation(c.shape.activation, [&]<class A>(A) { kernel::activate<A>(Cpu{}, in, out); });
  if (gated) out.array() *= up.array();
  return out;
}

/// The hidden layer of the MLP before its activation: gate and up of norm(x).
template <class = void>
void mlp_hidden(const BlockContext& c, const BlockPlaces& places, View<const float> x, BlockActivations<>& kept) {
  const View<float> normed = c.scratch.normed.shaped(x.rows(), x.cols());
  norm_forward(c.shape, c.parameters, places.mlp_norm, x, normed, kept.mlp_norm);
  if (places.gate.exists()) places.gate.forward(c.parameters, normed, kept.gate.shaped(x.rows(), places.gate.outputs()));
  places.up.forward(c.parameters, normed, kept.up.shaped(x.rows(), places.up.outputs()));
}
}  // namespace detail

/// What a block's backward pass reads.
/// @param x       [T, C] residual stream before the block; may be the same memory as `middle`, and is then overwritten
/// @param middle  [T, C] takes the stream between attention and MLP where the blocks are sequential
/// @param kept    takes q, k, v, ... of this block
/// @param attend  attend(kept): from kept.q, k, v to kept.attended
template <class Attend>
void block_activations(const BlockContext& c, const BlockPlaces& places, View<const float> x, View<float> middle,
                       BlockActivations<>& kept, Attend&& attend) {
  detail::project_qkv(c, places, x, kept);
  kept.attended.shaped(x.rows(), places.q.outputs());
  attend(kept);
  if (c.shape.residual == Residual::parallel) return detail::mlp_hidden(c, places, x, kept);
  detail::copy(x, middle);
  places.attention_out.forward(c.parameters, kept.attended.view(), middle, true);
  detail::mlp_hidden(c, places, middle, kept);
}

/// One block.
/// @param x       [T, C] residual stream before; may be the same memory as `out`, and is then overwritten
/// @param middle  [T, C] takes the stream between attention and MLP; may be the same memory as `out`
/// @param kept    q, k, v, ... of this block
/// @param attend  attend(kept): reads kept.q, k, v, fills kept.attended
/// @param out     [T, C] residual stream after
template <class Attend>
void block_forward(const BlockContext& c, const BlockPlaces& places, View<const float> x, View<float> middle,
                   BlockActivations<>& kept, Attend&& attend, View<float> out) {
  block_activations(c, places, x, middle, kept, attend);
  if (c.shape.residual == Residual::sequential) {
    detail::copy(middle, out);
  } else {
    detail::copy(x, out);
    places.attention_out.forward(c.parameters, kept.attended.view(), out, true);
  }
  places.down.forward(c.parameters, detail::activate(c, kept), out, true);
}
}  // namespace vbon::model
