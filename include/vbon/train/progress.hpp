// vbon/train/progress.hpp
//
// One line that tells how far a stage is and how long it will still take. On a terminal it is redrawn in place;
// elsewhere (a log file) a line is written now and then.
#pragma once
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::train {
/// Seconds as "7 s", "3 min 05 s" or "2 h 10 min".
template <class = void>
std::string in_words(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  const auto two = [](long long v) { return (v < 10 ? "0" : "") + std::to_string(v); };
  if (whole < 60) return std::to_string(whole) + " s";
  if (whole < 3600) return std::to_string(whole / 60) + " min " + two(whole % 60) + " s";
  return std::to_string(whole / 3600) + " h " + two(whole / 60 % 60) + " min";
}

class Progress {
 public:
  enum class Style { silent, lines, bar };

  /// A bar where `out` is a terminal, lines elsewhere.
  static Style style_for(std::FILE* out) { return ::isatty(::fileno(out)) != 0 ? Style::bar : Style::lines; }

  template <class = void>
  Progress(std::FILE* out, Style style, std::string title, Index total, Index done = 0)
      : out_(out), style_(style), title_(std::move(title)), total_(std::max<Index>(total, 1)), first_(done), done_(done) {
    draw("");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { finish(); }

  /// @param note  figures of the moment, "reward 0.41  KL 0.52"
  template <class = void>
  void update(Index done, const std::string& note = "") {
    done_ = std::clamp<Index>(done, 0, total_);
    draw(note);
  }
  /// Leaves the bar as it stands and goes to the next line. Also done by the destructor.
  void finish() {
    if (std::exchange(finished_, true) || style_ == Style::silent) return;
    if (style_ == Style::bar) std::fputs("\n", out_);
    std::fflush(out_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  template <class = void>
  void draw(const std::string& note) {
    if (style_ == Style::silent) return;
    const auto now = Clock::now();
    const bool last = done_ >= total_;
    const double pause = style_ == Style::bar ? 0.1 : 10;
    if (drawn_ && !last && std::chrono::duration<double>(now - drawn_at_).count() < pause) return;
    if (last && std::exchange(last_drawn_, true)) return;
    drawn_ = true;
    drawn_at_ = now;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    std::string line = title_;
    line.resize(std::max<std::size_t>(line.size(), 20), ' ');
    if (style_ == Style::bar) {
      constexpr Index width = 24;
      const auto full = static_cast<std::size_t>(done_ * width / total_);
      line += " [" + std::string(full, '#') + std::string(static_cast<std::size_t>(width) - full, '.') + "]";
    }
    line += message(" ", done_, "/", total_);
    if (last)
      line += "  took " + in_words(elapsed);
    else if (done_ > first_)
      line += "  " + in_words(elapsed * static_cast<double>(total_ - done_) / static_cast<double>(done_ - first_)) + " left";
    if (!note.empty()) line += "  " + note;
    if (style_ == Style::bar)
      std::fprintf(out_, "\r%s\x1b[K", line.c_str());
    else
      std::fprintf(out_, "%s\n", line.c_str());
    std::fflush(out_);
  }

  std::FILE* out_;
  Style style_;
  std::string title_;
  Index total_, first_, done_;
  Clock::time_point start_ = Clock::now(), drawn_at_ = start_;
  bool drawn_ = false, last_drawn_ = false, finished_ = false;
};
}  // namespace vbon::train
