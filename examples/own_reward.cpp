// A reward of your own, on a language model of your own: any callable that takes a prompt and a response will do. This
// one likes short words. The policy is aligned to the best of four for a few steps and saved as a Hugging Face folder.
#include <cstdio>

#include "vbon/objective/vbon.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/reward/callable.hpp"
#include "vbon/rollout/prompts.hpp"
#include "vbon/train/trainer.hpp"

using namespace vbon;

double short_words(std::string_view, std::string_view response) {
  double letters = 0, words = 1;
  for (const char c : response) (c == ' ' ? words : letters) += 1;
  return -letters / words;
}

int main(int argc, char** argv) try {
  require<ConfigError>(argc == 4,
                       "usage: own_reward MODEL PROMPTS.jsonl OUTPUT_FOLDER  (MODEL: a GGUF file or a Hugging Face folder)");
  auto reference = policy::load<Cpu>(argv[1]);
  reference.sampler.max_new_tokens = 16;
  const auto prompts = rollout::load_prompts(argv[2]);
  const reward::Callable reward(short_words);
  const rollout::ReferenceCache cache(reference, reward, prompts, {.samples = 16, .key = {1, 0}});

  auto policy = reference.clone();
  train::Trainer trainer(policy, reference, reward, cache, rollout::AnyCdf(), optim::AdamW{.weight_decay = 0}, {.seed = 1});
  const train::Phase phase{
      .name = "vbon", .objective = objective::Vbon<>{.n = 4}, .steps = 10, .prompts = 8, .samples = 4, .rate = 1e-4};
  trainer.run(prompts, {phase}, {.step = [](const train::StepReport& report) {
                std::printf("step %2td   reward %7.3f   KL %.3f nats\n", report.step,
                            train::metric(report.metrics, "reward"), train::metric(report.metrics, "kl_k1"));
              }});
  policy::save(policy, argv[3]);
} catch (const Error& error) {
  std::fprintf(stderr, "own_reward: %s\n", error.what());
  return 1;
}
