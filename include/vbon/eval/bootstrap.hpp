// vbon/eval/bootstrap.hpp
//
// Confidence intervals by the bootstrap over prompts. Responses to one prompt are not independent, so
// whole prompts are drawn (a cluster bootstrap). Every draw is addressed by (key, replicate, place): the
// interval is the same on any number of threads, and two methods that are compared see the same prompts.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "vbon/bon/checks.hpp"
#include "vbon/core/quantile.hpp"
#include "vbon/core/random.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::eval {
struct BootstrapOptions {
  Index replicates = 2000;
  double level = 0.95;  // of the interval, in (0, 1)
  RngKey key = {};
};
struct BootstrapInterval {
  double estimate = 0;        // the statistic of the data themselves
  double lower = 0, upper = 0;  // percentile interval
  double standard_error = 0;  // standard deviation over the replicates
};

/// Interval of any statistic of a list of prompts.
/// @param prompts    P, how many there are
/// @param statistic  callable (std::span<const Index> prompts, with repetition) -> double; called from
///                   several threads at once
/// @throws DomainError empty_group (P = 0), invalid_probability (level); ConfigError (replicates < 2);
///         nan_metric (the statistic is NaN)
template <class Statistic>
BootstrapInterval bootstrap(Index prompts, const Statistic& statistic, const BootstrapOptions& options = {}) {
  require<DomainError>(prompts >= 1, ErrorCode{"empty_group"}, "eval::bootstrap: at least one prompt expected, got ", prompts);
  require<ConfigError>(options.replicates >= 2, "eval::bootstrap: at least 2 replicates expected, got ", options.replicates);
  bon::require_open_unit(options.level, "level", "eval::bootstrap");
  std::vector<Index> all(static_cast<std::size_t>(prompts));
  for (Index p = 0; p < prompts; ++p) all[static_cast<std::size_t>(p)] = p;
  BootstrapInterval result;
  result.estimate = statistic(std::span<const Index>(all));
  require<DomainError>(!std::isnan(result.estimate), ErrorCode{"nan_metric"}, "eval::bootstrap: the statistic is NaN");

  std::vector<double> replicate(static_cast<std::size_t>(options.replicates));
  parallel_for(options.replicates, 64, [&](Index begin, Index end) {
    std::vector<Index> drawn(all.size());
    for (Index r = begin; r < end; ++r) {
      const RngKey key = options.key.fold(static_cast<std::uint64_t>(r));
      for (std::size_t i = 0; i < drawn.size(); ++i) drawn[i] = key.below(i, prompts);
      replicate[static_cast<std::size_t>(r)] = statistic(std::span<const Index>(drawn));
    }
  });
  std::sort(replicate.begin(), replicate.end());
  double mean = 0, squares = 0;
  for (const double value : replicate) mean += value / static_cast<double>(replicate.size());
  for (const double value : replicate) squares += (value - mean) * (value - mean);
  require<DomainError>(!std::isnan(mean), ErrorCode{"nan_metric"}, "eval::bootstrap: the statistic of a replicate is NaN");
  result.standard_error = std::sqrt(squares / static_cast<double>(replicate.size() - 1));
  result.lower = quantile(replicate, (1 - options.level) / 2);
  result.upper = quantile(replicate, (1 + options.level) / 2);
  return result;
}

/// Interval of the mean of one number per prompt.
/// @param value  [P] such as the win rate of each prompt
template <class = void>
BootstrapInterval bootstrap_mean(std::span<const double> value, const BootstrapOptions& options = {}) {
  return bootstrap(
      static_cast<Index>(value.size()),
      [&](std::span<const Index> prompts) {
        double sum = 0;
        for (const Index p : prompts) sum += value[static_cast<std::size_t>(p)];
        return sum / static_cast<double>(prompts.size());
      },
      options);
}

/// Interval of the mean difference of two methods on the same prompts.
/// @param a, b  [P] one number per prompt for each method
/// @throws ShapeError
template <class = void>
BootstrapInterval bootstrap_difference(std::span<const double> a, std::span<const double> b,
                                       const BootstrapOptions& options = {}) {
  require<ShapeError>(a.size() == b.size(), "eval::bootstrap_difference: the same prompts on both sides expected, got ", a.size(),
                      " and ", b.size());
  std::vector<double> difference;
  for (std::size_t p = 0; p < a.size(); ++p) difference.push_back(a[p] - b[p]);
  return bootstrap_mean(difference, options);
}
}  // namespace vbon::eval
