// The whole story on a policy small enough to know every answer: references are drawn and kept, an offline warm start
// learns from them, variational best-of-N goes on from the policy's own samples, and the evaluation sees how
// close one draw has come to the best of four.
#include <cstdio>

#include "vbon/eval/evaluate.hpp"
#include "vbon/objective/likelihood.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/policy/tabular_policy.hpp"
#include "vbon/train/trainer.hpp"

using namespace vbon;

/// Any type with a name and this call operator is a reward. Here: the response read as a number of base 16.
struct Digits {
  static constexpr std::string_view name = "digits";
  Array operator()(const RolloutBatch& batch) const {
    Array reward = Array::Zero(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i)
      for (const TokenId digit : batch.response(i)) reward[i] = 16 * reward[i] + static_cast<double>((5 * digit) % 16);
    return reward;
  }
};

int main() try {
  policy::TabularPolicy reference({.prompts = 8, .vocabulary = 16, .length = 2});
  for (Index i = 0; i < reference.parameters().size(); ++i)
    reference.parameters()[i] = static_cast<float>(RngKey{1, 0}.normal(static_cast<std::uint64_t>(i)));
  auto prompts = reference.prompts();
  for (auto& prompt : prompts) prompt.text = "prompt " + std::to_string(prompt.id);

  const Digits reward;
  const rollout::ReferenceCache cache(reference, reward, prompts, {.samples = 256, .key = {1, 1}});
  policy::TabularPolicy policy = reference;
  train::Trainer trainer(policy, reference, reward, cache, rollout::AnyCdf(bon::Harmonic{}), optim::AdamW{.weight_decay = 0},
                         {.seed = 2});
  const auto evaluate = [&](const char* when) {
    const auto e = eval::evaluate(policy, reference, reward, prompts, cache, {.samples = 400, .n = 4, .key = {3, 0}});
    std::printf("%-18s win rate %.3f   KL %.3f nats   efficiency %.2f\n", when, e.aligned.win_rate.value, e.kl.value,
                e.efficiency);
  };
  trainer.run(prompts, {{.name = "warm start",
                         .source = train::Source::cache,
                         .draw = train::Draw::best,
                         .objective = objective::Likelihood{},
                         .steps = 60,
                         .prompts = 8,
                         .samples = 8,
                         .rate = 0.03}});
  evaluate("after warm start");
  trainer.run(prompts, {{.name = "vbon",
                         .objective = objective::Vbon<>{.n = 4},
                         .steps = 300,
                         .prompts = 8,
                         .samples = 8,
                         .rate = 0.02,
                         .schedule = {.decay = optim::Decay::linear, .total = 301}}});
  evaluate("after vbon");
  std::printf("%-18s win rate %.3f   KL %.3f nats\n", "best of 4, theory", 4.0 / 5, std::log(4.0) - 3.0 / 4);
} catch (const Error& error) {
  std::fprintf(stderr, "align_tabular: %s\n", error.what());
  return 1;
}
