#include "cli/support.hpp"

namespace vbon::test {
TEST_CASE("every command explains itself", "[cli]") {
  const auto general = vbon({"--help"});
  CHECK(general.code == 0);
  for (const std::string command : {"align", "sample", "score", "evaluate", "inspect"}) {
    CAPTURE(command);
    CHECK(has(general.out, command));
    const auto help = vbon({command, "--help"});
    CHECK(help.code == 0);
    CHECK(has(help.out, "--seed"));
    CHECK(has(help.out, "--threads"));
  }
  CHECK(vbon({"--version"}).code == 0);
  CHECK(vbon({}).code != 0);
}

TEST_CASE("a name that does not exist is answered with those that do", "[cli][error]") {
  check_refused(vbon({"algin"}), "vbon", {"unknown command 'algin'", "did you mean align?", "evaluate"});
  check_refused(vbon({"align", "--refernces", "4"}), "vbon align",
                {"unknown flag '--refernces'", "did you mean --references?"});
  check_refused(vbon({"align", "--objective", "vbom"}), "vbon align", {"unknown objective 'vbom'", "vbon_bound", "bon_sft"});
  check_refused(vbon({"align", "--objective", "vbon-bound:sid=mid"}), "vbon align", {"unknown option 'sid'", "side"});
  check_refused(vbon({"align", "--objective", "vbon-bound:side=middle"}), "vbon align",
                {"side", "strict, mid, weak", "'middle'"});
  check_refused(vbon({"align", "--estimator", "harmonious"}), "vbon align", {"unknown estimator 'harmonious'", "add_one"});
  check_refused(vbon({"align", "--decay", "steep"}), "vbon align", {"'steep'", "cosine"});
  check_refused(vbon({"score", "--reward", "kindness", "--text", "x"}), "vbon score",
                {"unknown reward 'kindness'", "lexicon", "process"});
  check_refused(vbon({"align", "--n", "four"}), "vbon align", {"four", "--help"});
  check_refused(vbon({"align", "stray"}), "vbon align", {"unexpected argument 'stray'"});
}

TEST_CASE("truncated sampling is refused in training, with the reason", "[cli][error]") {
  for (const Arguments& flag : {Arguments{"--top-k", "50"}, Arguments{"--top_p", "0.9"}, Arguments{"--min-p", "0.1"}})
    check_refused(vbon(Arguments{"align"} + flag), "vbon align", {"log pi_ref = -inf", "vbon sample"});
}

TEST_CASE("values that cannot be are refused by flag", "[cli][error]") {
  check_refused(vbon({"align", "--n", "0.5"}), "vbon align", {"--n >= 1", "0.5"});
  check_refused(vbon({"align", "--samples", "0"}), "vbon align", {"--samples >= 1"});
  check_refused(vbon({"align", "--temperature", "0"}), "vbon align", {"--temperature > 0"});
  check_refused(vbon({"sample", "--model", tiny_model, "--prompt", "the film", "--threads", "-1"}), "vbon sample",
                {"--threads >= 0", "-1"});
}
}  // namespace vbon::test
