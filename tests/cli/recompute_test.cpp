// --recompute and --keep-sampled trade memory for time and change no bit.
#include <filesystem>

#include "cli/support.hpp"
#include "support/film_data.hpp"
#include "support/tiny_encoder.hpp"

namespace vbon::test {
TEST_CASE("a model is the same to the bit whatever activations are kept, in full and as an adapter", "[cli][recompute]") {
  const TemporaryFolder folder;
  const Arguments more = GENERATE(Arguments{}, Arguments{"--lora-rank", "2"});
  for (const auto& [name, flag] : {std::pair<const char*, Arguments>{"kept", {}},
                                   {"recomputed", {"--recompute"}},
                                   {"not_from_sampling", {"--keep-sampled", "0"}}}) {
    const auto run = vbon(tiny_align(folder / name, more + flag));
    INFO(run.err);
    REQUIRE(run.code == 0);
  }
  check_equal_runs(folder / "kept", folder / "recomputed");
  check_equal_runs(folder / "kept", folder / "not_from_sampling");
}

TEST_CASE("a run that was stopped goes on with other activations kept, and ends with the same bits", "[cli][recompute]") {
  const TemporaryFolder folder;
  const KillTimes time(tiny_align(folder / "whole"));
  std::uint64_t starts = 0;
  KillTimes kills = time;
  const Arguments kept[] = {{"--recompute"}, {}, {"--keep-sampled", "0"}};
  while (!ends_before_kill(tiny_align(folder / "killed", kept[starts++ % 3]), kills.next())) REQUIRE(starts < 100);
  check_equal_runs(folder / "whole", folder / "killed");
}

TEST_CASE("compare takes --recompute", "[cli][recompute]") {
  const TemporaryFolder folder;
  const auto compare = [&](const char* name, const Arguments& more) {
    const auto run = vbon(Arguments{"compare",
                                    "--methods",
                                    "vbon",
                                    "--model",
                                    tiny_model,
                                    "--reward",
                                    tiny_reward,
                                    "--prompts",
                                    tiny_prompts,
                                    "--steps",
                                    "3",
                                    "--references",
                                    "8",
                                    "--max-new-tokens",
                                    "8",
                                    "--threads",
                                    "1",
                                    "--save-models",
                                    "--quiet",
                                    "--out",
                                    (folder / name).string()} +
                          more);
    INFO(run.err);
    REQUIRE(run.code == 0);
    return text_of(folder / name / "methods/vbon/model/model.safetensors");
  };
  CHECK(compare("kept", {}) == compare("recomputed", {"--recompute"}));
}

TEST_CASE("a causal reward model trains with --recompute to the same bits; who has no use for it is told",
          "[cli][recompute]") {
  const TemporaryFolder folder;
  const std::string pairs = (folder / "pairs.jsonl").string(), encoder = (folder / "encoder").string();
  write_film_pairs(pairs);
  save_tiny_encoder(encoder, "bert");
  const auto train = [&](const std::string& model, const char* name, const Arguments& more) {
    return vbon(Arguments{"train-reward", "--model", model, "--pairs", pairs, "--steps", "4", "--batch", "4", "--threads",
                          "1", "--quiet", "--out", (folder / name).string()} +
                more);
  };
  REQUIRE(train(tiny_model, "kept", {}).code == 0);
  REQUIRE(train(tiny_model, "recomputed", {"--recompute"}).code == 0);
  for (const char* file : {"model/model.safetensors", "metrics.jsonl", "run.json"})
    CHECK(text_of(folder / "kept" / file) == text_of(folder / "recomputed" / file));
  check_refused(train(encoder, "e", {"--recompute"}), "vbon train-reward", {"--recompute", encoder, "--micro-batch"});
  check_refused(train(tiny_model, "h", {"--recompute", "--head-only"}), "vbon train-reward", {"--recompute", "--head-only"});
}
}  // namespace vbon::test
