// vbon/eval/report_html.hpp
//
// The report: one HTML file that needs nothing else, no network and no script. What was measured stands at the
// top in one sentence, then the figures beside those of best-of-N, the pictures, and texts to read.
#pragma once
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/eval/evaluate.hpp"
#include "vbon/eval/plot.hpp"
#include "vbon/eval/report_plots.hpp"
#include "vbon/io/utf8.hpp"

namespace vbon::eval {
/// What the program knows beside the evaluation.
struct ReportContext {
  std::string title = "Best-of-N alignment";
  std::vector<Curve> curves = {};                                  // how training went
  std::vector<std::pair<std::string, std::string>> settings = {};  // names and values, in order
  std::vector<std::pair<std::string, std::string>> times = {};     // phases and how long they took
};

namespace detail {
template <class = void>
std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : io::replace_invalid_utf8(text)) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  return out;
}
template <class = void>
std::string fixed(double value, int digits = 3) {
  if (std::isnan(value)) return "&ndash;";
  if (std::isinf(value)) return value > 0 ? "&infin;" : "&minus;&infin;";
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, std::abs(value));
  const bool negative = value < 0 && std::string_view(text).find_first_not_of("0.") != std::string_view::npos;
  return (negative ? "&minus;" : "") + std::string(text);
}
template <class = void>
std::string percent(double value) {
  return fixed(100 * value, 1) + "&thinsp;%";
}
inline bool has_interval(const Estimate& e) { return !std::isnan(e.low) && !std::isnan(e.high); }
template <class = void>
std::string range(const Estimate& e, int digits = 3) {
  return has_interval(e) ? fixed(e.low, digits) + " to " + fixed(e.high, digits) : "&ndash;";
}
template <class = void>
std::string with_error(const MeanError& e, int digits = 3) {
  return fixed(e.value, digits) + (std::isnan(e.error) ? "" : " &plusmn; " + fixed(e.error, digits));
}

inline constexpr std::string_view style = R"(
:root{--ink:#23262b;--soft:#5b616b;--line:#e3e5e9;--paper:#fff;--wash:#f7f7f5;--accent:#c8553d;--best:#2f6f9f}
*{box-sizing:border-box}
body{margin:0;background:var(--wash);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
main{max-width:1040px;margin:0 auto;padding:40px 28px 72px}
h1{font-size:26px;line-height:1.25;margin:0 0 8px;font-weight:650;letter-spacing:-.01em}
h2{font-size:18px;margin:44px 0 12px;font-weight:650}
p{margin:0 0 12px;max-width:72ch}
.lead{font-size:18px;color:var(--ink)}
.soft{color:var(--soft);font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin:26px 0 0}
.card{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px 18px}
.card b{display:block;font-size:28px;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums}
.card span{display:block;color:var(--soft);font-size:13.5px}
.card .name{color:var(--ink);font-size:14px;margin-bottom:4px}
table{border-collapse:collapse;width:100%;background:var(--paper);border:1px solid var(--line);border-radius:8px;overflow:hidden;font-size:15px}
th,td{padding:9px 11px;text-align:left;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;background:#f0f0ed;font-weight:600;font-size:13.5px;color:var(--soft)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tbody th{font-weight:600;white-space:nowrap}
details th{white-space:normal}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px}
figure{margin:0;background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:14px 14px 8px}
figure svg{width:100%;height:auto;display:block}
figcaption{font-size:14px;color:var(--soft);padding:4px 6px 6px}
figcaption b{color:var(--ink);font-weight:600;display:block}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px}
.three{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}
.texts td{font-size:14px;width:27%;overflow-wrap:anywhere}
.texts td:first-child{width:19%;color:var(--soft)}
.reward{display:block;color:var(--soft);font-size:13px;font-variant-numeric:tabular-nums;margin-top:4px}
.missing{color:#8a3b12;font-size:14px;padding:24px 8px}
details{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:10px 16px;margin-top:12px}
summary{cursor:pointer;font-weight:600}
details table{border:0;margin-top:8px;font-size:14px}
@media (max-width:560px){main{padding:24px 14px}.two,.three{grid-template-columns:1fr}}
)";

template <class = void>
std::string card(std::string_view name, const std::string& value, const std::string& note) {
  return "<div class=\"card\"><span class=\"name\">" + std::string(name) + "</span><b>" + value + "</b><span>" + note +
         "</span></div>\n";
}
template <class = void>
std::string figure(const Plot& plot, const std::string& caption, const std::filesystem::path& folder,
                   std::vector<std::string>& problems) {
  const DrawnPlot drawn = draw(plot, folder);
  if (!drawn.problem.empty()) problems.push_back(plot.name + ": " + drawn.problem);
  return "<figure>" +
         (drawn.svg.empty() ? "<div class=\"missing\">This picture was not drawn: " + escape_html(drawn.problem) + "</div>"
                            : drawn.svg) +
         "<figcaption><b>" + escape_html(plot.title) + "</b>" + caption + "</figcaption></figure>\n";
}
template <class = void>
std::string with_interval(const Estimate& e) {
  return fixed(e.value) + (has_interval(e) ? " (" + range(e) + ")" : "");
}
/// How the policy compares where both are decoded the same way.
template <class = void>
std::string both_decoded(const Evaluation& e) {
  if (std::isnan(e.best_win_rate.value)) return "";
  return " Where both the policy and the reference draw " + message(e.n) + " and keep the best, the policy's win rate is " +
         with_interval(e.best_win_rate) + "; where both keep the worst, " + with_interval(e.worst_win_rate) + ".";
}
template <class = void>
std::string arm_row(const Arm& arm, const char* color, const std::string& kl, bool reference) {
  return "<tr><th><span class=\"dot\" style=\"background:" + std::string(color) + "\"></span>" + escape_html(arm.name) +
         "</th><td class=\"n\">" + fixed(arm.mean_reward.value) + "</td><td class=\"n\">" + range(arm.mean_reward) +
         "</td><td class=\"n\">" + fixed(arm.win_rate.value) + "</td><td class=\"n\">" +
         (reference ? "&ndash;" : range(arm.win_rate)) + "</td><td class=\"n\">" + kl + "</td><td class=\"n\">" +
         fixed(arm.length, 1) + "</td><td class=\"n\">" + (std::isnan(arm.ended) ? "&ndash;" : percent(arm.ended)) +
         "</td></tr>\n";
}
template <class = void>
std::string pairs_table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<table><tbody>";
  for (const auto& [name, value] : rows)
    out += "<tr><th>" + escape_html(name) + "</th><td>" + escape_html(value) + "</td></tr>\n";
  return out + "</tbody></table>";
}
}  // namespace detail

struct HtmlReport {
  std::string html;
  std::vector<std::string> problems;  // pictures that could not be drawn, and what to do
};

/// @param plots  folder for the data, scripts and drawings of the pictures
/// @throws RunError when these cannot be written
template <class = void>
HtmlReport report_html(const Evaluation& e, const ReportContext& context, const std::filesystem::path& plots) {
  using namespace detail;
  HtmlReport out;
  const auto& w = e.aligned.win_rate;
  std::string& h = out.html;
  h = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\">\n<title>" +
      escape_html(context.title) + "</title>\n<style>" + std::string(style) + "</style></head>\n<body><main>\n<h1>" +
      escape_html(context.title) + "</h1>\n";
  h += "<p class=\"lead\">On " + std::to_string(e.prompts) +
       " held-out prompts, one sample of the aligned policy beats one sample of the reference in <b>" + percent(w.value) +
       "</b> of all pairs (" +
       (has_interval(w) ? "95% interval " + percent(w.low) + " to " + percent(w.high) : "no interval: one prompt") +
       "), at a divergence of <b>" + fixed(e.kl.value, 2) + "</b> nats per response. Drawing " + message(e.n) +
       " and keeping the best wins " + percent(e.best.win_rate.value) + ".</p>\n<div class=\"cards\">\n";
  h += card("Win rate", fixed(w.value),
            (has_interval(w) ? "95%: " + range(w) : "no interval: one prompt") + "; best of " + message(e.n) + ": " +
                fixed(e.best.win_rate.value));
  h += card("KL to the reference", fixed(e.kl.value, 2),
            (std::isnan(e.kl.error) ? "" : "&plusmn; " + fixed(e.kl.error) + " ") + "nats; best of " + message(e.n) + ": " +
                fixed(e.theory_kl));
  h += std::isnan(e.efficiency)
           ? card("Efficiency", "&ndash;", escape_html(no_efficiency))
           : card("Efficiency", percent(e.efficiency),
                  "of the gain that best-of-N has at this KL (win rate " + fixed(e.ideal_win_rate) + ")");
  h += card("Mean reward", fixed(e.aligned.mean_reward.value, 2),
            "reference " + fixed(e.reference.mean_reward.value, 2) + "; best of " + message(e.n) + " " +
                fixed(e.best.mean_reward.value, 2));
  h += "</div>\n<h2>Figures</h2>\n<table><thead><tr><th>policy</th><th class=\"n\">mean reward</th><th "
       "class=\"n\">95%</th><th class=\"n\">win rate</th>"
       "<th class=\"n\">95%</th><th class=\"n\">KL, nats</th><th class=\"n\">tokens</th><th "
       "class=\"n\">ended</th></tr></thead><tbody>\n";
  h += arm_row(e.reference, reference_color, "0", true);
  h += arm_row(e.aligned, aligned_color, with_error(e.kl), false);
  h += arm_row(e.best, best_color, "&le; " + fixed(e.theory_kl), false);
  h += "<tr><th><span class=\"dot\"></span>theory, N = " + message(e.n) +
       "</th><td class=\"n\">&ndash;</td><td class=\"n\">&ndash;</td><td class=\"n\">" + fixed(e.theory_win_rate) +
       "</td><td class=\"n\">&ndash;</td><td class=\"n\">" + fixed(e.theory_kl) +
       "</td><td class=\"n\">&ndash;</td><td class=\"n\">&ndash;</td></tr>\n</tbody></table>\n";
  h += "<p class=\"soft\" style=\"margin-top:10px\">Pairs of one prompt are compared with each other only; " +
       std::to_string(e.samples) + " samples of the policy and " + std::to_string(e.reference_samples) +
       " of the reference for each prompt. Intervals resample prompts. The KL is exact in every step of the sampled "
       "responses; by sampled log-ratios it is " +
       with_error(e.kl_k1) + " (k1) and " + with_error(e.kl_k3) +
       " (k3). Best-of-N is the reference pool, weighted by the probability of being the best of a random "
       "N-subset." +
       both_decoded(e) + "</p>\n<div class=\"two\" style=\"margin-top:20px\">\n";
  h += figure(frontier_plot(e),
              "The curve is what best-of-N reaches as N grows. Closer to it is better at the same divergence.", plots,
              out.problems);
  h += figure(reward_plot(e),
              "Share of responses by reward. The aligned policy draws once; best-of-N pays N draws for each response.",
              plots, out.problems);
  h += "</div>\n";
  if (!context.curves.empty()) {
    h += "<h2>Training</h2>\n<div class=\"three\">\n";
    for (const auto& curve : context.curves)
      if (!curve.x.empty())
        h += figure(curve_plot(curve), "Each point is one step; the line is a running mean.", plots, out.problems);
    h += "</div>\n";
  }
  if (!e.text.empty()) {
    h += "<h2>Texts</h2>\n<table class=\"texts\"><thead><tr><th>prompt</th><th>reference</th><th>aligned</th><th>" +
         escape_html(e.best.name) + "</th></tr></thead><tbody>\n";
    for (const auto& t : e.text) {
      h += "<tr><td>" + escape_html(t.prompt) + "</td>";
      for (const auto& [text, reward] :
           {std::pair{&t.reference, t.reference_reward}, {&t.aligned, t.aligned_reward}, {&t.best, t.best_reward}})
        h += "<td>" + escape_html(*text) + "<span class=\"reward\">reward " + fixed(reward, 2) + "</span></td>";
      h += "</tr>\n";
    }
    h += "</tbody></table>\n";
  }
  if (!context.times.empty()) h += "<h2>Time</h2>\n" + pairs_table(context.times);
  if (!context.settings.empty())
    h += "<details><summary>Settings</summary>" + pairs_table(context.settings) + "</details>\n";
  h += "</main></body></html>\n";
  return out;
}
}  // namespace vbon::eval
