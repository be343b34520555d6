#include "vbon/reward/process.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "support/catch.hpp"
#include "support/rollout.hpp"
#include "support/temporary_folder.hpp"

using vbon::reward::Process;
using vbon::test::text_batch;
using vbon::test::values_of;

namespace {
/// Answers each request with the length of the response's text, by sed and awk alone.
const std::string length_of_response =
    R"sh(sed -u 's/^{"id":\([0-9]*\),.*"response":"\(.*\)"}$/\1 \2/' | while read -r id text; do echo "{\"id\": $id, \"reward\": ${#text}}"; done)sh";

const auto four_responses = text_batch({{"p", {"a", "bb", "ccc"}}, {"q", {"dddd"}}});

template <class Kind>
std::string process_failure(const Process& process, std::string_view code,
                            const vbon::RolloutBatch& asked = four_responses) {
  try {
    process(asked);
  } catch (const Kind& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("an error was expected");
  return {};
}

bool has_child() { return ::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD; }
}  // namespace

TEST_CASE("an external command rewards every response, four_responses after four_responses in one process",
          "[reward][process]") {
  const Process process(length_of_response);
  CHECK(process.child() == -1);
  CHECK(values_of(process(four_responses)) == std::vector<double>{1, 2, 3, 4});
  const auto first = process.child();
  CHECK(values_of(process(text_batch({{"x", {"eeeee", "ff"}}}))) == std::vector<double>{5, 2});
  CHECK(process.child() == first);
}

TEST_CASE("answers may come in any order and with white space, blank lines and more keys", "[reward][process]") {
  const Process process(
      R"sh(read -r a; read -r b; echo; echo ' {"reward": -2.5e1, "id": 1, "note": "x"} '; echo '{"id": 0, "reward": 7}')sh");
  CHECK(values_of(process(text_batch({{"p", {"a", "b"}}}))) == std::vector<double>{7, -25});
}

TEST_CASE("infinite rewards are legal, as Python writes them too", "[reward][process]") {
  const Process process(R"sh(echo '{"id": 0, "reward": Infinity}'; echo '{"id": 1, "reward": "-inf"}'; cat > /dev/null)sh");
  CHECK(values_of(process(text_batch({{"p", {"a", "b"}}}))) == std::vector<double>{INFINITY, -INFINITY});
}

TEST_CASE("texts of any kind reach the command as one line of JSON", "[reward][process]") {
  const vbon::test::TemporaryFolder folder;
  const std::string seen_file = (folder / "seen").string();
  // Written before the answer, so that it is there when the reward is.
  const Process process("read -r line; printf '%s\\n' \"$line\" > " + seen_file +
                        R"sh(; echo '{"id": 0, "reward": 1}'; cat >> )sh" + seen_file);
  process(text_batch({{"tab\t\"quote\"", {"line\nbreak \xC3\xA9 \xFF"}}}));
  std::ifstream seen(seen_file);
  std::string line, more;
  std::getline(seen, line);
  CHECK(line == "{\"id\":0,\"prompt\":\"tab\\t\\\"quote\\\"\",\"response\":\"line\\nbreak \xC3\xA9 \xEF\xBF\xBD\"}");
  CHECK_FALSE(std::getline(seen, more));
}

TEST_CASE("more requests than a pipe holds do not block a command that answers late", "[reward][process]") {
  std::vector<std::string> texts(300, std::string(4000, 'x'));
  const Process process(R"sh(sed -u 's/^{"id":\([0-9]*\),.*/{"id":\1,"reward":\1}/')sh", {.timeout = 20, .in_flight = 1000});
  const auto rewards = values_of(process(text_batch({{"p", texts}})));
  REQUIRE(rewards.size() == 300);
  for (std::size_t i = 0; i < rewards.size(); ++i) CHECK(rewards[i] == static_cast<double>(i));
}

TEST_CASE("a command that dies is started again and asked for what it owes", "[reward][process]") {
  const vbon::test::TemporaryFolder folder;
  // Answers two requests, then dies, and so on: three lives answer six requests.
  const std::string lives = "echo x >> " + (folder / "lives").string() + "; ";
  const std::string two =
      R"sh(for i in 1 2; do read -r line || exit 0; id=${line#*:}; id=${id%%,*}; echo "{\"id\":$id,\"reward\":$id}"; done)sh";
  const Process process(lives + two, {.timeout = 20, .restarts = 2, .in_flight = 2});
  const auto rewards = process(text_batch({{"p", {"a", "b", "c", "d", "e", "f"}}}));
  CHECK(rewards.isFinite().all());
  std::ifstream seen(folder / "lives");
  CHECK(std::count(std::istreambuf_iterator<char>(seen), {}, 'x') == 3);
}

TEST_CASE("a command that keeps dying is named with its last words", "[reward][process][error]") {
  const Process process("read -r line; echo 'no model here' >&2; exit 3", {.timeout = 20, .restarts = 1});
  const auto what = process_failure<vbon::RunError>(process, "reward_process_died");
  CHECK_THAT(what, Catch::Contains("exited with code 3") && Catch::Contains("no model here") &&
                       Catch::Contains("prompt 0 (id 100), sample 0") && Catch::Contains("started 2 times") &&
                       Catch::Contains("owed 4"));
  CHECK_FALSE(has_child());
}

TEST_CASE("a command that was killed or is not there says so", "[reward][process][error]") {
  CHECK_THAT(process_failure<vbon::RunError>(Process("kill -9 $$", {.restarts = 0}), "reward_process_died"),
             Catch::Contains("killed by signal 9"));
  CHECK_THAT(process_failure<vbon::RunError>(Process("/nowhere/scorer", {.restarts = 0}), "reward_process_died"),
             Catch::Contains("exited with code 127"));
  CHECK_THROWS_AS(Process()(four_responses), vbon::ConfigError);
  CHECK_THROWS_AS(Process("cat", {.timeout = 0}), vbon::ConfigError);
}

TEST_CASE("a silent command times out, and leaves no process behind", "[reward][process][error]") {
  const auto start = std::chrono::steady_clock::now();
  const Process process("sleep 100 & sleep 100", {.timeout = 0.3, .restarts = 1});
  CHECK_THAT(process_failure<vbon::RunError>(process, "reward_process_silent"),
             Catch::Contains("no answer for 0.3 s") && Catch::Contains("started 2 times, 0.6 s of silence in all"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK(process.child() == -1);
  CHECK_FALSE(has_child());
}

TEST_CASE("a slow command that answers within the timeout each time is waited for", "[reward][process]") {
  const Process process(
      R"sh(while read -r line; do id=${line#*:}; id=${id%%,*}; sleep 0.2; echo "{\"id\":$id,\"reward\":0}"; done)sh",
      {.timeout = 2.0});
  CHECK(process(text_batch({{"p", {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}}})).size() == 12);
}

TEST_CASE("nonsense is an error at once, with the line it was", "[reward][process][error]") {
  const auto malformed = [](const std::string& line) {
    return process_failure<vbon::RunError>(Process("echo '" + line + "'; cat > /dev/null"), "reward_malformed");
  };
  CHECK_THAT(malformed("hello"), Catch::Contains("no JSON") && Catch::Contains("hello"));
  CHECK_THAT(malformed("[1]"), Catch::Contains("no object"));
  CHECK_THAT(malformed(R"sh({"reward": 1})sh"), Catch::Contains("no id"));
  CHECK_THAT(malformed(R"sh({"id": "0", "reward": 1})sh"), Catch::Contains("no id"));
  CHECK_THAT(malformed(R"sh({"id": 0})sh"), Catch::Contains("no reward"));
  CHECK_THAT(malformed(R"sh({"id": 0, "reward": "good"})sh"), Catch::Contains("no number"));
  CHECK_THAT(malformed(R"sh({"id": 0, "error": "out of memory"})sh"), Catch::Contains("out of memory"));
}

TEST_CASE("an answer to a question that is not open is an error", "[reward][process][error]") {
  const auto wrong = [](const std::string& lines) {
    return process_failure<vbon::RunError>(Process(lines + "; cat > /dev/null"), "reward_wrong_id");
  };
  CHECK_THAT(wrong(R"sh(echo '{"id": 99, "reward": 1}')sh"),
             Catch::Contains("id 99") && Catch::Contains("the oldest open one is 0"));
  CHECK_THAT(wrong(R"sh(echo '{"id": 0, "reward": 1}'; echo '{"id": 0, "reward": 1}')sh"), Catch::Contains("id 0"));
}

TEST_CASE("a NaN reward names prompt and sample", "[reward][process][error]") {
  for (const std::string nan : {"NaN", "null"}) {
    const std::string answers =
        R"sh(echo '{"id": 2, "reward": 1}'; echo '{"id": 3, "reward": )sh" + nan + "}'; cat > /dev/null";
    CHECK_THAT(process_failure<vbon::DomainError>(Process(answers), "nan_reward"),
               Catch::Contains("prompt 1 (id 101), sample 0"));
  }
}

TEST_CASE("after an error the next four_responses starts afresh", "[reward][process]") {
  const vbon::test::TemporaryFolder folder;
  const std::string flag = (folder / "flag").string();
  const Process process("if [ -e " + flag + " ]; then " + length_of_response + "; else touch " + flag +
                        "; echo nonsense; cat > /dev/null; fi");
  CHECK_THROWS_AS(process(four_responses), vbon::RunError);
  CHECK(values_of(process(four_responses)) == std::vector<double>{1, 2, 3, 4});
}

TEST_CASE("a host that watches SIGPIPE never sees one", "[reward][process]") {
  static volatile sig_atomic_t seen = 0;
  struct sigaction watch {
  }, before{};
  watch.sa_handler = [](int) { seen = 1; };
  ::sigaction(SIGPIPE, &watch, &before);
  const std::vector<std::string> texts(200, std::string(4000, 'x'));
  CHECK_THROWS_AS(Process("exec 0<&-; sleep 0.2; exit 1", {.restarts = 1})(text_batch({{"p", texts}})), vbon::RunError);
  CHECK(seen == 0);
  ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_CASE("the end of the reward ends the command, even one that ignores the end of its input", "[reward][process]") {
  pid_t child = -1;
  {
    const Process process(R"sh(trap '' TERM; read -r line; echo '{"id":0,"reward":1}'; while :; do sleep 1; done)sh");
    process(text_batch({{"p", {"a"}}}));
    child = process.child();
    REQUIRE(child > 0);
  }
  CHECK(::kill(child, 0) == -1);
  CHECK_FALSE(has_child());
}

TEST_CASE("a host that wants to stop need not wait for the timeout", "[reward][process]") {
  bool stop = false;
  const Process process("trap '' TERM; while :; do sleep 100; done", {.timeout = 100, .stop = [&] { return stop; }});
  const auto start = std::chrono::steady_clock::now();
  stop = true;
  CHECK_THAT(process_failure<vbon::RunError>(process, "stopped"), Catch::Contains("owed 4 rewards"));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK_FALSE(has_child());
}

TEST_CASE("a four_responses whose answers are on their way is finished before a stop", "[reward][process]") {
  const Process process(length_of_response, {.stop = [] { return true; }});
  CHECK(values_of(process(text_batch({{"p", {"a"}}}))) == std::vector<double>{1});
}

TEST_CASE("all commands can be ended from a signal handler", "[reward][process]") {
  const Process process(length_of_response);
  process(four_responses);
  const auto child = process.child();
  vbon::reward::RunningGroups::kill_all();
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  CHECK(info.si_status == SIGKILL);
}
