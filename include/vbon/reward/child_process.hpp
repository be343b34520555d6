// vbon/reward/child_process.hpp
//
// A command that runs beside us and speaks in lines: what goes in, what comes out, and how it ended. It is
// started in a process group of its own and never outlives this object, neither running nor as a zombie. A
// broken pipe is reported, never a signal to the host program.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/mapped_file.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): unistd.h declares it for GNU only

namespace vbon::reward {
using Clock = std::chrono::steady_clock;

namespace detail {
/// While it lives, this thread gets EPIPE from a write to a dead pipe and no signal.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;
  ~SigpipeBlock() {
    const timespec now{};
    if (!was_pending_)
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

/// A pipe whose ends close with their owners and with exec.
inline std::pair<io::FileHandle, io::FileHandle> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw RunError(message("cannot make a pipe: ", std::strerror(errno)));
  return {io::FileHandle(ends[0]), io::FileHandle(ends[1])};
}
}  // namespace detail

/// The process groups that run now, for a signal handler of the host that ends the program without a destructor.
class RunningGroups {
 public:
  /// Safe inside a signal handler: neither allocates nor waits.
  static void kill_all() {
    for (auto& group : groups_)
      if (const pid_t id = group.load(); id > 0) ::kill(-id, SIGKILL);
  }

 private:
  friend class ChildProcess;
  static void add(pid_t id) {
    for (auto& group : groups_)
      if (pid_t none = 0; group.compare_exchange_strong(none, id)) return;
  }
  static void remove(pid_t id) {
    for (auto& group : groups_)
      if (pid_t found = id; group.compare_exchange_strong(found, 0)) return;
  }
  static_assert(std::atomic<pid_t>::is_always_lock_free);
  static inline std::array<std::atomic<pid_t>, 256> groups_{};  // more than that at once are not listed
};

class ChildProcess {
 public:
  enum class Event { progress, timeout, closed };

  /// Starts `/bin/sh -c command`.
  /// @throws RunError when the system cannot
  template <class = void>
  explicit ChildProcess(const std::string& command) {
    auto [child_in, in] = detail::make_pipe();
    auto [out, child_out] = detail::make_pipe();
    auto [err, child_err] = detail::make_pipe();
    for (const io::FileHandle* ours : {&in, &out, &err}) ::fcntl(ours->get(), F_SETFL, O_NONBLOCK);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, child_in.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, child_out.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, child_err.get(), STDERR_FILENO);
    posix_spawnattr_t settings;
    posix_spawnattr_init(&settings);
    sigset_t none, pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&settings, &none);
    posix_spawnattr_setsigdefault(&settings, &pipe);
    posix_spawnattr_setpgroup(&settings, 0);
    posix_spawnattr_setflags(&settings, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::string shell = "sh", option = "-c", text = command;
    char* arguments[] = {shell.data(), option.data(), text.data(), nullptr};
    const int failure = ::posix_spawn(&id_, "/bin/sh", &files, &settings, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&settings);
    require<RunError>(failure == 0, "cannot start /bin/sh: ", std::strerror(failure));
    RunningGroups::add(id_);
    in_ = std::move(in);
    out_ = std::move(out);
    err_ = std::move(err);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    in_ = io::FileHandle();  // a well-behaved command ends at the end of its input
    if (!ended_within(std::chrono::milliseconds(500))) ::kill(-id_, SIGTERM);
    if (!ended_within(std::chrono::milliseconds(200))) ::kill(-id_, SIGKILL);
    reap();
  }

  pid_t id() const { return id_; }

  /// Writes from the front of `input`, appends what came to `lines`, and returns at the first of: something
  /// moved, the command closed its output or died, `until` has come.
  template <class = void>
  Event exchange(std::string& input, std::vector<std::string>& lines, Clock::time_point until) {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      pollfd watched[3] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}, {input.empty() ? -1 : in_.get(), POLLOUT, 0}};
      const int ready = ::poll(watched, 3, static_cast<int>(std::clamp<long long>(left, 0, 3'600'000)));
      if (ready < 0 && errno == EINTR) continue;
      require<RunError>(ready >= 0, "poll: ", std::strerror(errno));
      if (ready == 0) {
        if (Clock::now() >= until) return Event::timeout;
        continue;
      }
      if (watched[1].revents != 0) listen();
      const bool wrote = watched[2].revents != 0 && write_some(input);
      if (watched[0].revents != 0) {
        const std::size_t before = lines.size();
        if (!read_lines(lines) && lines.size() == before) return Event::closed;
        if (lines.size() > before) return Event::progress;
      }
      if (wrote) return Event::progress;
      if (in_broken_ && watched[0].revents == 0) input.clear();  // wait for the end of its output
      if (Clock::now() >= until) return Event::timeout;
    }
  }

  /// Kills the command and tells how it had ended, if it had: "exited with code 3", "was killed by signal 9";
  /// and its last line of error output.
  template <class = void>
  std::string post_mortem() {
    const bool ended = ended_within(std::chrono::milliseconds(200));
    listen();
    if (!ended) ::kill(-id_, SIGKILL);
    reap();
    std::string text = !ended                 ? "closed its output"
                       : WIFSIGNALED(status_) ? message("was killed by signal ", WTERMSIG(status_))
                                              : message("exited with code ", WEXITSTATUS(status_));
    const std::string words = last_words();
    return words.empty() ? text : text + ", last error output: " + words;
  }

  /// The last line that is not empty of its error output.
  template <class = void>
  std::string last_words() {
    listen();
    std::string_view text = heard_;
    text = text.substr(0, text.find_last_not_of("\r\n\t ") + 1);
    return std::string(text.substr(text.find_last_of('\n') + 1));
  }

 private:
  bool ended_within(std::chrono::milliseconds limit) {
    const auto until = Clock::now() + limit;
    for (long wait = 200'000;; wait = std::min(2 * wait, 10'000'000L)) {
      siginfo_t info{};
      // Looking without reaping keeps the group's number ours until it has been swept.
      if (reaped_ || ::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0)
        return true;
      if (Clock::now() >= until) return false;
      const timespec pause{0, wait};
      ::nanosleep(&pause, nullptr);
    }
  }
  void reap() {
    if (std::exchange(reaped_, true)) return;
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    ::kill(-id_, SIGKILL);       // whatever the shell left behind in its group
    RunningGroups::remove(id_);  // before its number may become another's
    while (::waitpid(id_, &status_, 0) < 0 && errno == EINTR) {
    }
  }

  bool write_some(std::string& input) {
    const detail::SigpipeBlock block;
    const ssize_t written = ::write(in_.get(), input.data(), input.size());
    if (written < 0) {
      in_broken_ = errno != EAGAIN && errno != EINTR;
      return false;
    }
    input.erase(0, static_cast<std::size_t>(written));
    return written > 0;
  }
  /// False at the end of the output.
  template <class = void>
  bool read_lines(std::vector<std::string>& lines) {
    char block[1 << 16];
    const ssize_t got = ::read(out_.get(), block, sizeof block);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    part_.append(block, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end = part_.find('\n'); end != part_.npos; end = part_.find('\n', begin)) {
      lines.push_back(part_.substr(begin, end - begin));
      begin = end + 1;
    }
    part_.erase(0, begin);
    require<RunError>(part_.size() <= longest_line, "a line longer than ", longest_line, " bytes came");
    return true;
  }
  template <class = void>
  void listen() {
    char block[4096];
    for (int turn = 0; err_.is_open() && turn < 64; ++turn) {
      const ssize_t got = ::read(err_.get(), block, sizeof block);
      if (got == 0) err_ = io::FileHandle();
      if (got <= 0) return;
      heard_.append(block, static_cast<std::size_t>(got));
      if (heard_.size() > 4096) heard_.erase(0, heard_.size() - 4096);
    }
  }

  static constexpr std::size_t longest_line = 1 << 24;

  pid_t id_ = -1;
  io::FileHandle in_, out_, err_;
  std::string part_;   // an output line that has no end yet
  std::string heard_;  // the end of the error output
  bool in_broken_ = false;
  bool reaped_ = false;
  int status_ = 0;
};
}  // namespace vbon::reward
