#include "cli/support.hpp"

namespace vbon::test {
TEST_CASE("every command explains itself", "[cli]") {
  const auto general = vbon({"--help"});
  CHECK(general.code == 0);
  for (const std::string command : {"align", "sample", "decode", "score", "evaluate", "train-reward", "evaluate-reward",
                                    "calibrate", "compare", "export", "inspect"}) {
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
  check_refused(vbon({"align", "--warm-steps", "0", "--warm-objective", "quantile"}), "vbon align",
                {"unknown objective 'quantile'", "quantile_regression"});
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

TEST_CASE("values that cannot be are refused by flag, with the range, before a run is begun", "[cli][error]") {
  const TemporaryFolder folder;
  const std::vector<Arguments> wrong = {{"--n", "0.5", "[1, 2^53]"},
                                        {"--references", "1000000000000", "[2, 1000000]"},
                                        {"--warm-draw", "inner", "outer"},
                                        {"--n", "nan", "[1, 2^53]"},
                                        {"--n", "1e+20", "[1, 2^53]"},
                                        {"--samples", "0", "[1, "},
                                        {"--temperature", "0", "[0.001, 1000]"},
                                        {"--temperature", "-1", "[0.001, 1000]"},
                                        {"--references", "1", "[2, "},
                                        {"--evaluation-references", "0", "[2, "},
                                        {"--steps", "-1", "[0, "},
                                        {"--warmup", "11", "<= --steps"},
                                        {"--warmup", "5", "<= --warm-steps"},
                                        {"--learning-rate", "inf", "finite"},
                                        {"--warm-learning-rate", "nan", "finite"},
                                        {"--weight-decay", "-0.5", ">= 0"},
                                        {"--clip", "0", "> 0"},
                                        {"--threads", "-1", "[0, 1024]"},
                                        {"--threads", "1000000000", "[0, 1024]"}};
  for (const auto& one : wrong) {
    INFO(one[0] << " " << one[1]);
    const Arguments no_warm_start = one[0].starts_with("--warm-") ? Arguments{"--warm-steps", "0"} : Arguments{};
    check_refused(vbon(tiny_align(folder / "run", no_warm_start + Arguments{one[0], one[1]})), "vbon align",
                  {one[0], one[1], one[2]});
    CHECK_FALSE(std::filesystem::exists(folder / "run"));
  }
  check_refused(vbon({"sample", "--model", tiny_model, "--prompt", "the film", "--threads", "-1"}), "vbon sample",
                {"--threads in [0, 1024]", "-1"});
}
}  // namespace vbon::test
