// vbon/optim/adamw.hpp
//
// Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled weight decay regularization",
// arXiv 1711.05101), bias-corrected. One pass over memory; pieces of fixed size, so the result does not
// depend on the number of threads.
#pragma once
#include <cmath>
#include <vector>

#include "vbon/core/simd.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/optim/concept.hpp"
#include "vbon/optim/parameter_range.hpp"

namespace vbon::optim {
/// What a checkpoint must keep. Views of the moments are the moments: reading or filling them copies once.
struct AdamWState {
  Index steps = 0;
  Tensor<float> first;   // [parameters] running mean of the gradient
  Tensor<float> second;  // [parameters] running mean of its square
};

///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
///   p = p (1 - rate decay) - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
struct AdamW {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  std::vector<ParameterRange> ranges = {};  // in order; empty: all parameters alike
  AdamWState state = {};

  /// One step against the gradients times `gradient_scale` (a clip factor; saves a pass over memory).
  /// @throws ShapeError   when sizes differ from each other or from the state
  /// @throws DomainError  when a setting leaves its range
  template <class = void>
  void step(View<float> parameters, View<const float> gradients, double gradient_scale = 1) {
    check(parameters.size(), gradients.size());
    if (state.first.empty()) {
      state.first = Tensor<float>(parameters.size());
      state.second = Tensor<float>(parameters.size());
    }
    ++state.steps;
    const auto t = static_cast<double>(state.steps);
    const double correct_first = 1 - std::pow(beta1, t);
    const double correct_second = 1 / std::sqrt(1 - std::pow(beta2, t));
    for_each_piece(parameters.size(), Index{1} << 14, ranges, [&](Index begin, Index end, const ParameterRange& range) {
      if (range.rate == 0) return;
      const double piece_rate = rate * range.rate;
      const Factors factors{.keep = real(1 - piece_rate * weight_decay * range.weight_decay),
                            .step = real(piece_rate / correct_first),
                            .root = real(correct_second),
                            .epsilon = real(epsilon),
                            .beta1 = real(beta1),
                            .one_minus_beta1 = real(1 - beta1),
                            .beta2 = real(beta2),
                            .one_minus_beta2 = real(1 - beta2),
                            .scale = real(gradient_scale)};
      update(begin, end, factors, parameters.data(), gradients.data());
    });
  }

 private:
  struct Factors {
    float keep, step, root, epsilon, beta1, one_minus_beta1, beta2, one_minus_beta2, scale;
  };
  static float real(double x) { return static_cast<float>(x); }

  template <class = void>
  void check(Index parameters, Index gradients) const {
    require<ShapeError>(parameters == gradients, "AdamW: as many gradients as parameters expected, got ", gradients, " and ",
                        parameters);
    require<ShapeError>(
        state.first.size() == state.second.size() && (state.first.empty() || state.first.size() == parameters),
        "AdamW: state for ", state.first.size(), " parameters, got ", parameters);
    require<DomainError>(rate >= 0 && std::isfinite(rate), "AdamW: rate >= 0 expected, got ", rate);
    require<DomainError>(beta1 >= 0 && beta1 < 1, "AdamW: beta1 in [0, 1) expected, got ", beta1);
    require<DomainError>(beta2 >= 0 && beta2 < 1, "AdamW: beta2 in [0, 1) expected, got ", beta2);
    require<DomainError>(epsilon > 0, "AdamW: epsilon > 0 expected, got ", epsilon);
    require<DomainError>(weight_decay >= 0, "AdamW: weight_decay >= 0 expected, got ", weight_decay);
  }

  /// The same expression on a register of floats and on one float (the tail of a piece).
  template <class Real>
  static void update_at(const Factors& f, const Real& gradient, Real& p, Real& m, Real& v) {
    using std::sqrt;
    const Real g = gradient * Real(f.scale);
    m = Real(f.beta1) * m + Real(f.one_minus_beta1) * g;
    v = Real(f.beta2) * v + Real(f.one_minus_beta2) * (g * g);
    p = p * Real(f.keep) - Real(f.step) * m / (sqrt(v) * Real(f.root) + Real(f.epsilon));
  }

  template <class = void>
  void update(Index begin, Index end, const Factors& f, float* parameter, const float* gradient) {
    using Batch = xsimd::batch<float>;
    constexpr auto width = static_cast<Index>(Batch::size);
    float* first = state.first.data();
    float* second = state.second.data();
    Index i = begin;
    for (; i + width <= end; i += width) {
      Batch p = Batch::load_unaligned(parameter + i);
      Batch m = Batch::load_unaligned(first + i);
      Batch v = Batch::load_unaligned(second + i);
      update_at(f, Batch::load_unaligned(gradient + i), p, m, v);
      p.store_unaligned(parameter + i);
      m.store_unaligned(first + i);
      v.store_unaligned(second + i);
    }
    for (; i < end; ++i) update_at(f, gradient[i], parameter[i], first[i], second[i]);
  }
};
}  // namespace vbon::optim
