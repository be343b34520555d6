// What `vbon inspect` plans is what `vbon sample` and `vbon align` then hold.
#include <filesystem>
#include <fstream>
#include <random>

#include "cli/support.hpp"
#include "support/skip.hpp"
#include "vbon/model/save.hpp"

namespace vbon::test {
namespace {
/// A random checkpoint that is large beside the program itself: 21 million parameters.
void make_checkpoint(const std::filesystem::path& folder) {
  model::Shape shape;
  shape.vocab = 4096;
  shape.width = 512;
  shape.layers = 6;
  shape.heads = 8;
  shape.kv_heads = 4;
  shape.head_dim = shape.rope.dim = 64;
  shape.inner = 1536;
  shape.context = 256;
  shape.tied = true;
  model::apply_family(model::find_family("llama"), shape);
  model::CausalLm model(shape);
  std::minstd_rand random(1);
  for (float& value : model.parameters().values()) value = (static_cast<float>(random() % 2048) - 1024.0f) * 0x1p-15f;
  model::save_causal_lm(model, folder);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(tiny_model + "/" + file, folder / file);
}
/// "NAME   123 MB (...": 123.
double planned(const std::string& out, const std::string& name) {
  const auto at = out.find("\n" + name);
  REQUIRE(at != std::string::npos);
  return std::stod(out.substr(at + 1 + name.size()));
}
}  // namespace

TEST_CASE("the planned memory of sampling and aligning is within a tenth of the peak", "[cli][memory]") {
  if (sanitized) return skip("memory plan: a sanitizer's own memory is part of the peak");
  const TemporaryFolder folder;
  const std::string model = (folder / "model").string();
  make_checkpoint(model);
  const Arguments sizes = {"--max-new-tokens", "8", "--threads", "1"};
  const auto run = [&](const Arguments& arguments) {
    const auto finished = vbon(arguments + sizes + Arguments{"--quiet"});
    INFO(finished.err);
    REQUIRE(finished.code == 0);
    return finished.peak_megabytes;
  };
  const auto plan_of = [&](const Arguments& more) {
    const auto plan =
        vbon(Arguments{"inspect", model, "--samples", "4", "--prompt-tokens", "4", "--prompt-count", "8", "--step-prompts",
                       "8", "--references", "16", "--micro-batch", "32", "--lora-rank", "8"} +
             sizes + more);
    REQUIRE(plan.code == 0);
    return plan.out;
  };
  const std::string plan = plan_of({});
  INFO(plan);

  const double sampled = run({"sample", "--model", model, "--prompts", tiny_prompts, "--samples", "4"});
  CHECK(planned(plan, "memory to sample") == Approx(sampled).epsilon(0.1));

  const Arguments align = {"align",      "--model",
                           model,        "--reward",
                           "length:5",   "--prompts",
                           tiny_prompts, "--references",
                           "16",         "--evaluation-references",
                           "8",          "--training-prompts",
                           "8",          "--evaluation-count",
                           "4",          "--samples",
                           "4",          "--step-prompts",
                           "8",          "--steps",
                           "2",          "--warm-steps",
                           "0",          "--warmup",
                           "0",          "--micro-batch",
                           "32"};
  const double adapted = run(align + Arguments{"--lora-rank", "8", "--out", (folder / "lora").string()});
  CHECK(planned(plan, "with --lora-rank 8") == Approx(adapted).epsilon(0.1));
  const double aligned = run(align + Arguments{"--out", (folder / "full").string()});
  CHECK(planned(plan, "memory to align") == Approx(aligned).epsilon(0.1));

  const auto less = plan_of({"--recompute"});
  const double recomputed = run(align + Arguments{"--recompute", "--out", (folder / "recompute").string()});
  CHECK(planned(less, "memory to align") < planned(plan, "memory to align"));
  CHECK(planned(less, "memory to align") == Approx(recomputed).epsilon(0.1));
}

TEST_CASE("the planned memory of many short responses is within a tenth of what they add to the peak", "[cli][memory]") {
  if (sanitized) return skip("memory plan: a sanitizer's own memory is part of the peak");
  for (const char* tokens : {"8", "32"}) {
    const auto held = [&](const std::string& samples) {
      const auto finished = vbon({"sample", "--model", tiny_model, "--prompt", "a film", "--samples", samples,
                                  "--max-new-tokens", tokens, "--min-new-tokens", tokens, "--threads", "1", "--quiet"});
      INFO(finished.err);
      REQUIRE(finished.code == 0);
      const auto plan = vbon({"inspect", tiny_model, "--samples", samples, "--prompt-tokens", "3", "--max-new-tokens",
                              tokens, "--threads", "1"});
      INFO(plan.err);
      REQUIRE(plan.code == 0);
      return std::pair{planned(plan.out, "memory to sample"), finished.peak_megabytes};
    };
    const auto [few_planned, few] = held("1000");
    const auto [many_planned, many] = held("60000");
    CAPTURE(tokens, few_planned, many_planned);
    CHECK(many_planned - few_planned == Approx(many - few).epsilon(0.1));
  }
}
}  // namespace vbon::test
