// What `vbon inspect` plans is what `vbon sample` and `vbon align` then hold.
#include "cli/memory_support.hpp"
#include "support/skip.hpp"

namespace vbon::test {
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
        vbon(planned_align(model) + Arguments{"--warm-steps"} + (more.empty() ? Arguments{"0"} : more) + sizes);
    REQUIRE(plan.code == 0);
    return plan.out;
  };
  const std::string plan = plan_of({});
  INFO(plan);

  const double sampled = run({"sample", "--model", model, "--prompts", tiny_prompts, "--samples", "4"});
  CHECK(planned(plan, "memory to sample") == Approx(sampled).epsilon(0.1));

  const Arguments align = measured_align(model) + Arguments{"--warm-steps"};
  const double adapted = run(align + Arguments{"0", "--lora-rank", "8", "--out", (folder / "lora").string()});
  CHECK(planned(plan, "with --lora-rank 8") == Approx(adapted).epsilon(0.1));
  const double aligned = run(align + Arguments{"0", "--out", (folder / "full").string()});
  CHECK(planned(plan, "memory to align") == Approx(aligned).epsilon(0.1));

  for (const Arguments& other : {Arguments{"0", "--keep-sampled", "0"}, Arguments{"2"}}) {  // and steps from the cache
    const double held = run(align + other + Arguments{"--overwrite", "--out", (folder / "full").string()});
    CHECK(planned(plan_of(other), "memory to align") == Approx(held).epsilon(0.1));
  }

  const auto less = plan_of({"0", "--recompute"});
  const double recomputed = run(align + Arguments{"0", "--recompute", "--out", (folder / "recompute").string()});
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
