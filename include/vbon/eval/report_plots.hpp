// vbon/eval/report_plots.hpp
//
// The pictures of a report: where the policy stands against the best-of-N frontier, how its rewards are
// distributed, and how training went.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "vbon/eval/evaluate.hpp"
#include "vbon/eval/plot.hpp"

namespace vbon::eval {
inline constexpr const char* reference_color = "#8a8f98";
inline constexpr const char* aligned_color = "#c8553d";
inline constexpr const char* best_color = "#2f6f9f";

/// The curve of best-of-N for N from 1 on, up to a KL of `last` nats.
template <class = void>
PlotSeries frontier_curve(double last) {
  PlotSeries theory{.title = "best of N, theory", .x = {}, .y = {}, .mark = Mark::line, .color = best_color};
  for (int i = 0; i <= 120; ++i) {
    const double kl = last * i / 120;
    theory.x.push_back(kl);
    theory.y.push_back(ideal_win_rate(kl));
  }
  return theory;
}

/// Win rate against KL, with the curve of best-of-N.
template <class = void>
Plot frontier_plot(const Evaluation& e) {
  const double last = std::max({1.2, 1.3 * e.kl.value, 1.2 * e.theory_kl});
  const PlotSeries theory = frontier_curve(last);
  const auto& w = e.aligned.win_rate;
  const double half = 1.96 * e.kl.error;
  PlotSeries best{.title = message("best of ", e.n, ", measured win rate"),
                  .x = {e.theory_kl},
                  .y = {e.best.win_rate.value},
                  .mark = Mark::points,
                  .color = best_color};
  PlotSeries aligned{.title = "aligned policy, 95% intervals",
                     .x = {e.kl.value},
                     .y = {w.value},
                     .mark = Mark::points,
                     .color = aligned_color,
                     .x_low = {e.kl.value - half},
                     .x_high = {e.kl.value + half},
                     .y_low = {w.low},
                     .y_high = {w.high}};
  PlotSeries reference{.title = "reference", .x = {0}, .y = {0.5}, .mark = Mark::points, .color = reference_color};
  return {.name = "frontier",
          .title = "Win rate against divergence",
          .x_label = "KL(policy || reference), nats per response",
          .y_label = "win rate against the reference",
          .series = {theory, best, aligned, reference},
          // One column: how many fit beside each other depends on the font, and the axis label must stay free.
          .extra = "set key below center maxcols 1\nset bmargin 9.5\nset yrange [0.45:1]\nset xrange [-0.02:" +
                   std::to_string(last) + "]",
          .height = 400};
}

/// Shares of rewards in equal bins; the first and last bin take what lies outside the central 99.8%.
template <class = void>
Plot reward_plot(const Evaluation& e) {
  std::vector<double> all;
  for (const auto* arm : {&e.reference, &e.aligned})
    for (const auto& group : arm->reward)
      for (const double r : group)
        if (std::isfinite(r)) all.push_back(r);
  std::sort(all.begin(), all.end());
  const auto at = [&](double q) {
    return all.empty() ? 0.0 : all[static_cast<std::size_t>(q * static_cast<double>(all.size() - 1))];
  };
  double low = at(0.001), high = at(0.999);
  constexpr int bins = 40;
  // Equal rewards get a range around them that is wide enough to count in, whatever their size.
  if (const double size = std::max(std::abs(low), std::abs(high)); !(high / 2 - low / 2 > 1e-9 * size)) {
    constexpr double most = std::numeric_limits<double>::max();
    const double half = std::max(0.5, 1e-6 * size);
    low = std::max(low - half, -most), high = std::min(high + half, most);
  }
  const double width = high / bins - low / bins;
  const auto histogram = [&](const Arm& arm, const char* color, Mark mark) {
    std::vector<double> share(bins, 0.0);
    double total = 0;
    for (std::size_t p = 0; p < arm.reward.size(); ++p)
      for (std::size_t i = 0; i < arm.reward[p].size(); ++i) {
        const double place = std::clamp((arm.reward[p][i] - low) / width, 0.0, bins - 1.0);  // never NaN: width > 0
        share[static_cast<std::size_t>(place)] += arm.weight[p][i];
        total += arm.weight[p][i];
      }
    PlotSeries s{.title = arm.name, .x = {low}, .y = {0}, .mark = mark, .color = color};
    for (int b = 0; b < bins; ++b) {
      s.x.push_back(low + b * width);
      s.y.push_back(share[static_cast<std::size_t>(b)] / total);
    }
    s.x.push_back(high);
    s.y.push_back(0);
    return s;
  };
  return {
      .name = "rewards",
      .title = "Rewards on the held-out prompts",
      .x_label = "reward",
      .y_label = "share of responses",
      .series = {histogram(e.reference, reference_color, Mark::filled_steps),
                 histogram(e.best, best_color, Mark::filled_steps), histogram(e.aligned, aligned_color, Mark::filled_steps)},
      .extra = "set yrange [0:*]"};
}

/// A quantity by step, as the trainer measured it: raw points and their running mean.
struct Curve {
  std::string name, title, y_label;
  std::vector<double> x, y;
  std::vector<double> phase_starts = {};  // marked by vertical lines
};
template <class = void>
Plot curve_plot(const Curve& curve) {
  PlotSeries raw{.title = {}, .x = curve.x, .y = curve.y, .mark = Mark::points, .color = "#d9c2bb"};
  PlotSeries mean{.title = {}, .x = curve.x, .y = {}, .mark = Mark::line, .color = aligned_color};
  const auto window = static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(curve.y.size() / 12, 1, 25));
  for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(curve.y.size()); ++i) {
    double sum = 0, count = 0;
    for (std::ptrdiff_t k = std::max<std::ptrdiff_t>(0, i - window);
         k <= std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(curve.y.size()) - 1, i + window); ++k) {
      if (const double y = curve.y[static_cast<std::size_t>(k)]; !std::isnan(y)) sum += y, count += 1;
      if (const double x = curve.x[static_cast<std::size_t>(k)];
          k > i && std::find(curve.phase_starts.begin(), curve.phase_starts.end(), x) != curve.phase_starts.end())
        break;
    }
    mean.y.push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
  }
  std::string extra = "unset key";
  for (const double x : curve.phase_starts)
    extra += message("\nset arrow from ", x, ", graph 0 to ", x, ", graph 1 nohead lc rgb '#8a8f98' dt 3");
  return {.name = curve.name,
          .title = curve.title,
          .x_label = "optimiser step",
          .y_label = curve.y_label,
          .series = {raw, mean},
          .extra = extra,
          .width = 380,
          .height = 270};
}
}  // namespace vbon::eval
