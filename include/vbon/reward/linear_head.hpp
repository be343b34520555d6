// vbon/reward/linear_head.hpp
//
// A linear score on features, s = w . x + b, and its fits: to scores (least squares), to their signs
// (logistic), to preferences (Bradley-Terry). All are convex with an L2 penalty, so each has one answer,
// found to rounding by one solver.
#pragma once
#include <Eigen/Cholesky>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/reward/minimize.hpp"

namespace vbon::reward {
struct LinearHead {
  std::vector<double> weight;  // [D]
  double bias = 0;

  /// One score for each row of features [n, D].
  Array operator()(View<const float> features) const {
    const auto width = static_cast<Index>(weight.size());
    require<ShapeError>(features.cols() == width, "LinearHead: features of width ", width, " expected, got ", features.cols());
    const Eigen::Map<const Eigen::VectorXd> w(weight.data(), width);
    Array score(features.rows());
    parallel_for(features.rows(), 64, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i)
        score[i] = bias + Eigen::Map<const Eigen::VectorXf>(features.row(i).data(), width).cast<double>().dot(w);
    });
    return score;
  }
};

// Losses: value(score, dscore) gives the mean over what has weight and overwrites d value / d score.
// `curvature` bounds the second derivative of one term.

inline double log_one_plus_exp(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
inline double logistic(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

/// (s - target)^2 / 2
struct SquaredLoss {
  static constexpr double curvature = 1;
  std::vector<double> target;  // [n]
  std::vector<double> weight;  // [n] >= 0
  double operator()(const Array& score, Array& dscore) const {
    double sum = 0, total = 0;
    for (Index i = 0; i < score.size(); ++i) {
      const auto u = static_cast<std::size_t>(i);
      const double off = score[i] - target[u];
      sum += weight[u] * off * off / 2;
      dscore[i] = weight[u] * off;
      total += weight[u];
    }
    dscore /= total;
    return sum / total;
  }
};

/// -target log p - (1 - target) log(1 - p) with p = logistic(s)
struct LogisticLoss {
  static constexpr double curvature = 0.25;
  std::vector<double> target;  // [n] in [0, 1]
  std::vector<double> weight;  // [n] >= 0
  double operator()(const Array& score, Array& dscore) const {
    double sum = 0, total = 0;
    for (Index i = 0; i < score.size(); ++i) {
      const auto u = static_cast<std::size_t>(i);
      sum += weight[u] * (log_one_plus_exp(score[i]) - target[u] * score[i]);
      dscore[i] = weight[u] * (logistic(score[i]) - target[u]);
      total += weight[u];
    }
    dscore /= total;
    return sum / total;
  }
};

/// -log logistic(s_chosen - s_rejected - margin) + centering (s_chosen + s_rejected)^2: Bradley and Terry's
/// model with the margin of Touvron et al. (arXiv 2307.09288) and the centring of Eisenstein et al. (arXiv
/// 2312.09244). Rows [0, n) are the chosen, [n, 2n) the rejected.
struct PreferenceLoss {
  static constexpr double curvature = 0.5;
  std::vector<double> margin;  // [n]
  double centering = 0;
  double operator()(const Array& score, Array& dscore) const {
    const Index n = score.size() / 2;
    double sum = 0;
    for (Index i = 0; i < n; ++i) {
      const double gap = score[i] - score[n + i] - margin[static_cast<std::size_t>(i)];
      const double both = score[i] + score[n + i];
      sum += log_one_plus_exp(-gap) + centering * both * both;
      const double pull = -logistic(-gap);
      dscore[i] = pull + 2 * centering * both;
      dscore[n + i] = -pull + 2 * centering * both;
    }
    dscore /= static_cast<double>(n);
    return sum / static_cast<double>(n);
  }
};

/// Features of a training set, made ready for many fits.
class HeadFitter {
 public:
  /// @param features  [n, D]
  /// @throws ShapeError when there are none, DomainError when one is not finite
  explicit HeadFitter(View<const float> features) : centred_(features.rows(), features.cols()), mean_(Eigen::VectorXd::Zero(features.cols())) {
    require<ShapeError>(!features.empty(), "HeadFitter: features expected, got none");
    for (Index i = 0; i < features.rows(); ++i) mean_ += row_of(features, i);
    mean_ /= static_cast<double>(features.rows());
    require<DomainError>(mean_.allFinite(), "HeadFitter: finite features expected");
    for (Index i = 0; i < features.rows(); ++i)
      Eigen::Map<Eigen::VectorXf>(centred_.row(i).data(), features.cols()) = (row_of(features, i) - mean_).cast<float>();
    Tensor<float> gram(features.cols(), features.cols());
    kernel::matmul_grad_weight(Cpu{}, centred_.view(), centred_.view(), gram);
    gram_ = gram.view().matrix().cast<double>() / static_cast<double>(features.rows());
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
    Eigen::MatrixXd hessian = Loss::curvature * gram_;
    hessian.diagonal().array() += l2;
    const Eigen::LLT<Eigen::MatrixXd> factor(hessian);  // w and b do not meet in it: the features are centred
    Eigen::VectorXd x = Eigen::VectorXd::Zero(d + 1);   // w, b
    Array dscore(centred_.rows());
    const auto evaluate = [&](const Eigen::VectorXd& at, Eigen::VectorXd& gradient) {
      const Array score = LinearHead{{at.data(), at.data() + d}, at[d]}(centred_.view());
      const double value = loss(score, dscore) + l2 / 2 * at.head(d).squaredNorm();
      gradient.head(d) = transposed_product(dscore) + l2 * at.head(d);
      gradient[d] = dscore.sum();
      return value;
    };
    const auto precondition = [&](const Eigen::VectorXd& g) {
      Eigen::VectorXd out(d + 1);
      out.head(d) = factor.solve(g.head(d));
      out[d] = g[d] / Loss::curvature;
      return out;
    };
    Result result{{}, minimize(x, evaluate, precondition, options)};
    result.head = {{x.data(), x.data() + d}, x[d] - mean_.dot(x.head(d))};
    return result;
  }

 private:
  static Eigen::VectorXd row_of(View<const float> features, Index i) {
    return Eigen::Map<const Eigen::VectorXf>(features.row(i).data(), features.cols()).cast<double>();
  }
  /// X^T r in chunks of rows that are added in order.
  Eigen::VectorXd transposed_product(const Array& r) const {
    constexpr Index chunk = 512;
    const Index d = centred_.cols(), chunks = (centred_.rows() + chunk - 1) / chunk;
    Eigen::MatrixXd part = Eigen::MatrixXd::Zero(d, chunks);
    parallel_for(centred_.rows(), chunk, [&](Index begin, Index end) {
      auto sum = part.col(begin / chunk);
      for (Index i = begin; i < end; ++i) sum += r[i] * row_of(centred_.view(), i);
    });
    Eigen::VectorXd total = Eigen::VectorXd::Zero(d);
    for (Index c = 0; c < chunks; ++c) total += part.col(c);
    return total;
  }

  Tensor<float> centred_;  // [n, D]
  Eigen::VectorXd mean_;   // [D]
  Eigen::MatrixXd gram_;   // [D, D] of the centred features, per row
};
}  // namespace vbon::reward
