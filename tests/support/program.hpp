// Runs the vbon program as a user would: arguments in, exit code and both outputs back, killed on demand.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/temporary_folder.hpp"

namespace vbon::test {
struct Finished {
  int code = 0;  // exit code; 128 + signal when killed
  std::string out, err;
  double peak_megabytes = 0;  // largest resident set
};
struct RunOptions {
  std::vector<std::pair<std::string, std::string>> environment = {};
  int signal = 0;  // sent after `after` microseconds
  long after = 0;
  long file_size_limit = 0;  // bytes a file may grow to; 0: no limit
  std::string folder = {};   // where it runs; empty: here
};

class Process {
 public:
  Process(const std::string& program, std::vector<std::string> arguments, const RunOptions& options = {}) {
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ > 0) return;
    const auto redirect = [](const std::filesystem::path& path, int descriptor) {
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(fd, descriptor);
    };
    redirect(folder_ / "out", 1);
    redirect(folder_ / "err", 2);
    for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
    if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) ::_exit(126);
    if (options.file_size_limit > 0) {
      const rlimit limit{static_cast<rlim_t>(options.file_size_limit), static_cast<rlim_t>(options.file_size_limit)};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    arguments.insert(arguments.begin(), program);
    std::vector<char*> raw;
    for (auto& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    ::execv(program.c_str(), raw.data());
    ::_exit(127);
  }
  void kill(int signal) const { ::kill(pid_, signal); }
  Finished wait() {
    int status = 0;
    rusage usage{};
    ::wait4(pid_, &status, 0, &usage);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(folder_ / "out"),
            text_of(folder_ / "err"), static_cast<double>(usage.ru_maxrss) * 1024 / 1e6};
  }

 private:
  TemporaryFolder folder_;
  pid_t pid_ = 0;
};

inline Finished run_program(const std::string& program, std::vector<std::string> arguments, const RunOptions& options = {}) {
  Process process(program, std::move(arguments), options);
  if (options.signal != 0) {
    ::usleep(static_cast<useconds_t>(options.after));
    process.kill(options.signal);
  }
  return process.wait();
}
}  // namespace vbon::test
