// vbon/eval/plot.hpp
//
// Pictures by gnuplot, run as a program. The data and the script are always written, so a picture can be drawn
// again, changed, or drawn elsewhere when gnuplot is not installed here.
#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/mapped_file.hpp"

extern char** environ;

namespace vbon::eval {
enum class Mark { line, dashed, points, steps, filled_steps };

/// One curve or cloud of points. Points with a NaN are left out and break a line.
struct PlotSeries {
  std::string title = {};  // in the key; empty: not listed
  std::vector<double> x = {}, y = {};
  Mark mark = Mark::line;
  std::string color = "#3b6ea5";
  std::vector<double> x_low = {}, x_high = {}, y_low = {}, y_high = {};  // error bars (Mark::points), all or none
};
struct Plot {
  std::string name;  // of the files: letters, digits, - and _
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<PlotSeries> series = {};
  std::string extra = {};  // further gnuplot commands before `plot`
  int width = 520, height = 340;
};

namespace detail {
template <class = void>
std::string gnuplot_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "''" : c == '\n' ? " " : std::string(1, c);
  return out + "'";
}
inline std::string plot_data(const Plot& plot) {
  std::ostringstream out;
  out.precision(10);
  for (const auto& s : plot.series) {
    require<ShapeError>(s.x.size() == s.y.size(), "plot '", plot.name, "': ", s.x.size(), " x values and ", s.y.size(),
                        " y values");
    out << "# " << s.title << '\n';
    bool any = false;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (std::isnan(s.x[i]) || std::isnan(s.y[i])) {
        out << '\n';
        continue;
      }
      any = true;
      out << s.x[i] << ' ' << s.y[i];
      if (!s.y_low.empty()) out << ' ' << s.x_low[i] << ' ' << s.x_high[i] << ' ' << s.y_low[i] << ' ' << s.y_high[i];
      out << '\n';
    }
    out << (any ? "\n\n" : "nan nan\n\n\n");
  }
  return out.str();
}
template <class = void>
std::string plot_script(const Plot& plot) {
  std::string identifier = plot.name;  // several drawings share a page: their parts need different names
  std::replace(identifier.begin(), identifier.end(), '-', '_');
  std::ostringstream out;
  out << "# gnuplot " << plot.name << ".gp  draws " << plot.name << ".svg\n"
      << "set terminal svg size " << plot.width << ',' << plot.height << " dynamic noenhanced font 'Helvetica,13' name "
      << gnuplot_text(identifier) << "\nset output '" << plot.name << ".svg'\nset encoding utf8\n"
      << "set border 3 lc rgb '#8a8f98'\nset tics nomirror textcolor rgb '#4a4f57'\nset grid lc rgb '#e6e8eb' lt 1 lw 1\n"
      << "set key top left Left reverse samplen 2 spacing 1.2 textcolor rgb '#23262b'\nset lmargin 8\nset rmargin 3\nset "
         "tmargin 1.5\nset bmargin 3.6\n"
      << "set xlabel " << gnuplot_text(plot.x_label) << " textcolor rgb '#4a4f57'\nset ylabel " << gnuplot_text(plot.y_label)
      << " textcolor rgb '#4a4f57' offset 1,0\nset style fill transparent solid 0.18 noborder\n"
      << plot.extra << (plot.extra.empty() ? "" : "\n") << "plot \\\n";
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const auto& s = plot.series[i];
    const std::string file = "'" + plot.name + ".dat' index " + std::to_string(i);
    const std::string title = s.title.empty() ? " notitle" : " title " + gnuplot_text(s.title);
    const std::string color = " lc rgb " + gnuplot_text(s.color);
    switch (s.mark) {
      case Mark::line:
        out << "  " << file << " using 1:2 with lines lw 2" << color << title;
        break;
      case Mark::dashed:
        out << "  " << file << " using 1:2 with lines lw 1.6 dt 2" << color << title;
        break;
      case Mark::steps:
        out << "  " << file << " using 1:2 with histeps lw 2" << color << title;
        break;
      case Mark::filled_steps:
        out << "  " << file << " using 1:2 with fillsteps" << color << " notitle, \\\n  " << file
            << " using 1:2 with steps lw 2" << color << title;
        break;
      case Mark::points:
        if (!s.y_low.empty())
          out << "  " << file << " using 1:2:3:4:5:6 with xyerrorbars pt 7 ps 0.1 lw 1.4" << color << " notitle, \\\n";
        out << "  " << file << " using 1:2 with points pt 7 ps 0.9" << color << title;
        break;
    }
    out << (i + 1 < plot.series.size() ? ", \\\n" : "\n");
  }
  return out.str();
}
/// Runs gnuplot in a folder. Returns what went wrong, empty when nothing did.
template <class = void>
std::string run_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  const std::string log = script + ".log";
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  std::string program = "gnuplot", file = script;
  char* arguments[] = {program.data(), file.data(), nullptr};
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failure == ENOENT) return "gnuplot is not installed";
  if (failure != 0) return message("gnuplot could not be started: ", std::strerror(failure));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return message("gnuplot failed, see ", (folder / log).string());
  std::error_code ignored;
  std::filesystem::remove(folder / log, ignored);
  return {};
}
}  // namespace detail

/// What became of a picture.
struct DrawnPlot {
  std::string svg;      // the drawing, ready to stand inside an HTML page; empty when it could not be drawn
  std::string problem;  // why, and what to do
};

/// Writes NAME.dat and NAME.gp into the folder and has gnuplot make NAME.svg of them.
/// @throws RunError when the files cannot be written; a missing gnuplot is a `problem`, no error
template <class = void>
DrawnPlot draw(const Plot& plot, const std::filesystem::path& folder) {
  io::make_folder(folder);
  io::write_file_atomically(folder / (plot.name + ".dat"), detail::plot_data(plot));
  io::write_file_atomically(folder / (plot.name + ".gp"), detail::plot_script(plot));
  const std::string problem = detail::run_gnuplot(folder, plot.name + ".gp");
  if (!problem.empty())
    return {
        {},
        message(problem, "; the data and the script are in ", folder.string(), ": run 'gnuplot ", plot.name, ".gp' there")};
  const io::MappedFile file(folder / (plot.name + ".svg"));
  std::string svg(file.text());
  const auto begin = svg.find("<svg");  // the XML prologue has no place inside a page
  if (begin == svg.npos) return {{}, message("gnuplot wrote no drawing to ", (folder / (plot.name + ".svg")).string())};
  return {svg.substr(begin), {}};
}
}  // namespace vbon::eval
