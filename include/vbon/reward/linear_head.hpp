// vbon/reward/linear_head.hpp
//
// A linear score on features, s = w . x + b, and its fits: to scores (least squares), to their signs
// (logistic), to preferences (Bradley-Terry). All are convex with an L2 penalty, so each has one answer,
// found to rounding by one solver.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/reward/dense.hpp"
#include "vbon/reward/minimize.hpp"
#include "vbon/reward/score_loss.hpp"

namespace vbon::reward {
struct LinearHead {
  Vector weight;  // [D]
  double bias = 0;

  /// One score for each row of features [n, D].
  template <class = void>
  Array operator()(View<const float> features) const {
    const auto width = static_cast<Index>(weight.size());
    require<ShapeError>(features.cols() == width, "LinearHead: features of width ", width, " expected, got ",
                        features.cols());
    Array score(features.rows());
    parallel_for(features.rows(), 64, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) score[i] = bias + dot(features.row(i).data(), weight.data(), width);
    });
    return score;
  }
};

/// Features of a training set, made ready for many fits.
class HeadFitter {
 public:
  /// @param features  [n, D]
  /// @throws ShapeError when there are none, DomainError when one is not finite
  template <class = void>
  explicit HeadFitter(View<const float> features)
      : centred_(features.rows(), features.cols()), mean_(static_cast<std::size_t>(features.cols())) {
    require<ShapeError>(!features.empty(), "HeadFitter: features expected, got none");
    const Index n = features.rows(), d = features.cols();
    for (Index i = 0; i < n; ++i) add_scaled(1 / static_cast<double>(n), features.row(i).data(), mean_.data(), d);
    require<DomainError>(std::isfinite(norm(mean_)), "HeadFitter: finite features expected");
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < d; ++j)
        centred_(i, j) = static_cast<float>(static_cast<double>(features(i, j)) - mean_[static_cast<std::size_t>(j)]);
    gram_ = Tensor<float>(d, d);
    kernel::matmul_grad_weight(Cpu{}, centred_.view(), centred_.view(), gram_);
  }

  struct Result {
    LinearHead head;
    Minimum minimum;
  };

  /// argmin over (w, b) of loss(scores) + l2 |w|^2 / 2.
  /// @throws DomainError when l2 is not positive: without it the answer need not exist
  template <class Loss>
  Result fit(const Loss& loss, double l2, const MinimizeOptions& options = {}) const {
    require<DomainError>(l2 > 0 && std::isfinite(l2), "HeadFitter: l2 > 0 expected, got ", l2);
    const Index d = centred_.cols();
    const auto bias = static_cast<std::size_t>(d);
    const Cholesky hessian = bounding_hessian(Loss::curvature, l2);  // w and b do not meet in it: features are centred
    LinearHead head{Vector(bias), 0};
    Array dscore(centred_.rows());
    const auto evaluate = [&](const Vector& at, Vector& gradient) {
      std::copy_n(at.begin(), d, head.weight.begin());
      head.bias = at[bias];
      const Array score = head(centred_.view());
      const double value = loss(score, dscore) + l2 / 2 * dot(head.weight, head.weight);
      gradient_of(dscore, gradient);
      add_scaled(l2, at.data(), gradient.data(), d);
      return value;
    };
    const auto precondition = [&](Vector& g) {
      hessian.solve(g.data());
      g[bias] /= Loss::curvature;
    };
    Vector x(bias + 1);  // w, b
    const Minimum minimum = minimize(x, evaluate, precondition, options);
    return {{Vector(x.begin(), x.end() - 1), x[bias] - dot(mean_.data(), x.data(), d)}, minimum};
  }

 private:
  Cholesky bounding_hessian(double curvature, double l2) const {
    const Index d = centred_.cols();
    Vector matrix(static_cast<std::size_t>(d * d));
    add_scaled(curvature / static_cast<double>(centred_.rows()), gram_.data(), matrix.data(), d * d);
    // The Gram matrix is of float: a little more on the diagonal keeps it positive definite.
    double trace = 0;
    for (Index j = 0; j < d; ++j) trace += matrix[static_cast<std::size_t>(j * (d + 1))];
    for (Index j = 0; j < d; ++j)
      matrix[static_cast<std::size_t>(j * (d + 1))] += l2 + 1e-6 * trace / static_cast<double>(d);
    return {std::move(matrix), d};
  }
  /// (X^T dscore, sum of dscore), in chunks of rows that are added in order.
  template <class = void>
  void gradient_of(const Array& dscore, Vector& gradient) const {
    constexpr Index chunk = 512;
    const Index d = centred_.cols();
    Tensor<double> part((centred_.rows() + chunk - 1) / chunk, d + 1);
    parallel_for(centred_.rows(), chunk, [&](Index begin, Index end) {
      double* sum = part.row(begin / chunk).data();
      for (Index i = begin; i < end; ++i) {
        add_scaled(dscore[i], centred_.row(i).data(), sum, d);
        sum[d] += dscore[i];
      }
    });
    std::fill(gradient.begin(), gradient.end(), 0.0);
    for (Index c = 0; c < part.rows(); ++c) add_scaled(1, part.row(c).data(), gradient.data(), d + 1);
  }

  Tensor<float> centred_;  // [n, D]
  Vector mean_;            // [D]
  Tensor<float> gram_;     // [D, D] of the centred features
};
}  // namespace vbon::reward
