#include "reporting.hpp"

#include <cmath>
#include <cstdio>

#include "vbon/eval/report_json.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::program {
namespace {
std::string fixed(double value, int digits = 3) {
  if (std::isnan(value)) return "-";
  char text[400];  // the largest double has 309 digits
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}
std::string interval(const eval::Estimate& e) {
  return std::isnan(e.low) ? "-" : "[" + fixed(e.low) + ", " + fixed(e.high) + "]";
}
std::string with_error(const eval::MeanError& e) {
  return fixed(e.value) + (std::isnan(e.error) ? "" : " +- " + fixed(e.error));
}
void print_row(const eval::Arm& arm, const std::string& kl) {
  char line[1200];
  std::snprintf(line, sizeof(line), "%-14s %11s %9s  %-14s  %-16s %7s", arm.name.c_str(),
                fixed(arm.mean_reward.value).c_str(), fixed(arm.win_rate.value).c_str(), interval(arm.win_rate).c_str(),
                kl.c_str(), fixed(arm.length, 1).c_str());
  print_line(line);
}
}  // namespace

void write_report(const Common& common, const std::filesystem::path& folder, const eval::Evaluation& e,
                  const eval::ReportContext& context) {
  io::make_folder(folder);
  auto json = eval::report_json(e);
  for (const auto& [name, value] : context.settings) json["settings"][name] = value;
  io::write_file_atomically(folder / "report.json",
                            json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  const auto report = eval::report_html(e, context, folder / "plots");
  io::write_file_atomically(folder / "report.html", report.html);
  for (const auto& problem : report.problems) remark(common, "picture " + problem);

  print_line("");
  print_line("policy         mean reward  win rate  95%             KL, nats          tokens");
  print_row(e.reference, "0");
  print_row(e.aligned, with_error(e.kl));
  print_row(e.best, "<= " + fixed(e.theory_kl));
  if (e.prompts == 1) print_line("no interval: one prompt");
  print_line(std::isnan(e.efficiency)
                 ? "efficiency -: " + std::string(eval::no_efficiency)
                 : "efficiency " + fixed(e.efficiency) + ": of the win-rate gain that best-of-N has at this KL (" +
                       fixed(e.ideal_win_rate) + ")");
  if (!std::isnan(e.best_win_rate.value))
    print_line("best of " + message(e.n) + " against best of " + message(e.n) + ": " + fixed(e.best_win_rate.value) + " " +
               interval(e.best_win_rate) + "; worst against worst: " + fixed(e.worst_win_rate.value) + " " +
               interval(e.worst_win_rate));
  print_line("report: " + (folder / "report.html").string());
}

void write_comparison(const Common& common, const std::filesystem::path& folder, const eval::Comparison& comparison) {
  io::write_file_atomically(
      folder / "compare.json",
      eval::comparison_json(comparison).dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  io::write_file_atomically(folder / "compare.csv", eval::comparison_csv(comparison));
  io::write_file_atomically(folder / "compare.md",
                            "# " + comparison.title + "\n\n" + eval::markdown_table(eval::comparison_table(comparison)));
  const auto page = eval::comparison_html(comparison, folder / "plots");
  io::write_file_atomically(folder / "compare.html", page.html);
  for (const auto& problem : page.problems) remark(common, "picture " + problem);
  print_line("report: " + (folder / "compare.html").string());
}

std::vector<eval::Curve> training_curves(const std::filesystem::path& metrics) {
  std::vector<eval::Curve> curves = {
      {.name = "curve-reward", .title = "Reward of the samples", .y_label = "mean reward", .x = {}, .y = {}},
      {.name = "curve-win-rate", .title = "Win rate, training prompts", .y_label = "win rate", .x = {}, .y = {}},
      {.name = "curve-kl", .title = "KL to the reference, sampled", .y_label = "nats per response", .x = {}, .y = {}}};
  const char* const names[] = {"reward", "win_rate", "kl_k1"};
  std::string phase;
  double step = 0;
  io::read_jsonl(metrics, [&](const io::Json& row, std::size_t line) {
    const std::string where = message(metrics.string(), " line ", line);
    const auto name = io::json_get_or<std::string>(row, "phase", "", where);
    if (name.starts_with("evaluate") || name == "warm_start") return;  // cached responses say nothing about the policy
    ++step;
    if (!phase.empty() && phase != name)
      for (auto& curve : curves) curve.phase_starts.push_back(step);
    phase = name;
    for (std::size_t i = 0; i < curves.size(); ++i) {
      curves[i].x.push_back(step);
      curves[i].y.push_back(io::json_get_or<double>(row, names[i], NAN, where));
    }
  });
  // Pairs from a file, say, have no win rate.
  std::erase_if(curves, [](const eval::Curve& curve) {
    return std::none_of(curve.y.begin(), curve.y.end(), [](double y) { return std::isfinite(y); });
  });
  return curves;
}
}  // namespace vbon::program
