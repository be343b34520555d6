// vbon/model/block_backward.hpp
//
// The derivative of block.hpp, by hand, from the activations the forward pass kept. Gradients of the
// parameters are added to; the gradient of the residual stream is turned from the block's output to its
// input in place.
#pragma once
#include <span>

#include "vbon/kernel/attention.hpp"
#include "vbon/kernel/attention_backward.hpp"
#include "vbon/model/block.hpp"

namespace vbon::model {
namespace detail {
/// d activated -> d gate, d up (d up only for a plain MLP).
template <class = void>
void activate_backward(const BlockContext& c, BlockActivations<>& kept, View<const float> d, View<float> dgate,
                       View<float> dup) {
  const View<const float> up = kept.up.view();
  const bool gated = c.shape.mlp == Mlp::gated;
  if (gated && c.shape.activation == Activation::silu)
    return kernel::swiglu_backward(Cpu{}, kept.gate.view(), up, d, dgate, dup);
  with_activation(c.shape.activation, [&]<class A>(A) {
    if (!gated) return kernel::activate_backward<A>(Cpu{}, up, d, dup);
    kernel::activate<A>(Cpu{}, kept.gate.view(), dup);
    dup.array() *= d.array();
    kernel::activate_backward<A>(Cpu{}, kept.gate.view(), d, dgate);
    dgate.array() *= up.array();
  });
}

/// dx += d mlp(norm(x)) for the MLP that read x; d is the gradient of its output and may be dx itself.
template <class = void>
void mlp_backward(const BlockContext& c, Parameters<>& parameters, const BlockPlaces& places, View<const float> x,
                  BlockActivations<>& kept, View<const float> d, View<float> dx) {
  Scratch<>& s = c.scratch;
  const View<const float> activated = activate(c, kept);
  const View<float> dactivated = s.d_inner.shaped(activated.rows(), activated.cols());
  places.down.backward(parameters, d, activated, dactivated);
  const View<float> dup = s.d_up.shaped(activated.rows(), activated.cols());
  View<float> dgate;
  if (places.gate.exists()) dgate = s.d_gate.shaped(activated.rows(), activated.cols());
  activate_backward(c, kept, dactivated, dgate, dup);
  const View<float> normed = s.normed.shaped(x.rows(), x.cols());
  norm_forward(c.shape, parameters, places.mlp_norm, x, normed, kept.mlp_norm);
  const View<float> dnormed = s.d_normed.shaped(x.rows(), x.cols());
  places.up.backward(parameters, dup, normed, dnormed);
  if (places.gate.exists()) places.gate.backward(parameters, dgate, normed, dnormed, true);
  const View<float> through_norm = s.d_residual.shaped(x.rows(), x.cols());
  norm_backward(parameters, places.mlp_norm, dnormed, x, kept.mlp_norm, through_norm);
  add(through_norm, dx);
}

/// The gradient of q or k after rotation and norm -> of the projection's output, in place.
template <class = void>
void project_backward(const BlockContext& c, Parameters<>& parameters, NormPlace place, Buffer<>& raw,
                      const NormStatistics<>& statistics, View<float> d) {
  if (c.shape.position == Position::rotary) kernel::rotate(Cpu{}, c.rotary, d, c.position, true);
  if (place.weight < 0) return;
  const Index heads = d.size() / c.shape.head_dim;
  const View<float> before = c.scratch.d_attended.shaped(d.rows(), d.cols());
  norm_backward(parameters, place, d.reshaped(heads, c.shape.head_dim), raw.view().reshaped(heads, c.shape.head_dim),
                statistics, before.reshaped(heads, c.shape.head_dim));
  copy(before, d);
}

/// dx += d attention(norm(x)); d is the gradient of its output and may be dx itself.
template <class = void>
void attention_block_backward(const BlockContext& c, Parameters<>& parameters, const BlockPlaces& places, Index layer,
                              std::span<const kernel::Segment> segments, View<const float> x, BlockActivations<>& kept,
                              View<const float> d, View<float> dx) {
  Scratch<>& s = c.scratch;
  const View<float> dattended = s.d_attended.shaped(x.rows(), places.q.outputs());
  places.attention_out.backward(parameters, d, kept.attended.view(), dattended);
  const View<float> dq = s.dq.shaped(x.rows(), places.q.outputs());
  const View<float> dk = s.dk.shaped(x.rows(), places.k.outputs());
  const View<float> dv = s.dv.shaped(x.rows(), places.v.outputs());
  const kernel::HeadShape heads{c.shape.heads, c.shape.kv_heads, c.shape.head_dim, c.shape.attention_scale(layer)};
  kernel::attention_backward(Cpu{}, kept.q.view(), kept.k.view(), kept.v.view(), kept.attended.view(),
                             kept.log_sum_exp.view(), dattended, segments, heads, kernel::Mask::causal, dq, dk, dv);
  project_backward(c, parameters, places.q_norm, kept.q_raw, kept.q_norm, dq);
  project_backward(c, parameters, places.k_norm, kept.k_raw, kept.k_norm, dk);
  const View<float> normed = s.normed.shaped(x.rows(), x.cols());
  norm_forward(c.shape, parameters, places.attention_norm, x, normed, kept.attention_norm);
  const View<float> dnormed = s.d_normed.shaped(x.rows(), x.cols());
  places.q.backward(parameters, dq, normed, dnormed);
  places.k.backward(parameters, dk, normed, dnormed, true);
  places.v.backward(parameters, dv, normed, dnormed, true);
  const View<float> through_norm = s.d_residual.shaped(x.rows(), x.cols());
  norm_backward(parameters, places.attention_norm, dnormed, x, kept.attention_norm, through_norm);
  add(through_norm, dx);
}
}  // namespace detail

/// One block, backward.
/// @param x      [T, C] the block's input
/// @param kept   what block_activations() made
/// @param dx     [T, C] gradient of the block's output on entry, of its input on return
/// @param spare  memory for a copy of dx
template <class = void>
void block_backward(const BlockContext& c, Parameters<>& parameters, const BlockPlaces& places, Index layer,
                    std::span<const kernel::Segment> segments, View<const float> x, BlockActivations<>& kept, View<float> dx,
                    Buffer<>& spare) {
  if (c.shape.residual == Residual::sequential) {
    detail::mlp_backward(c, parameters, places, kept.middle.view(), kept, dx, dx);
    detail::attention_block_backward(c, parameters, places, layer, segments, x, kept, dx, dx);
    return;
  }
  const View<float> d = spare.shaped(dx.rows(), dx.cols());
  detail::copy(dx, d);
  detail::mlp_backward(c, parameters, places, x, kept, d, dx);
  detail::attention_block_backward(c, parameters, places, layer, segments, x, kept, d, dx);
}
}  // namespace vbon::model
