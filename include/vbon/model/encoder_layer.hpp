// vbon/model/encoder_layer.hpp
//
// One post-norm transformer block of an encoder, forward and backward:
//   a = LN(x + W_o attention(W_q x, W_k x, W_v x)),   y = LN(a + W_down act(W_up a))
#pragma once
#include <cmath>
#include <span>
#include <string>

#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/attention.hpp"
#include "vbon/kernel/attention_backward.hpp"
#include "vbon/kernel/gelu.hpp"
#include "vbon/kernel/layer_norm.hpp"
#include "vbon/model/encoder_shape.hpp"
#include "vbon/model/linear.hpp"
#include "vbon/model/parameters.hpp"
#include "vbon/model/workspace.hpp"

namespace vbon::model {
/// Whether a forward pass keeps what a backward pass will need.
enum class Keep { output, all };

/// LayerNorm with named parameters.
class EncoderNorm {
 public:
  /// What the backward pass needs.
  struct Tape {
    Buffer<> sum;            // [T, C] its input
    Buffer<> mean, inv_std;  // [T]
  };

  EncoderNorm() = default;
  template <class = void>
  EncoderNorm(Parameters<>& parameters, const std::string& name, Index width, double epsilon)
      : weight_(parameters.add(name + ".weight", {width})),
        bias_(parameters.add(name + ".bias", {width})),
        epsilon_(static_cast<float>(epsilon)) {}

  /// y = LN(tape.sum)
  template <class = void>
  void forward(const Parameters<>& parameters, Tape& tape, View<float> y) const {
    const View<float> x = tape.sum.view();
    kernel::layer_norm(Cpu{}, x, parameters.value(weight_), parameters.value(bias_), epsilon_, y,
                       tape.mean.shaped(1, x.rows()), tape.inv_std.shaped(1, x.rows()));
  }
  /// dx is overwritten; the gradients of weight and bias are added to.
  template <class = void>
  void backward(Parameters<>& parameters, const Tape& tape, View<const float> dy, View<float> dx) const {
    kernel::layer_norm_backward(Cpu{}, tape.sum.view(), parameters.value(weight_), tape.mean.view(), tape.inv_std.view(), dy,
                                dx, parameters.gradient(weight_), parameters.gradient(bias_));
  }

 private:
  Index weight_ = 0;
  Index bias_ = 0;
  float epsilon_ = 0;
};

class EncoderLayer {
 public:
  /// Activations of one forward pass; what backward needs, and the output.
  struct Tape {
    Buffer<> query, key, value, context;  // [T, C]
    Buffer<> log_sum_exp;                 // [T, heads]
    EncoderNorm::Tape attention_norm;
    Buffer<> attended;    // [T, C] a
    Buffer<> up, active;  // [T, intermediate] before and after the activation
    EncoderNorm::Tape output_norm;
    Buffer<> output;  // [T, C] y
  };
  /// Memory of the backward pass, shared by all layers.
  struct Scratch {
    Buffer<> narrow[4];  // [T, C]
    Buffer<> wide[2];    // [T, intermediate]
  };

  template <class = void>
  EncoderLayer(Parameters<>& parameters, const EncoderShape& shape, const EncoderNames& names, const std::string& prefix,
               Index layer)
      : heads_{shape.heads, shape.heads, shape.width / shape.heads,
               1 / std::sqrt(static_cast<float>(shape.width / shape.heads))},
        activation_(shape.activation) {
    const Index c = shape.width;
    const auto linear = [&](EncoderSlot slot, Index outputs, Index inputs) {
      return Linear(parameters, prefix + names.tensor(slot, layer), outputs, inputs);
    };
    const auto norm = [&](EncoderSlot slot) {
      return EncoderNorm(parameters, prefix + names.tensor(slot, layer), c, shape.norm_epsilon);
    };
    query_ = linear(EncoderSlot::query, c, c);
    key_ = linear(EncoderSlot::key, c, c);
    value_ = linear(EncoderSlot::value, c, c);
    attention_output_ = linear(EncoderSlot::attention_output, c, c);
    attention_norm_ = norm(EncoderSlot::attention_norm);
    up_ = linear(EncoderSlot::up, shape.intermediate, c);
    down_ = linear(EncoderSlot::down, c, shape.intermediate);
    output_norm_ = norm(EncoderSlot::output_norm);
  }

  kernel::Precision precision() const { return query_.precision(); }
  /// use(Linear&) for each linear map.
  template <class Use>
  void for_each_linear(const Use& use) {
    for (Linear* linear : {&query_, &key_, &value_, &attention_output_, &up_, &down_}) use(*linear);
  }

  /// @param x  [T, C], must stay as it is until backward
  /// @return   y [T, C], in the tape
  template <class = void>
  View<const float> forward(const Parameters<>& parameters, View<const float> x, std::span<const kernel::Segment> segments,
                            Tape& tape, Keep keep = Keep::all) const {
    const Index rows = x.rows(), c = x.cols();
    query_.forward(parameters, x, tape.query.shaped(rows, c));
    key_.forward(parameters, x, tape.key.shaped(rows, c));
    value_.forward(parameters, x, tape.value.shaped(rows, c));
    kernel::attention(Cpu{}, tape.query.view(), tape.key.view(), tape.value.view(), segments, heads_, kernel::Mask::full,
                      tape.context.shaped(rows, c), tape.log_sum_exp.shaped(keep == Keep::all ? rows : 0, heads_.heads));

    attention_output_.forward(parameters, tape.context.view(), tape.attention_norm.sum.shaped(rows, c));
    tape.attention_norm.sum.view().array() += x.array();
    attention_norm_.forward(parameters, tape.attention_norm, tape.attended.shaped(rows, c));

    const View<const float> a = tape.attended.view();
    const Index wide = up_.outputs();
    up_.forward(parameters, a, tape.up.shaped(rows, wide));
    const View<float> active = keep == Keep::all ? tape.active.shaped(rows, wide) : tape.up.view();
    activate(tape.up.view(), active);
    down_.forward(parameters, active, tape.output_norm.sum.shaped(rows, c));
    tape.output_norm.sum.view().array() += a.array();
    output_norm_.forward(parameters, tape.output_norm, tape.output.shaped(rows, c));
    return tape.output.view();
  }

  /// Turns dy into dx in place and adds to the gradients of the parameters.
  template <class = void>
  void backward(Parameters<>& parameters, View<const float> x, std::span<const kernel::Segment> segments, const Tape& tape,
                Scratch& scratch, View<float> dy_then_dx) {
    const Index rows = x.rows(), c = x.cols(), wide = tape.up.view().cols();
    const View<float> dsum = scratch.narrow[0].shaped(rows, c);
    const View<float> da = dy_then_dx;
    output_norm_.backward(parameters, tape.output_norm, dy_then_dx, dsum);
    da.array() = dsum.array();
    const View<float> dactive = scratch.wide[0].shaped(rows, wide);
    down_.backward(parameters, dsum, tape.active.view(), dactive);
    const View<float> dup = scratch.wide[1].shaped(rows, wide);
    activate_backward(tape.up.view(), dactive, dup);
    up_.backward(parameters, dup, tape.attended.view(), da, true);

    attention_norm_.backward(parameters, tape.attention_norm, da, dsum);
    const View<float> dx = dy_then_dx;
    dx.array() = dsum.array();
    const View<float> dcontext = scratch.narrow[1].shaped(rows, c);
    attention_output_.backward(parameters, dsum, tape.context.view(), dcontext);
    const View<float> dquery = scratch.narrow[0].shaped(rows, c);
    const View<float> dkey = scratch.narrow[2].shaped(rows, c);
    const View<float> dvalue = scratch.narrow[3].shaped(rows, c);
    kernel::attention_backward(Cpu{}, tape.query.view(), tape.key.view(), tape.value.view(), tape.context.view(),
                               tape.log_sum_exp.view(), dcontext, segments, heads_, kernel::Mask::full, dquery, dkey,
                               dvalue);
    query_.backward(parameters, dquery, x, dx, true);
    key_.backward(parameters, dkey, x, dx, true);
    value_.backward(parameters, dvalue, x, dx, true);
  }

 private:
  template <class = void>
  void activate(View<const float> x, View<float> y) const {
    switch (activation_) {
      case Activation::gelu_exact:
        return kernel::activate<kernel::GeluExact>(Cpu{}, x, y);
      case Activation::gelu_tanh:
        return kernel::activate<kernel::GeluTanh>(Cpu{}, x, y);
      case Activation::relu:
        return kernel::activate<kernel::Relu>(Cpu{}, x, y);
      case Activation::silu:
        return kernel::activate<kernel::Silu>(Cpu{}, x, y);
    }
  }
  template <class = void>
  void activate_backward(View<const float> x, View<const float> dy, View<float> dx) const {
    switch (activation_) {
      case Activation::gelu_exact:
        return kernel::activate_backward<kernel::GeluExact>(Cpu{}, x, dy, dx);
      case Activation::gelu_tanh:
        return kernel::activate_backward<kernel::GeluTanh>(Cpu{}, x, dy, dx);
      case Activation::relu:
        return kernel::activate_backward<kernel::Relu>(Cpu{}, x, dy, dx);
      case Activation::silu:
        return kernel::activate_backward<kernel::Silu>(Cpu{}, x, dy, dx);
    }
  }

  kernel::HeadShape heads_;
  Activation activation_;
  Linear query_, key_, value_, attention_output_;
  EncoderNorm attention_norm_;
  Linear up_, down_;
  EncoderNorm output_norm_;
};
}  // namespace vbon::model
