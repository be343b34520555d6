// vbon/reward/head_training.hpp
//
// Fits a linear score to scored features: by least squares on the scores or by logistic regression on their
// signs, with the L2 penalty given or chosen by cross-validation. Folds follow a hash of the text, so equal
// texts share a fold and the choice does not depend on the order of the data.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/reward/agreement.hpp"
#include "vbon/reward/linear_head.hpp"

namespace vbon::reward {
enum class HeadLoss { regression, logistic };

inline std::string_view name_of(HeadLoss loss) { return loss == HeadLoss::regression ? "regression" : "logistic"; }
/// @throws ConfigError for an unknown name
inline HeadLoss head_loss(std::string_view name) {
  require<ConfigError>(name == "regression" || name == "logistic", "unknown head loss '", name,
                       "'; known: regression, logistic");
  return name == "regression" ? HeadLoss::regression : HeadLoss::logistic;
}

struct HeadOptions {
  HeadLoss loss = HeadLoss::regression;
  std::vector<double> l2 = {6e-4};  // several: the one with the least loss in cross-validation
  int folds = 5;                    // of the cross-validation
  double threshold = 0;             // logistic: scores above are positive, below negative, equal half each
  std::vector<Index> layers = {};   // whose pooled states are the features; empty: default_head_layers
};

/// Three layers evenly up to the last. On movie-review snippets the three together beat the last one alone
/// by two points of sign accuracy, and more layers add nothing.
template <class = void>
std::vector<Index> default_head_layers(Index layers) {
  std::vector<Index> chosen;
  for (Index third = 1; third <= 3; ++third)
    if (const Index layer = layers * third / 3; layer > 0) chosen.push_back(layer);
  return chosen;
}

/// One candidate of the cross-validation; figures over all folds, each predicted by a fit without it.
struct HeadCandidate {
  double l2 = 0;
  double loss = 0;
  Agreement agreement = {};
};
struct HeadReport {
  double l2 = 0;
  double loss = 0;  // on the training data, penalty included
  int iterations = 0;
  bool converged = false;
  std::vector<HeadCandidate> candidates = {};  // empty when l2 was given
};

namespace detail {
/// The loss of a head with this target, restricted to what has weight.
template <class F>
auto with_head_loss(const HeadOptions& options, std::span<const double> scores, std::vector<double> weight, F&& f) {
  std::vector<double> target(scores.begin(), scores.end());
  if (options.loss == HeadLoss::regression) return f(SquaredLoss{std::move(target), std::move(weight)});
  for (double& t : target) t = t > options.threshold ? 1.0 : t < options.threshold ? 0.0 : 0.5;
  return f(LogisticLoss{std::move(target), std::move(weight)});
}
}  // namespace detail

/// @param fitter  features [n, D]
/// @param fold    [n] any numbers; those equal modulo `folds` stay together
/// @throws ShapeError, DomainError, ConfigError for sizes, scores and options that make no sense
template <class = void>
std::pair<LinearHead, HeadReport> train_linear_head(const HeadFitter& fitter, View<const float> features,
                                                    std::span<const double> scores, std::span<const std::uint64_t> fold,
                                                    const HeadOptions& options) {
  require<ConfigError>(!options.l2.empty() && options.folds >= 2,
                       "train_linear_head: at least one l2 and two folds expected");
  const std::size_t n = scores.size();
  require<ShapeError>(n > 0 && fold.size() == n && features.rows() == static_cast<Index>(n),
                      "train_linear_head: as many scores as texts expected, got ", n, " and ", features.rows());
  for (std::size_t i = 0; i < n; ++i)
    require<DomainError>(std::isfinite(scores[i]), "train_linear_head: score ", i, " is ", scores[i]);

  HeadReport report{.l2 = options.l2.front()};
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t c = 0; options.l2.size() > 1 && c < options.l2.size(); ++c) {
    HeadCandidate candidate{.l2 = options.l2[c]};
    std::vector<double> predicted(n);
    for (int k = 0; k < options.folds; ++k) {
      std::vector<double> inside(n);
      for (std::size_t i = 0; i < n; ++i)
        inside[i] = fold[i] % static_cast<std::uint64_t>(options.folds) == static_cast<std::uint64_t>(k) ? 0 : 1;
      const auto fit = detail::with_head_loss(
          options, scores, inside, [&](const auto& loss) { return fitter.fit(loss, candidate.l2, {.tolerance = 1e-5}); });
      const Array outside = fit.head(features);
      for (std::size_t i = 0; i < n; ++i)
        if (inside[i] == 0) predicted[i] = outside[static_cast<Index>(i)];
    }
    const Array score = Eigen::Map<const Array>(predicted.data(), static_cast<Index>(n));
    Array unused(score.size());
    candidate.loss = detail::with_head_loss(options, scores, std::vector<double>(n, 1),
                                            [&](const auto& loss) { return loss(score, unused); });
    candidate.agreement = agreement(predicted, scores, options.loss == HeadLoss::regression ? options.threshold : 0);
    if (candidate.loss < least) {
      least = candidate.loss;
      report.l2 = candidate.l2;
    }
    report.candidates.push_back(candidate);
  }
  auto fit = detail::with_head_loss(options, scores, std::vector<double>(n, 1),
                                    [&](const auto& loss) { return fitter.fit(loss, report.l2); });
  report.loss = fit.minimum.value;
  report.iterations = fit.minimum.iterations;
  report.converged = fit.minimum.converged;
  return {std::move(fit.head), std::move(report)};
}
}  // namespace vbon::reward
