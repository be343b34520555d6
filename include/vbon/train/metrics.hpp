// vbon/train/metrics.hpp
//
// What a run measured, one row per step, in metrics.jsonl and (at every checkpoint) metrics.csv, same digits. Nothing in the
// two files depends on the clock or the number of threads, so two runs can be compared byte by byte; times,
// rates and memory go to timing.jsonl.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::train {
/// Names and values in the order they are written. NaN: not measured.
using Metrics = std::vector<std::pair<std::string, double>>;

/// The value of a metric; NaN when it is absent.
inline double metric(const Metrics& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  return std::numeric_limits<double>::quiet_NaN();
}

class MetricsWriter {
 public:
  MetricsWriter() = default;
  /// @param folder  empty: nothing is written
  /// @param sizes   bytes of metrics.jsonl and timing.jsonl to keep from an earlier run; what came after its
  ///                checkpoint is cut off and computed again
  /// @throws RunError when a file lost bytes that it had
  template <class = void>
  explicit MetricsWriter(std::filesystem::path folder, const std::vector<std::uint64_t>& sizes = {})
      : folder_(std::move(folder)) {
    if (folder_.empty()) return;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto path = folder_ / names[i];
      const std::uint64_t keep = i < sizes.size() ? sizes[i] : 0;
      const std::uint64_t there = std::filesystem::exists(path) ? std::filesystem::file_size(path) : 0;
      require<RunError>(there >= keep, path.string(), ": the checkpoint was written with ", keep, " bytes of it, ", there,
                        " are there; restore it or start anew with --overwrite");
      files_.emplace_back(path);
      if (std::filesystem::file_size(path) > keep) std::filesystem::resize_file(path, keep);
    }
  }

  /// @throws RunError when the disk is full
  template <class Row = nlohmann::ordered_json>
  void write(const std::string& phase, std::int64_t step, const Metrics& metrics, const Metrics& timing) {
    if (files_.empty()) return;
    files_[0].append(row<Row>(phase, step, metrics));
    if (!timing.empty()) files_[1].append(row<Row>(phase, step, timing));
  }

  /// Writes metrics.csv from metrics.jsonl: a column for every name, in the order of appearance, same digits.
  template <class Row = nlohmann::ordered_json>
  void write_csv() const {
    if (files_.empty()) return;
    std::vector<Row> rows;
    std::vector<std::string> columns;
    const io::MappedFile file(folder_ / names[0]);
    for (std::string_view text = file.text(); !text.empty();) {
      const auto end = text.find('\n');
      rows.push_back(io::parse_json<Row>(text.substr(0, end), names[0]));
      text.remove_prefix(end == text.npos ? text.size() : end + 1);
      for (const auto& [name, unused] : rows.back().items())
        if (std::find(columns.begin(), columns.end(), name) == columns.end()) columns.push_back(name);
    }
    std::string csv;
    for (std::size_t c = 0; c < columns.size(); ++c) csv += (c > 0 ? "," : "") + columns[c];
    csv += "\n";
    for (const Row& row : rows) {
      for (std::size_t c = 0; c < columns.size(); ++c) {
        if (c > 0) csv += ",";
        const auto found = row.find(columns[c]);
        if (found != row.end() && !found->is_null())
          csv += found->is_string() ? found->template get<std::string>() : found->dump();
      }
      csv += "\n";
    }
    io::write_file_atomically(folder_ / "metrics.csv", csv);
  }

  /// Bytes written so far, for the checkpoint.
  template <class = void>
  std::vector<std::uint64_t> sizes() const {
    std::vector<std::uint64_t> out;
    if (!files_.empty())
      for (const char* name : names) out.push_back(std::filesystem::file_size(folder_ / name));
    return out;
  }

 private:
  static constexpr std::array<const char*, 2> names = {"metrics.jsonl", "timing.jsonl"};

  template <class Row>
  static Row row(const std::string& phase, std::int64_t step, const Metrics& metrics) {
    Row out = {{"phase", phase}, {"step", step}};
    for (const auto& [name, value] : metrics) out[name] = value;  // NaN becomes null
    return out;
  }

  std::filesystem::path folder_;
  std::vector<io::JsonlWriter> files_;
};
}  // namespace vbon::train
