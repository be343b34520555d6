// What the commands of the vbon program share. Light on purpose: each command is a source file of its own and only the
// headers it needs are compiled with it.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/index.hpp"

namespace vbon::program {
/// The command that the command line chose; returns the exit code.
using Job = std::function<int()>;

/// Each command adds itself to the program and, when it is chosen, puts its work into `job`.
void add_align(CLI::App& program, Job& job);
void add_sample(CLI::App& program, Job& job);
void add_decode(CLI::App& program, Job& job);
void add_score(CLI::App& program, Job& job);
void add_evaluate(CLI::App& program, Job& job);
void add_compare(CLI::App& program, Job& job);
void add_calibrate(CLI::App& program, Job& job);
void add_train_reward(CLI::App& program, Job& job);
void add_evaluate_reward(CLI::App& program, Job& job);
void add_export(CLI::App& program, Job& job);
void add_inspect(CLI::App& program, Job& job);

/// Options that every command has.
struct Common {
  std::uint64_t seed = 1;
  Index threads = 0;  // 0: as many as the machine lets this process use
  bool quiet = false;
  double reward_timeout = 60;  // seconds that a reward process may be silent; of commands with --reward
  bool reward_bf16 = false;    // of the same
};
/// Call it after the command's own options: --reward-timeout and --reward-bf16 stand beside --reward only.
void add_common(CLI::App& command, Common& common);
/// Of the flag --recompute.
inline constexpr const char* recompute_help =
    "compute the activations of each block again in the backward pass instead of keeping them, but for what attention gave "
    "the responses that a step has drawn: less memory, a quarter to a third more time for a gradient, the same bits; of "
    "causal "
    "language models; may be changed when a run is resumed";
/// Of the option --keep-sampled.
inline constexpr const char* keep_sampled_help =
    "megabytes at most for the activations of the responses that a step has drawn, from which its gradient is made without "
    "another forward pass; 0, or where they would take more (beside --recompute they take a fifth): it is made again, to "
    "the same bits; may be changed when a run is resumed";
/// Of the flag --bf16.
inline constexpr const char* bf16_help =
    "compute the linear maps and the head in bfloat16, sums in fp32: both factors of every matrix product are rounded, "
    "weights and all else stay fp32; for processors that multiply bfloat16 faster (AVX512-BF16)";
/// Beyond this many of anything memory ends; a larger number is a slip of the keyboard.
inline constexpr Index most_of_anything = 1'000'000;
/// @throws ConfigError unless `least` <= value <= most_of_anything, naming the flag
void check_count(std::string_view flag, Index value, Index least);
/// @throws ConfigError unless the text is UTF-8, naming the flag
void require_utf8(std::string_view flag, std::string_view text);
/// @throws ConfigError unless N is a real number in [1, 2^53] and the temperature in [0.001, 1000]
void check_target(double n, double temperature);
/// Starts the threads. Call it first thing in a job.
void begin(const Common& common);

/// True once SIGINT or SIGTERM came: finish what is going on, save, and end with a RunError "stopped".
bool stop_requested();
inline constexpr int stopped = 130;

/// A file or folder among the fetched models and data (io/cache_folder.hpp).
/// @throws RunError saying how to fetch it and which flag takes another
std::filesystem::path cached(const std::filesystem::path& relative, std::string_view flag);

/// "unknown WHAT 'word'; did you mean ...? known: ...", where hyphens are as good as underscores.
std::string unknown(const std::string& what, const std::string& word, const std::vector<std::string>& known);
/// Splits "name:argument".
std::pair<std::string, std::string> name_and_argument(const std::string& text);

/// Progress and remarks go to standard error, results to standard output.
void remark(const Common& common, const std::string& text);
/// Appends a line to standard output, whatever bytes it has, and ends the program's job when nobody reads it any more.
void print_line(const std::string& line);
}  // namespace vbon::program
