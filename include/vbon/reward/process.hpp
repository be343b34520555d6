// vbon/reward/process.hpp
//
// A reward in any language: a command of the user's that reads one JSON object per line and answers each
// with one. Requests are sent ahead of answers, so the command may work in batches and answer in any order.
//
//   to it:    {"id": 7, "prompt": "...", "response": "..."}
//   from it:  {"id": 7, "reward": 0.25}
//
// A command that dies or falls silent is started again a limited number of times and asked again for what it
// owes; a command that answers nonsense is not. Answers are lines: a command whose output is buffered must flush
// it. A reward may be Infinity or "inf"; NaN or null is an error that names the response.
#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/io/bare_numbers.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/reward/child_process.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
struct ProcessOptions {
  double timeout = 60;              // seconds without an answer while one is owed
  int restarts = 2;                 // per batch
  Index in_flight = 256;            // requests sent ahead of their answers
  std::function<bool()> stop = {};  // asked while answers are owed; true ends the wait and the command
};

namespace detail {
/// As a person would write it: 0.3 and 180.
inline std::string in_seconds(double value) {
  std::ostringstream out;
  out << value;
  return std::move(out).str();
}

struct ProcessAnswer {
  std::uint64_t id = 0;
  double reward = 0;  // NaN: it said so
};

/// @throws RunError (reward_malformed) telling the line
template <class = void>
ProcessAnswer parse_answer(std::string_view line) {
  const auto fail = [&](std::string_view problem) {
    throw RunError(message("reward process: ", problem, R"(; {"id": ..., "reward": ...} expected, got: )",
                           io::replace_invalid_utf8(line.substr(0, 200))),
                   {"reward_malformed"});
  };
  io::Json json;
  try {
    json = io::parse_json(io::quote_bare_numbers(line), "answer");
  } catch (const FormatError&) {
    fail("the answer is no JSON");
  }
  if (!json.is_object()) fail("the answer is no object");
  if (const auto* error = io::json_find(json, "error"))
    fail(message("it reports an error: ", error->is_string() ? error->get<std::string>() : error->dump()));
  const auto id = json.find("id"), reward = json.find("reward");
  if (id == json.end() || !id->is_number_unsigned()) fail("the answer has no id that is a whole number");
  if (reward == json.end()) fail("the answer has no reward");
  const auto value = io::number_of(*reward);
  if (!value) fail("the reward is no number");
  return {id->get<std::uint64_t>(), *value};
}
}  // namespace detail

class Process {
 public:
  static constexpr std::string_view name = "process";
  static constexpr std::string_view argument = "COMMAND that answers JSON lines";

  Process() : Process(std::string()) {}
  /// The command is started with the first batch and kept for the next ones.
  /// @param command  for /bin/sh -c
  template <class = void>
  explicit Process(std::string command, ProcessOptions options = {})
      : command_(std::move(command)), options_(std::move(options)), state_(std::make_unique<State>()) {
    require<ConfigError>(options_.timeout > 0 && options_.restarts >= 0 && options_.in_flight >= 1,
                         "reward process: timeout > 0, restarts >= 0 and in_flight >= 1 expected, got ", options_.timeout,
                         ", ", options_.restarts, ", ", options_.in_flight);
  }
  template <class = void>
  static Process open(const std::string& command, ProcessOptions options = {}) {
    return Process(command, std::move(options));
  }

  /// The process now running, or -1.
  pid_t child() const { return state_->child ? state_->child->id() : -1; }

  /// One batch at a time; a second thread waits.
  /// @throws RunError     reward_process_died, reward_process_silent (after the restarts), reward_malformed,
  ///                      reward_wrong_id, stopped
  /// @throws DomainError  nan_reward, naming prompt and sample
  /// @throws ConfigError  without a command;  ShapeError for a batch without text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    require<ConfigError>(!command_.empty(), "reward process: no command was given");
    require_text(batch, name);
    const std::lock_guard lock(state_->mutex);
    try {
      return Exchange(*this, batch).run();
    } catch (...) {
      state_->child.reset();  // what it still owes must not meet the next batch
      throw;
    }
  }

 private:
  struct State {
    std::mutex mutex;
    std::unique_ptr<ChildProcess> child;
    std::uint64_t next_id = 0;
  };

  /// The conversation over one batch.
  class Exchange {
   public:
    template <class = void>
    Exchange(const Process& process, const RolloutBatch& batch)
        : process_(process), state_(*process.state_), batch_(batch), rewards_(batch.responses()) {
      for (Index p = 0; p < batch.prompts(); ++p)
        prompt_of_.insert(prompt_of_.end(), static_cast<std::size_t>(batch.samples(p)), p);
      for (Index i = 0; i < batch.responses(); ++i) waiting_.push_back(i);
    }

    template <class = void>
    Array run() {
      int restarts = 0;
      auto silent_until = deadline();
      while (!waiting_.empty() || !asked_.empty()) {
        if (!state_.child) {
          state_.child = std::make_unique<ChildProcess>(process_.command_);
          silent_until = deadline();
        }
        ask();
        std::vector<std::string> lines;
        const auto event = state_.child->exchange(output_, lines, std::min(silent_until, next_look()));
        for (const std::string& line : lines)
          if (line.find_first_not_of(" \t\r") != line.npos) take(line);
        if (!lines.empty()) silent_until = deadline();
        heed_stop();
        if (event == ChildProcess::Event::timeout && Clock::now() < silent_until) continue;
        if (event != ChildProcess::Event::progress) start_again(event, restarts++);
      }
      return checked(std::move(rewards_), batch_, name);
    }

   private:
    Clock::time_point deadline() const {
      const std::chrono::duration<double> timeout(std::min(process_.options_.timeout, 1e9));  // what a clock can hold
      return Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout);
    }
    /// When to ask options.stop again.
    Clock::time_point next_look() const {
      return process_.options_.stop ? Clock::now() + std::chrono::milliseconds(100) : Clock::time_point::max();
    }
    /// A command that is about to answer may do so, so that nothing is asked twice; one that is not ends here.
    template <class = void>
    void heed_stop() {
      if (!process_.options_.stop || (waiting_.empty() && asked_.empty()) || !process_.options_.stop()) return;
      if (!stop_at_) stop_at_ = Clock::now() + std::chrono::milliseconds(300);
      if (Clock::now() >= *stop_at_)
        throw RunError(message("stopped while the reward process '", process_.command_, "' owed ",
                               asked_.size() + waiting_.size(), " rewards"),
                       {"stopped"});
    }

    template <class = void>
    void ask() {
      while (!waiting_.empty() && static_cast<Index>(asked_.size()) < process_.options_.in_flight) {
        const Index i = waiting_.front();
        waiting_.pop_front();
        const auto u = static_cast<std::size_t>(i);
        const std::uint64_t id = state_.next_id++;
        output_ += io::to_json_line(io::Json{{"id", id},
                                             {"prompt", batch_.prompt[static_cast<std::size_t>(prompt_of_[u])].text},
                                             {"response", batch_.text[u]}});
        output_ += '\n';
        asked_.emplace(id, i);
      }
    }

    template <class = void>
    void take(const std::string& line) {
      const detail::ProcessAnswer answer = detail::parse_answer(line);
      const auto question = asked_.find(answer.id);
      if (question == asked_.end())
        throw RunError(message("reward process: an answer to id ", answer.id, ", which is not open",
                               asked_.empty() ? std::string() : message("; the oldest open one is ", asked_.begin()->first)),
                       {"reward_wrong_id"});
      const Index i = question->second;
      if (std::isnan(answer.reward))
        throw DomainError(message("reward process: NaN for ", place_of(batch_, i)), {"nan_reward"});
      rewards_[i] = answer.reward;
      asked_.erase(question);
    }

    template <class = void>
    void start_again(ChildProcess::Event event, int restarts) {
      const bool silent = event == ChildProcess::Event::timeout;
      if (silent) silence_ += process_.options_.timeout;
      const Index owed = asked_.empty() ? waiting_.front() : asked_.begin()->second;
      if (restarts >= process_.options_.restarts) {
        const std::string words = silent ? state_.child->last_words() : std::string();
        const std::string end = silent ? message("gave no answer for ", detail::in_seconds(process_.options_.timeout), " s",
                                                 words.empty() ? "" : ", last error output: ", words)
                                       : state_.child->post_mortem();
        throw RunError(
            message("reward process '", process_.command_, "' ", end, "; it owed ", asked_.size() + waiting_.size(),
                    " rewards, the first for ", place_of(batch_, owed), " (started ", restarts + 1, " times",
                    silent ? message(", ", detail::in_seconds(silence_),
                                     " s of silence in all); let it flush each answer, or allow more with --reward-timeout")
                           : ")"),
            {silent ? "reward_process_silent" : "reward_process_died"});
      }
      state_.child.reset();
      output_.clear();
      for (auto open = asked_.rbegin(); open != asked_.rend(); ++open) waiting_.push_front(open->second);
      asked_.clear();
    }

    const Process& process_;
    State& state_;
    const RolloutBatch& batch_;
    Array rewards_;
    std::vector<Index> prompt_of_;          // [R]
    std::deque<Index> waiting_;             // responses not asked yet
    std::map<std::uint64_t, Index> asked_;  // id -> response
    std::string output_;                    // not yet written
    double silence_ = 0;                    // seconds waited in vain
    std::optional<Clock::time_point> stop_at_;
  };

  std::string command_;
  ProcessOptions options_;
  std::unique_ptr<State> state_;
};
}  // namespace vbon::reward
