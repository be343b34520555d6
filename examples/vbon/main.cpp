// vbon: Best-of-N alignment of language models from the command line.
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "option_value.hpp"
#include "program.hpp"
#include "vbon/core/config.hpp"
#include "vbon/core/error.hpp"
#include "vbon/io/cache_folder.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/kernel/instruction_set.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/reward/child_process.hpp"

namespace vbon::program {
namespace {
/// Runs before anything that was compiled for another processor.
[[gnu::constructor(101), gnu::noinline]] void check_processor() {
  const char* missing = kernel::missing_instruction_set();
  if (missing == nullptr) return;
  std::fputs("vbon: this program was compiled for processors with ", stderr);
  std::fputs(missing, stderr);
  std::fputs(", which this one lacks; build it on this machine, or with -DCMAKE_CXX_FLAGS=-march=x86-64 for any\n", stderr);
  std::_Exit(1);
}

volatile std::sig_atomic_t stop_flag = 0;

void on_stop(int) {
  if (stop_flag != 0) {  // asked twice: at once; checkpoints survive that, and reward processes must not
    reward::RunningGroups::kill_all();
    std::_Exit(stopped);
  }
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

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
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

/// CLI11 takes "" for 0 and -1 for the largest unsigned number, reads 010 as 8 and cuts what is too large. So every
/// option that holds a number reads its text here first and hands it on in a form that CLI11 cannot misread.
template <class T>
void require_number(CLI::Option& option) {
  option.transform(CLI::Validator(
      [](std::string& text) -> std::string {
        const auto value = parse_number<T>(text);
        if (!value) return expected_number<T>() + " expected, got '" + text + "'";
        if constexpr (std::is_integral_v<T>) {
          text = std::to_string(*value);
        } else {
          char exact[64];  // hexadecimal: nothing is rounded a second time
          std::snprintf(exact, sizeof(exact), "%a", *value);
          text = exact;
        }
        return {};
      },
      ""));
}
/// An unset variable of a script gives "", and what a flag left out stands for is then not what was meant.
void require_text(CLI::Option& option) {
  option.check(CLI::Validator(
      [](std::string& text) -> std::string {
        return text.empty() ? "a value expected, got ''; to take its default, leave the flag out" : "";
      },
      ""));
}
void require_values(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    const std::string type = option->get_type_name();
    if (type == CLI::detail::type_name<Index>()) require_number<Index>(*option);
    if (type == CLI::detail::type_name<std::uint64_t>()) require_number<std::uint64_t>(*option);
    if (type == CLI::detail::type_name<double>()) require_number<double>(*option);
    if (type == CLI::detail::type_name<std::string>() && option->get_items_expected_max() == 1) require_text(*option);
  }
}

/// The first argument of the command that none of its flags takes.
std::string unknown_flag(CLI::App& command, const std::vector<std::string>& extras) {
  std::vector<std::string> known;
  for (const auto* option : command.get_options())
    if (const auto name = option->get_name(); name.starts_with("--")) known.push_back(name);
  std::string word = extras.empty() ? std::string() : extras.front();
  word = word.substr(0, word.find('='));
  if (!word.starts_with("-"))
    return "unexpected argument '" + word + "'; flags begin with --, see '" +
           (command.get_parent() != nullptr ? command.get_parent()->get_name() + " " : "") + command.get_name() + " --help'";
  if (std::find(known.begin(), known.end(), word) != known.end())
    return "'" + word + "' stands behind '--', where nothing is read as a flag; leave the '--' out";
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
  add_decode(program, job);
  add_score(program, job);
  add_evaluate(program, job);
  add_compare(program, job);
  add_train_reward(program, job);
  add_evaluate_reward(program, job);
  add_calibrate(program, job);
  add_export(program, job);
  add_inspect(program, job);
  for (CLI::App* command : program.get_subcommands({})) require_values(*command);

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
  if (!is_command && program.get_option_no_throw(arguments.front().substr(0, arguments.front().find('='))) == nullptr)
    return fail("vbon", unknown_flag(program, arguments) + "; a command comes first: " + listed(commands));
  CLI::App& chosen = is_command ? *program.get_subcommand(arguments.front()) : program;
  const std::string who = is_command ? "vbon " + arguments.front() : "vbon";
  const auto& first = arguments.front();
  const bool resumes =
      first == "align" || first == "evaluate" || first == "compare" || first == "decode" || first == "train-reward";
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
    const bool kept = error.code() == "stopped";
    if (!kept && error.code() != "stopped_unsaved") return fail(who, error.what());
    fail(who, error.what() + std::string(kept && resumes ? "; the same command goes on from here" : ""));
    return stopped;
  } catch (const std::bad_alloc&) {
    return fail(who, "out of memory; take a smaller model, fewer --samples or a smaller --micro-batch");
  } catch (const std::filesystem::filesystem_error& error) {
    const bool too_long = error.code() == std::errc::filename_too_long;
    return fail(who, error.path1().string() + ": " + error.code().message() + (too_long ? "; give a shorter name" : ""));
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
  if (command.get_option_no_throw("--reward") != nullptr) {
    command
        .add_option("--reward-timeout", common.reward_timeout,
                    "seconds that the command of --reward process:COMMAND may be silent while it owes an answer")
        ->capture_default_str();
    command.add_flag(
        "--reward-bf16", common.reward_bf16,
        "compute the linear maps of rewards that are networks (--true-reward too) in bfloat16, sums in fp32: rewards "
        "change by about a hundredth of their spread; for processors that multiply bfloat16 faster (AVX512-BF16)");
  }
  command.add_flag("--quiet", common.quiet, "no progress, only results and errors");
}

void check_count(std::string_view flag, Index value, Index least) {
  require<ConfigError>(value >= least && value <= most_of_anything, flag, " in [", least, ", ", most_of_anything,
                       "] expected, got ", value);
}

void require_utf8(std::string_view flag, std::string_view text) {
  require<ConfigError>(io::is_utf8(text), flag, " '", io::excerpt(text), "' is not UTF-8: byte ",
                       io::first_invalid_utf8(text), "; convert it, or give a file");
}

void check_target(double n, double temperature) {
  require<ConfigError>(temperature >= 0.001 && temperature <= 1000, "--temperature in [0.001, 1000] expected, got ",
                       temperature);
  constexpr double most = 9007199254740992;  // 2^53: beyond it N - 1 is N
  require<ConfigError>(n >= 1 && n <= most, "--n in [1, 2^53] expected, got ", n);
}

void begin(const Common& common) {
  constexpr Index most = CPU_SETSIZE;  // what an affinity mask can hold; a larger number is a slip of the keyboard
  require<ConfigError>(common.threads >= 0 && common.threads <= most, "--threads in [0, ", most, "] expected (0: all ",
                       available_threads(), " that this process may use), got ", common.threads);
  require<ConfigError>(common.reward_timeout > 0 && common.reward_timeout <= 1e6,
                       "--reward-timeout in (0, 1000000] seconds expected, got ", common.reward_timeout);
  if (common.threads > 0) set_threads(static_cast<int>(common.threads));
}

std::filesystem::path cached(const std::filesystem::path& relative, std::string_view flag) {
  const auto path = io::cache_folder() / relative;
  require<RunError>(std::filesystem::exists(path), path.string(),
                    " is not there; fetch it with examples/setup/fetch_data.sh, or give your own with ", flag);
  return path;
}

std::string unknown(const std::string& what, const std::string& word, const std::vector<std::string>& known) {
  const auto plain = [](std::string name) {
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
  };
  std::string nearest;
  std::size_t least = 3;
  for (const auto& name : known) {
    if (const auto distance = edit_distance(plain(word), plain(name)); distance < least) least = distance, nearest = name;
  }
  return "unknown " + what + " '" + word + "'" +
         (nearest.empty() ? "; known: " : "; did you mean " + nearest + "? known: ") +
         (known.empty() ? "none" : listed(known));
}

std::pair<std::string, std::string> name_and_argument(const std::string& text) {
  const auto colon = text.find(':');
  return {text.substr(0, colon), colon == text.npos ? std::string() : text.substr(colon + 1)};
}

void remark(const Common& common, const std::string& text) {
  if (!common.quiet) std::fprintf(stderr, "%s\n", text.c_str());
}

void print_line(const std::string& line) {
  const bool written = std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fputc('\n', stdout) != EOF;
  require<RunError>(written && std::fflush(stdout) == 0, "cannot write to standard output");
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
