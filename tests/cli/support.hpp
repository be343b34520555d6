// The tiny checkpoint and a short alignment that the tests of the program share.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <sstream>

#include "support/catch.hpp"
#include "support/program.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
using Arguments = std::vector<std::string>;

inline const std::string data_folder = VBON_TEST_DATA;
inline const std::string tiny_model = data_folder + "/tiny_llama";
inline const std::string tiny_prompts = data_folder + "/tiny_prompts.jsonl";
inline const std::string tiny_reward = "lexicon:" + data_folder + "/tiny_lexicon.txt";

inline Finished vbon(Arguments arguments, const RunOptions& options = {}) {
  return run_program(VBON_PROGRAM, std::move(arguments), options);
}

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// One JSON value per line.
inline std::vector<io::Json> rows(const std::string& text) {
  std::vector<io::Json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(io::Json::parse(line));
  return out;
}

/// When to kill a command of the program, in microseconds after its start: early at first and later and later, so that any
/// machine and any build is caught often, and ends.
class KillTimes {
 public:
  /// Runs the command once, to its end, to see how long it takes.
  explicit KillTimes(const Arguments& whole) {
    const auto start = std::chrono::steady_clock::now();
    const auto run = vbon(whole);
    INFO(run.err);
    REQUIRE(run.code == 0);
    using namespace std::chrono;
    whole_ = static_cast<std::uint64_t>(duration_cast<microseconds>(steady_clock::now() - start).count());
  }
  long next() {
    draw_ ^= draw_ << 13, draw_ ^= draw_ >> 7, draw_ ^= draw_ << 17;
    const std::uint64_t n = drawn_++;  // the later, the longer: on a busy machine too the run ends some time
    return static_cast<long>(whole_ / 200 + draw_ % (whole_ / 100 + whole_ / 160 * n + whole_ / 4000 * n * n));
  }
  std::uint64_t drawn() const { return drawn_; }

 private:
  std::uint64_t whole_ = 0, drawn_ = 0, draw_ = 88172645463325252ULL;
};

/// A build with a sanitizer: its own memory is part of every peak, and emulators do not run it.
inline constexpr bool sanitized =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    true;
#else
    false;
#endif

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Starts the command and kills it after so many microseconds; true when nothing was left to kill.
inline bool ends_before_kill(const Arguments& command, long after) {
  const auto run = vbon(command, {.signal = SIGKILL, .after = after});
  if (run.code == 0 || has(run.err, "is finished")) return true;  // the latter: killed after the mark
  INFO(after << " us: " << run.err);
  REQUIRE(run.code == 128 + SIGKILL);
  return false;
}
/// Starts the command, which goes on with what the start before left, and kills it until it ends by itself.
inline void kill_until_it_ends(const Arguments& command, KillTimes time, std::uint64_t least = 3) {
  while (!ends_before_kill(command, time.next())) REQUIRE(time.drawn() < 100);
  CHECK(time.drawn() > least);
}

/// A whole `vbon align` of about a second.
inline Arguments tiny_align(const std::filesystem::path& out, const Arguments& more = {}) {
  return Arguments{"align",      "--model",
                   tiny_model,   "--reward",
                   tiny_reward,  "--prompts",
                   tiny_prompts, "--out",
                   out.string(), "--references",
                   "16",         "--evaluation-samples",
                   "4",          "--evaluation-references",
                   "8",          "--max-new-tokens",
                   "12",         "--warm-steps",
                   "4",          "--steps",
                   "10",         "--step-prompts",
                   "8",          "--learning-rate",
                   "1e-3",       "--warm-learning-rate",
                   "1e-3",       "--checkpoint-every",
                   "2",          "--evaluate-every",
                   "5",          "--threads",
                   "1",          "--quiet"} +
         more;
}

/// Files of a finished run that must not depend on threads, kills and resumes.
inline const std::vector<std::string> reproducible = {
    "references.jsonl", "held_out.jsonl",          "metrics.jsonl",     "metrics.csv",         "report.json",
    "run.json",         "model/model.safetensors", "model/config.json", "model/tokenizer.json"};
inline void check_equal_runs(const std::filesystem::path& a, const std::filesystem::path& b) {
  for (const auto& name : reproducible) {
    INFO(name);
    REQUIRE(std::filesystem::exists(a / name));
    REQUIRE(std::filesystem::exists(b / name));
    CHECK(text_of(a / name) == text_of(b / name));
  }
}

/// An error is one line on standard error that begins with the command and says every part.
inline void check_refused(const Finished& run, const std::string& who, const Arguments& parts) {
  INFO(run.err);
  CHECK(run.code != 0);
  CHECK(run.code < 128);
  CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
  CHECK(run.err.starts_with(who + ": "));
  for (const auto& part : parts) {
    INFO("expected: " << part);
    CHECK(has(run.err, part));
  }
}
}  // namespace vbon::test
