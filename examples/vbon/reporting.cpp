#include "reporting.hpp"

#include <cstdio>

#include "vbon/eval/report_json.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::program {
namespace {
void print_row(const char* name, double reward, double win, double low, double high, const std::string& kl, double length) {
  char line[160];
  std::snprintf(line, sizeof(line), "%-14s %11.3f %9.3f  [%.3f, %.3f]  %-16s %7.1f", name, reward, win, low, high,
                kl.c_str(), length);
  print_line(line);
}
std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", value);
  return text;
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
  print_row("reference", e.reference.mean_reward.value, 0.5, 0.5, 0.5, "0", e.reference.length);
  print_row("aligned", e.aligned.mean_reward.value, e.aligned.win_rate.value, e.aligned.win_rate.low,
            e.aligned.win_rate.high, fixed(e.kl.value) + " +- " + fixed(e.kl.error), e.aligned.length);
  print_row(e.best.name.c_str(), e.best.mean_reward.value, e.best.win_rate.value, e.best.win_rate.low, e.best.win_rate.high,
            "<= " + fixed(e.theory_kl), e.best.length);
  print_line("efficiency " + fixed(e.efficiency) + ": of the win-rate gain that best-of-N has at this KL (" +
             fixed(e.ideal_win_rate) + ")");
  print_line("report: " + (folder / "report.html").string());
}

std::vector<eval::Curve> training_curves(const std::filesystem::path& metrics) {
  std::vector<eval::Curve> curves = {
      {.name = "curve-reward", .title = "Reward of the samples", .y_label = "mean reward", .x = {}, .y = {}},
      {.name = "curve-win-rate", .title = "Win rate, training prompts", .y_label = "win rate", .x = {}, .y = {}},
      {.name = "curve-kl", .title = "KL to the reference, sampled", .y_label = "nats per response", .x = {}, .y = {}}};
  const char* const names[] = {"reward", "win_rate", "kl_k1"};
  std::string phase;
  double step = 0;
  io::read_jsonl(metrics, [&](const io::Json& row, std::size_t) {
    const auto name = row.value("phase", std::string());
    if (name.starts_with("evaluate") || name == "warm_start") return;  // cached responses say nothing about the policy
    ++step;
    if (!phase.empty() && phase != name)
      for (auto& curve : curves) curve.phase_starts.push_back(step);
    phase = name;
    for (std::size_t i = 0; i < curves.size(); ++i) {
      curves[i].x.push_back(step);
      const auto* value = io::json_find(row, names[i]);
      curves[i].y.push_back(value == nullptr ? NAN : value->get<double>());
    }
  });
  return curves;
}
}  // namespace vbon::program
