// vbon/eval/comparison.hpp
//
// Several methods trained on the same prompts and held against the same reference responses: one table, as
// text, CSV, JSON and HTML, and one picture of the frontier. Prompts are the unit of every interval, and two
// methods are compared prompt by prompt, so what the prompts share cancels.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "vbon/eval/evaluate.hpp"
#include "vbon/eval/report_html.hpp"
#include "vbon/eval/report_json.hpp"
#include "vbon/eval/report_plots.hpp"
#include "vbon/io/json.hpp"

namespace vbon::eval {
namespace detail {
inline constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
inline constexpr Estimate no_estimate = {unknown, unknown, unknown};
}  // namespace detail

/// A method's figures on the held-out prompts, or why it has none. NaN: not known.
struct ComparedMethod {
  std::string name;
  std::string error = {};  // empty: it has figures
  Estimate mean_reward = detail::no_estimate;
  Estimate win_rate = detail::no_estimate;
  MeanError kl = {detail::unknown, detail::unknown};  // nats per response; no error: a bound, or exact
  double efficiency = detail::unknown;                // (W - 1/2) / (W of best-of-N at this KL - 1/2); none below least_kl
  double length = detail::unknown, ended = detail::unknown;
  double sampled_tokens = detail::unknown, reward_calls = detail::unknown;  // of its training or decoding, no cache
  Estimate best_win_rate = detail::no_estimate, worst_win_rate = detail::no_estimate;  // both sides decoded (Evaluation)
  std::vector<double> win = {};                                                        // [P] win rate prompt by prompt
  double from_optimum = detail::unknown;  // nats: the larger KL between its law and its known optimum, where both are known
  Estimate lead = detail::no_estimate;    // win rate minus that of the first method, the same prompts resampled for both
};

struct Comparison {
  std::string title = "Comparison of methods";
  double n = 0;
  bool exact = false;  // laws on a table: nothing was sampled
  Index prompts = 0, samples = 0, reference_samples = 0;
  double theory_win_rate = 0, theory_kl = 0;  // of best-of-N under a continuous reward
  ComparedMethod reference, best;             // best: plain best-of-N over the reference pool
  std::vector<ComparedMethod> method = {};
  std::vector<std::pair<std::string, std::string>> settings = {};
};

/// The two rows that need no training.
/// @param pool     of evaluate_pool()
/// @param samples  responses of each trained policy per prompt
template <class = void>
Comparison comparison_of(const Evaluation& pool, Index samples) {
  const auto row = [](const Arm& arm) {
    return ComparedMethod{.name = arm.name,
                          .mean_reward = arm.mean_reward,
                          .win_rate = arm.win_rate,
                          .length = arm.length,
                          .ended = arm.ended,
                          .win = arm.win};
  };
  Comparison out{.n = pool.n,
                 .prompts = pool.prompts,
                 .samples = samples,
                 .reference_samples = pool.reference_samples,
                 .theory_win_rate = pool.theory_win_rate,
                 .theory_kl = pool.theory_kl,
                 .reference = row(pool.reference),
                 .best = row(pool.best)};
  out.reference.kl = {0, detail::unknown};
  out.best.kl = {pool.theory_kl, detail::unknown};
  if (pool.theory_kl >= least_kl)
    out.best.efficiency = (out.best.win_rate.value - 0.5) / (ideal_win_rate(pool.theory_kl) - 0.5);
  return out;
}

/// A method's row from the report_json() of its evaluation. What was read from a file gives the same digits as what was
/// just measured.
/// @throws FormatError naming what is missing
template <class Json = nlohmann::ordered_json>
ComparedMethod compared_method(std::string name, const Json& report) {
  const auto number = [&](const Json& value) { return value.is_number() ? value.template get<double>() : detail::unknown; };
  const auto estimate = [&](const Json& e) {
    return Estimate{number(e.at("value")), number(e.at("low_95")), number(e.at("high_95"))};
  };
  try {
    ComparedMethod out{.name = std::move(name),
                       .mean_reward = estimate(report.at("aligned").at("mean_reward")),
                       .win_rate = estimate(report.at("win_rate")),
                       .kl = {number(report.at("kl").at("value")), number(report.at("kl").at("standard_error"))},
                       .efficiency = number(report.at("efficiency")),
                       .length = number(report.at("aligned").at("length")),
                       .ended = number(report.at("aligned").at("ended"))};
    out.best_win_rate = estimate(report.at("best_of_n_win_rate"));
    out.worst_win_rate = estimate(report.at("worst_of_n_win_rate"));
    out.win = report.at("win_rate_per_prompt").at("aligned").template get<std::vector<double>>();
    return out;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(message("the report of ", name, " is none of an evaluation: ", error.what()));
  }
}

/// Fills in how far each method, and best-of-N, is ahead of the first one. Without figures of the first: nothing.
template <class = void>
void compare_to_first(Comparison& c) {
  if (c.method.empty() || c.method[0].win.empty()) return;
  const auto& first = c.method[0].win;
  const auto fill = [&](ComparedMethod& one) {
    if (one.win.empty()) return;
    const BootstrapInterval interval = bootstrap_difference(one.win, first);
    one.lead = {interval.estimate, interval.lower, interval.upper};
  };
  for (std::size_t i = 1; i < c.method.size(); ++i) fill(c.method[i]);
  fill(c.best);
}

namespace detail {
template <class = void>
std::vector<const ComparedMethod*> compared_rows(const Comparison& c) {
  std::vector<const ComparedMethod*> rows = {&c.reference, &c.best};
  for (const auto& method : c.method) rows.push_back(&method);
  return rows;
}
template <class = void>
std::string plain(double value, int digits = 3) {
  if (std::isnan(value)) return "-";
  char text[400];  // the widest double has 309 digits
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}
template <class = void>
std::string plain(const Estimate& e) {
  return std::isnan(e.low) ? "-" : "[" + plain(e.low) + ", " + plain(e.high) + "]";
}
}  // namespace detail

/// The table as text: a row of headings, the reference, best-of-N, the methods. A column of errors where some failed.
template <class = void>
std::vector<std::vector<std::string>> comparison_table(const Comparison& c) {
  using detail::plain;
  const bool errors =
      std::any_of(c.method.begin(), c.method.end(), [](const ComparedMethod& one) { return !one.error.empty(); });
  const std::string first = c.method.empty() ? "the first" : c.method[0].name;
  std::vector<std::vector<std::string>> table = {{"method", "mean reward", "win rate", "95%", "KL, nats", "efficiency",
                                                  "lead over " + first, "95%", "best of both", "worst of both",
                                                  "sampled tokens", "reward calls"}};
  if (c.exact) table[0] = {"method", "mean reward", "win rate", "KL, nats", "efficiency", "from optimum, nats"};
  if (errors) table[0].emplace_back("error");
  for (const auto* row : detail::compared_rows(c)) {
    std::string kl = plain(row->kl.value);
    if (c.exact) {
      char nats[32] = "-";
      if (!std::isnan(row->from_optimum)) std::snprintf(nats, sizeof(nats), "%.1e", row->from_optimum);
      table.push_back(
          {row->name, plain(row->mean_reward.value), plain(row->win_rate.value), kl, plain(row->efficiency), nats});
      continue;
    }
    if (row == &c.best) kl = "<= " + kl;
    if (!std::isnan(row->kl.error)) kl += " +- " + plain(row->kl.error);
    table.push_back({row->name, plain(row->mean_reward.value), plain(row->win_rate.value),
                     row == &c.reference ? "-" : plain(row->win_rate), kl, plain(row->efficiency), plain(row->lead.value),
                     plain(row->lead), plain(row->best_win_rate.value), plain(row->worst_win_rate.value),
                     plain(row->sampled_tokens, 0), plain(row->reward_calls, 0)});
    if (errors) table.back().push_back(row->error);
  }
  return table;
}

/// Columns of equal width for a terminal, the first one to the left.
template <class = void>
std::vector<std::string> aligned_lines(const std::vector<std::vector<std::string>>& table) {
  std::vector<std::size_t> width;
  for (const auto& row : table)
    for (std::size_t k = 0; k < row.size(); ++k) {
      if (k == width.size()) width.push_back(0);
      width[k] = std::max(width[k], row[k].size());
    }
  std::vector<std::string> lines;
  for (const auto& row : table) {
    std::string line;
    for (std::size_t k = 0; k < row.size(); ++k) {
      const std::string space(width[k] - row[k].size(), ' ');
      line += k == 0 ? row[k] + space : "  " + space + row[k];
    }
    lines.push_back(line);
  }
  return lines;
}
/// A table of GitHub's Markdown.
template <class = void>
std::string markdown_table(const std::vector<std::vector<std::string>>& table) {
  std::string out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    out += "|";
    for (const auto& cell : table[i]) {
      std::string text;
      for (const char c : cell) text += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
      out += " " + text + " |";
    }
    out += "\n";
    if (i > 0) continue;
    for (std::size_t k = 0; k < table[0].size(); ++k) out += k == 0 ? "|---|" : "---:|";
    out += "\n";
  }
  return out;
}

template <class Json = nlohmann::ordered_json>
Json comparison_json(const Comparison& c) {
  const auto row_json = [](const ComparedMethod& row) {
    Json out = {{"name", row.name}};
    if (!row.error.empty()) {
      out["error"] = row.error;
      return out;
    }
    out["mean_reward"] = detail::to_json<Json>(row.mean_reward);
    out["win_rate"] = detail::to_json<Json>(row.win_rate);
    out["kl"] = detail::to_json<Json>(row.kl);
    out["best_of_n_win_rate"] = detail::to_json<Json>(row.best_win_rate);
    out["worst_of_n_win_rate"] = detail::to_json<Json>(row.worst_win_rate);
    out["efficiency"] = detail::finite<Json>(row.efficiency);
    out["lead_over_first"] = detail::to_json<Json>(row.lead);
    out["length"] = detail::finite<Json>(row.length);
    out["ended"] = detail::finite<Json>(row.ended);
    out["sampled_tokens"] = detail::finite<Json>(row.sampled_tokens);
    out["reward_calls"] = detail::finite<Json>(row.reward_calls);
    if (!std::isnan(row.from_optimum)) out["from_optimum"] = row.from_optimum;
    out["win_rate_per_prompt"] = row.win;
    return out;
  };
  Json out = {{"n", c.n},
              {"prompts", c.prompts},
              {"samples", c.samples},
              {"reference_samples", c.reference_samples},
              {"theory", {{"win_rate", c.theory_win_rate}, {"kl", c.theory_kl}}},
              {"reference", row_json(c.reference)},
              {"best_of_n", row_json(c.best)}};
  out["methods"] = Json::array();
  for (const auto& method : c.method) out["methods"].push_back(row_json(method));
  for (const auto& [name, value] : c.settings) out["settings"][name] = value;
  return out;
}

/// A row for each method, all digits, empty where a figure is not known.
template <class = void>
std::string comparison_csv(const Comparison& c) {
  const auto quoted = [](const std::string& text) {
    if (text.find_first_of(",\"\n\r") == text.npos) return text;
    std::string out = "\"";
    for (const char ch : text) out += ch == '"' ? "\"\"" : std::string(1, ch);
    return out + "\"";
  };
  std::string csv =
      "method,mean_reward,mean_reward_low_95,mean_reward_high_95,win_rate,win_rate_low_95,win_rate_high_95,kl,kl_standard_"
      "error,kl_is_bound,efficiency,lead_over_first,lead_low_95,lead_high_95,length,ended,sampled_tokens,reward_calls,"
      "from_optimum,best_of_n_win_rate,worst_of_n_win_rate,error\n";
  for (const auto* row : detail::compared_rows(c)) {
    const auto add = [&](std::initializer_list<double> values) {
      for (const double value : values) csv += "," + (std::isfinite(value) ? nlohmann::json(value).dump() : std::string());
    };
    csv += quoted(row->name);
    add({row->mean_reward.value, row->mean_reward.low, row->mean_reward.high, row->win_rate.value, row->win_rate.low,
         row->win_rate.high, row->kl.value, row->kl.error});
    csv += row == &c.best && !c.exact ? ",1" : ",0";
    add({row->efficiency, row->lead.value, row->lead.low, row->lead.high, row->length, row->ended, row->sampled_tokens,
         row->reward_calls, row->from_optimum, row->best_win_rate.value, row->worst_win_rate.value});
    csv += "," + quoted(row->error) + "\n";
  }
  return csv;
}

/// Every method's point with its intervals, the curve of best-of-N, plain best-of-N and the reference.
template <class = void>
Plot comparison_plot(const Comparison& c) {
  static constexpr std::array<const char*, 14> colors = {"#c8553d", "#3c8d5a", "#8a5aa8", "#c79a2b", "#1f9e9e",
                                                         "#d1689b", "#6b7f2a", "#5468c4", "#9c5a3c", "#2b2e34",
                                                         "#e08a4f", "#58a5d8", "#7d7f85", "#a3344f"};
  double last = std::max(0.3, 1.2 * c.theory_kl), lowest = 0.45;
  for (const auto& m : c.method) {
    if (std::isfinite(m.kl.value)) last = std::max(last, 1.15 * m.kl.value);
    if (std::isfinite(m.win_rate.low)) lowest = std::min(lowest, m.win_rate.low - 0.02);
  }
  Plot plot{.name = "frontier",
            .title = "Win rate against divergence",
            .x_label = "KL(policy || reference), nats per response",
            .y_label = "win rate against the reference",
            .series = {frontier_curve(last)},
            .width = 860,
            .height = 560};
  plot.series.push_back({.title = c.best.name + ", measured win rate",
                         .x = {c.best.kl.value},
                         .y = {c.best.win_rate.value},
                         .mark = Mark::points,
                         .color = best_color});
  plot.series.push_back({.title = "reference", .x = {0}, .y = {0.5}, .mark = Mark::points, .color = reference_color});
  for (std::size_t i = 0; i < c.method.size(); ++i) {
    const auto& m = c.method[i];
    if (!std::isfinite(m.kl.value) || !std::isfinite(m.win_rate.value)) continue;
    const double half = std::isfinite(m.kl.error) ? 1.96 * m.kl.error : 0;
    const bool interval = std::isfinite(m.win_rate.low);
    plot.series.push_back({.title = m.name,
                           .x = {m.kl.value},
                           .y = {m.win_rate.value},
                           .mark = Mark::points,
                           .color = colors[i % colors.size()],
                           .x_low = {m.kl.value - half},
                           .x_high = {m.kl.value + half},
                           .y_low = {interval ? m.win_rate.low : m.win_rate.value},
                           .y_high = {interval ? m.win_rate.high : m.win_rate.value}});
  }
  for (std::size_t i = 0; i < c.method.size(); ++i)  // a decoder's law is not known: a line at its win rate
    if (const auto& m = c.method[i]; std::isnan(m.kl.value) && std::isfinite(m.win_rate.value))
      plot.series.push_back({.title = m.name + ", KL not known",
                             .x = {0, last},
                             .y = {m.win_rate.value, m.win_rate.value},
                             .mark = Mark::dashed,
                             .color = colors[i % colors.size()]});
  std::size_t longest = 1;
  for (const auto& series : plot.series) longest = std::max(longest, series.title.size());
  // As many columns as fit in any font: the label of the axis must stay free of the key.
  const std::size_t columns = std::clamp<std::size_t>(static_cast<std::size_t>(plot.width) / (60 + 8 * longest), 1, 3);
  const auto lines = static_cast<double>((plot.series.size() + columns - 1) / columns);
  plot.extra = message("set key below center maxcols ", columns, "\nset bmargin ", 5.5 + 1.3 * lines, "\nset yrange [",
                       lowest, ":1]\nset xrange [", -0.02 * last, ":", last, "]");
  return plot;
}

/// One page that needs nothing else: the table, the picture, what was the same for all.
/// @param plots  folder for the data, script and drawing of the picture
/// @throws RunError when these cannot be written
template <class = void>
HtmlReport comparison_html(const Comparison& c, const std::filesystem::path& plots) {
  using namespace detail;
  HtmlReport out;
  std::string& h = out.html;
  h = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">\n<title>" +
      escape_html(c.title) + "</title>\n<style>" + std::string(style) +
      "main{max-width:1280px}.wide{overflow-x:auto}td.error{color:#8a3b12;white-space:normal}</style></head>\n<body><main>\n"
      "<h1>" +
      escape_html(c.title) + "</h1>\n<p class=\"lead\">" + message(c.method.size()) +
      (c.method.size() == 1 ? " method" : " methods") +
      (c.exact ? ", trained with exact gradients on a law that can be enumerated.</p>\n"
               : ", trained or decoded from the same model with the same prompts and reference responses, and judged on " +
                     std::to_string(c.prompts) + " held-out prompts with the same random numbers.</p>\n") +
      "<div class=\"wide\"><table>\n";
  const auto table = comparison_table(c);
  for (std::size_t i = 0; i < table.size(); ++i) {
    h += i == 0 ? "<thead><tr>" : "<tr>";
    for (std::size_t k = 0; k < table[i].size(); ++k) {
      const bool error = i > 0 && table[0][k] == "error";
      const char* tag = i == 0 || k == 0 ? "th" : "td";
      h += "<" + std::string(tag) +
           (k == 0  ? ""
            : error ? " class=\"error\""
                    : " class=\"n\"") +
           ">" + escape_html(table[i][k]) + "</" + tag + ">";
    }
    h += i == 0 ? "</tr></thead><tbody>\n" : "</tr>\n";
  }
  h += "</tbody></table></div>\n<p class=\"soft\" style=\"margin-top:10px\">";
  h += c.exact
           ? std::string(
                 "Every figure is exact to rounding. From optimum: the larger of KL(policy || optimum) and "
                 "KL(optimum || policy), with the optimum that the method's page states. Efficiency: share of "
                 "the gain that best-of-N of a continuous reward has at the method's KL; ties and atoms may put "
                 "it above 1.</p>\n")
           : "Win rate: one sample of the method against one of the reference, pairs of one prompt only; " +
                 std::to_string(c.samples) + " samples of a method and " + std::to_string(c.reference_samples) +
                 " of the reference for each prompt. Intervals resample prompts; the lead is the difference of two win "
                 "rates on the "
                 "same prompts. The KL is exact in every step of the sampled responses, with its standard error; that "
                 "of best-of-N is "
                 "the bound log N &minus; (N &minus; 1)/N. Efficiency: share of the gain that best-of-N has at the "
                 "method's KL; " +
                 std::string(no_efficiency) +
                 ". A decoder's law, and so its KL, is not known. Best of both and worst of both: the win rate where method "
                 "and "
                 "reference both draw " +
                 message(c.n) +
                 " and keep the best, or the worst. Tokens and reward calls are those of training, and of a decoder those "
                 "of all its responses here; the reference responses, drawn once for all, are left out.</p>\n";
  h += figure(comparison_plot(c),
              std::string("The curve is what best-of-N of a continuous reward reaches as N grows; points are methods") +
                  (c.exact ? "" : " with 95% intervals") + ". Closer to the curve is better at the same divergence.",
              plots, out.problems);
  if (!c.settings.empty()) h += "<details><summary>Settings</summary>" + pairs_table(c.settings) + "</details>\n";
  h += "</main></body></html>\n";
  return out;
}
}  // namespace vbon::eval
