// vbon: Best-of-N alignment of language models from the command line.
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "program.hpp"
#include "vbon/core/config.hpp"
#include "vbon/core/error.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::program {
namespace {
volatile std::sig_atomic_t stop_flag = 0;

void on_stop(int) {
  if (stop_flag != 0) std::_Exit(stopped);  // asked twice: at once; checkpoints survive that
  stop_flag = 1;
}

/// --max_new_tokens and --max-new-tokens are one flag.
std::vector<std::string> with_hyphens(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (auto& argument : arguments) {
    if (argument == "--") break;
    if (argument.size() < 3 || !argument.starts_with("--")) continue;
    for (std::size_t i = 2; i < argument.size() && argument[i] != '='; ++i)
      if (argument[i] == '_') argument[i] = '-';
  }
  return arguments;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

/// "unknown WHAT 'word' (did you mean ...?); known: ..."
std::string unknown(const std::string& what, const std::string& word, const std::vector<std::string>& known) {
  std::string list, nearest;
  std::size_t least = 3;
  for (const auto& name : known) {
    list += (list.empty() ? "" : ", ") + name;
    if (const auto distance = edit_distance(word, name); distance < least) least = distance, nearest = name;
  }
  return "unknown " + what + " '" + word + "'" + (nearest.empty() ? "" : "; did you mean " + nearest + "?") +
         (nearest.empty() ? "; known: " : " known: ") + list;
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  while (text.ends_with(' ')) text.pop_back();
  return text;
}
int fail(const std::string& who, const std::string& text) {
  std::fprintf(stderr, "%s: %s\n", who.c_str(), one_line(text).c_str());
  return EXIT_FAILURE;
}

/// The first argument of the command that none of its flags takes.
std::string unknown_flag(CLI::App& command, const std::vector<std::string>& extras) {
  std::vector<std::string> known;
  for (const auto* option : command.get_options())
    if (const auto name = option->get_name(); name.starts_with("--")) known.push_back(name);
  std::string word = extras.empty() ? std::string() : extras.front();
  word = word.substr(0, word.find('='));
  if (!word.starts_with("-"))
    return "unexpected argument '" + word + "'; flags begin with --, see '" + command.get_name() + " --help'";
  return unknown("flag", word, known);
}

int run(int argc, char** argv) {
  CLI::App program{"Makes one sample of a language model read like the best of N: variational Best-of-N alignment.", "vbon"};
  program.set_version_flag("--version", std::string(VBON_VERSION));
  program.require_subcommand(1);
  program.footer(
      "Start here:\n  vbon align --out run           aligns the fetched model under the fetched reward and writes "
      "run/report.html\n"
      "  vbon COMMAND --help            what a command does, with every flag and its default");
  program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // a flag given again overrides
  Job job;
  add_align(program, job);
  add_sample(program, job);
  add_score(program, job);
  add_evaluate(program, job);
  add_compare(program, job);
  add_inspect(program, job);

  auto arguments = with_hyphens(argc, argv);
  std::vector<std::string> commands;
  for (const auto* command : program.get_subcommands({})) commands.push_back(command->get_name());
  if (arguments.empty()) {
    std::fputs(program.help().c_str(), stderr);
    return EXIT_FAILURE;
  }
  const bool is_command = std::find(commands.begin(), commands.end(), arguments.front()) != commands.end();
  if (!is_command && !arguments.front().starts_with("-"))
    return fail("vbon", unknown("command", arguments.front(), commands));
  CLI::App& chosen = is_command ? *program.get_subcommand(arguments.front()) : program;
  const std::string who = is_command ? "vbon " + arguments.front() : "vbon";
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  try {
    program.parse(arguments);
  } catch (const CLI::ExtrasError&) {
    const auto extras = chosen.remaining(true);
    return fail(who, unknown_flag(chosen, extras.empty() ? program.remaining(true) : extras));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);  // --help, --version
    return fail(who, std::string(error.what()) + "; see '" + who + " --help'");
  }
  try {
    return job();
  } catch (const Error& error) {
    if (error.code() != "stopped") return fail(who, error.what());
    std::fprintf(stderr, "%s: %s; the same command goes on from here\n", who.c_str(), one_line(error.what()).c_str());
    return stopped;
  } catch (const std::bad_alloc&) {
    return fail(who, "out of memory; take a smaller model, fewer --samples or a smaller --micro-batch");
  } catch (const std::exception& error) {
    return fail(who, error.what());
  }
}
}  // namespace

bool stop_requested() { return stop_flag != 0; }

void add_common(CLI::App& command, Common& common) {
  command
      .add_option("--seed", common.seed,
                  "seed of every random draw; the same seed gives the same result on any number of threads")
      ->capture_default_str();
  command.add_option("--threads", common.threads, "threads to compute with; 0: all this process may use")
      ->capture_default_str();
  command.add_flag("--quiet", common.quiet, "no progress, only results and errors");
}

void check_count(std::string_view flag, Index value, Index least) {
  constexpr Index most = 1'000'000;  // beyond it memory ends; a larger number is a slip of the keyboard
  require<ConfigError>(value >= least && value <= most, flag, " in [", least, ", ", most, "] expected, got ", value);
}

void check_target(double n, double temperature) {
  require<ConfigError>(temperature >= 0.001 && temperature <= 1000, "--temperature in [0.001, 1000] expected, got ",
                       temperature);
  constexpr double most = 9007199254740992;  // 2^53: beyond it N - 1 is N
  require<ConfigError>(n >= 1 && n <= most, "--n in [1, 2^53] expected, got ", n);
}

void begin(const Common& common) {
  constexpr int most = CPU_SETSIZE;  // what an affinity mask can hold; a larger number is a slip of the keyboard
  require<ConfigError>(common.threads >= 0 && common.threads <= most, "--threads in [0, ", most, "] expected (0: all ",
                       available_threads(), " that this process may use), got ", common.threads);
  if (common.threads > 0) set_threads(common.threads);
}

std::filesystem::path cache_folder() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const auto cache = variable("VBON_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return std::filesystem::path(cache) / "vbon";
  return std::filesystem::path(variable("HOME")) / ".cache" / "vbon";
}

std::filesystem::path cached(const std::filesystem::path& relative, std::string_view flag) {
  const auto path = cache_folder() / relative;
  require<RunError>(std::filesystem::exists(path), path.string(),
                    " is not there; fetch it with examples/setup/fetch_data.sh, or give your own with ", flag);
  return path;
}

std::pair<std::string, std::string> name_and_argument(const std::string& text) {
  const auto colon = text.find(':');
  return {text.substr(0, colon), colon == text.npos ? std::string() : text.substr(colon + 1)};
}

void remark(const Common& common, const std::string& text) {
  if (!common.quiet) std::fprintf(stderr, "%s\n", text.c_str());
}

void print_line(const std::string& line) {
  require<RunError>(std::fprintf(stdout, "%s\n", line.c_str()) >= 0 && std::fflush(stdout) == 0,
                    "cannot write to standard output");
}
}  // namespace vbon::program

int main(int argc, char** argv) {
  std::signal(SIGINT, vbon::program::on_stop);
  std::signal(SIGTERM, vbon::program::on_stop);
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is reported like a full disk
#endif
  return vbon::program::run(argc, argv);
}
