#include <signal.h>

#include <chrono>
#include <thread>

#include "cli/support.hpp"

namespace vbon::test {
namespace {
using Seconds = std::chrono::duration<double>;

/// True while the process lives; a dead one that nobody waited for counts as gone.
bool runs(const std::string& id) {
  const std::string status = text_of("/proc/" + id + "/stat");
  return !status.empty() && status.substr(status.rfind(')') + 2, 1) != "Z";
}
bool ends(const std::string& id) {
  for (int i = 0; i < 200 && runs(id); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !runs(id);
}
/// A command that notes who it is and then stays silent, even when asked to end.
struct Silent {
  TemporaryFolder folder;
  std::string command = "process:trap '' TERM INT; echo $$ > " + (folder / "id.tmp").string() + "; mv " +
                        (folder / "id.tmp").string() + " " + (folder / "id").string() + "; while :; do sleep 100; done";
  std::string id() const {
    while (!std::filesystem::exists(folder / "id")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::string text = text_of(folder / "id");
    return text.substr(0, text.find('\n'));
  }
};
}  // namespace

TEST_CASE("the timeout of a reward process is a flag, and the error tells the whole wait", "[cli][process][error]") {
  const auto run = vbon({"score", "--reward", "process:sleep 100", "--reward-timeout", "0.3", "--text", "a"});
  check_refused(run, "vbon score", {"no answer for 0.3 s", "started 3 times, 0.9 s of silence in all", "--reward-timeout"});
  for (const std::string value : {"0", "-1", "inf", "nan"})
    check_refused(vbon({"score", "--reward", "length", "--text", "a", "--reward-timeout", value}), "vbon score",
                  {"--reward-timeout in (0, 1000000]", value});
  for (const std::string command : {"align", "sample", "score", "evaluate"})
    CHECK(has(vbon({command, "--help"}).out, "--reward-timeout"));
}

TEST_CASE("a signal ends the wait for a silent reward process, and the process", "[cli][process]") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Silent silent;
    Process program(VBON_PROGRAM, {"score", "--reward", silent.command, "--text", "a"});
    const std::string id = silent.id();
    const auto start = std::chrono::steady_clock::now();
    program.kill(signal);
    const auto run = program.wait();
    CHECK(Seconds(std::chrono::steady_clock::now() - start).count() < 5);  // near 1 on a machine that does nothing else
    CHECK(run.code == 130);
    CHECK(has(run.err, "stopped while the reward process"));
    CHECK(ends(id));
  }
}

TEST_CASE("a second signal ends the program at once and leaves no reward process", "[cli][process]") {
  const Silent silent;
  Process program(VBON_PROGRAM, {"score", "--reward", silent.command, "--text", "a"});
  const std::string id = silent.id();
  program.kill(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  program.kill(SIGINT);
  CHECK(program.wait().code == 130);
  CHECK(ends(id));
}

TEST_CASE("an alignment that is stopped in its reward goes on afterwards", "[cli][process][resume]") {
  TemporaryFolder folder;
  const std::string slow =
      "process:n=0; while read -r l; do id=${l#*:}; id=${id%%,*}; echo \"{\\\"id\\\":$id,\\\"reward\\\":"
      "$((id%5))}\"; n=$((n+1)); if [ $n -gt 200 ] && [ ! -e " +
      (folder / "go").string() + " ]; then touch " + (folder / "silent").string() + "; sleep 100; fi; done";
  auto arguments = tiny_align(folder / "run");
  *(std::find(arguments.begin(), arguments.end(), "--reward") + 1) = slow;
  Process program(VBON_PROGRAM, arguments);
  while (!std::filesystem::exists(folder / "silent")) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  program.kill(SIGTERM);
  const auto stopped = program.wait();
  INFO(stopped.err);
  CHECK(stopped.code == 130);
  CHECK(has(stopped.err, "the same command goes on from here"));
  std::ofstream(folder / "go") << "x";
  const auto again = vbon(arguments);
  INFO(again.err);
  CHECK(again.code == 0);
}
}  // namespace vbon::test
