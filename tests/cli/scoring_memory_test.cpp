// What `vbon inspect` plans of a reward is what `vbon score` then holds. A file of its own: the peak of a child begins with
// what this process holds when it starts it, and here that is much.
#include "cli/memory_support.hpp"
#include "support/skip.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/model/load.hpp"

namespace vbon::test {
TEST_CASE("the planned memory of scoring is within a tenth of the peak", "[cli][memory]") {
  if (sanitized) return skip("memory plan: a sanitizer's own memory is part of the peak");
  const TemporaryFolder folder;
  const std::string encoder = (folder / "encoder").string(), causal = (folder / "causal").string();
  auto config = tiny_encoder_config("bert", 2);
  config.update({{"hidden_size", 512},
                 {"num_hidden_layers", 6},
                 {"num_attention_heads", 8},
                 {"intermediate_size", 2048},
                 {"max_position_embeddings", 256}});
  tiny_encoder(config).save(encoder);
  save_tiny_tokenizer(encoder);
  make_checkpoint(folder / "policy");
  model::save_causal_lm(model::load_scorer(folder / "policy", {.labels = 1}, 0), causal);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(tiny_model + "/" + file, folder / "causal" / file);
  std::string texts;
  for (int i = 0; i < 100; ++i) {
    std::string text;
    for (int word = 0; word < 250; ++word) text += word % 2 == 0 ? "good " : "film ";
    texts += io::Json{{"prompt", ""}, {"response", text}}.dump() + "\n";
  }
  std::ofstream(folder / "texts.jsonl") << texts;
  for (const std::string& place : {encoder, causal}) {
    CAPTURE(place);
    for (const Arguments& low : {Arguments{}, Arguments{"bf16"}}) {
      const auto plan = vbon(Arguments{"inspect", place, "--threads", "1"} + (low.empty() ? low : Arguments{"--bf16"}));
      INFO(plan.err << plan.out);
      REQUIRE(plan.code == 0);
      const auto scored = vbon(Arguments{"score", "--reward", "classifier:" + place, "--input",
                                         (folder / "texts.jsonl").string(), "--threads", "1", "--quiet"} +
                               (low.empty() ? low : Arguments{"--reward-bf16"}));
      INFO(scored.err);
      REQUIRE(scored.code == 0);
      CHECK(planned(plan.out, "memory to score") == Approx(scored.peak_megabytes).epsilon(0.1));
    }
  }
}
}  // namespace vbon::test
