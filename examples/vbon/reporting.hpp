// An evaluation's files and its summary on the terminal.
#pragma once
#include <filesystem>

#include "program.hpp"
#include "vbon/eval/comparison.hpp"
#include "vbon/eval/evaluate.hpp"
#include "vbon/eval/report_html.hpp"

namespace vbon::program {
/// Writes FOLDER/report.json and FOLDER/report.html with its pictures in FOLDER/plots, and prints the figures.
void write_report(const Common& common, const std::filesystem::path& folder, const eval::Evaluation& evaluation,
                  const eval::ReportContext& context);

/// Writes FOLDER/compare.json, .csv, .md and .html with its picture in FOLDER/plots.
void write_comparison(const Common& common, const std::filesystem::path& folder, const eval::Comparison& comparison);

/// Curves of reward, win rate and KL from a run's metrics.jsonl.
std::vector<eval::Curve> training_curves(const std::filesystem::path& metrics);
}  // namespace vbon::program
