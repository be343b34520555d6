// Best-of-N in exact numbers, no model needed: the law of the best of four draws from sixty-four responses, its
// distance and win rate beside the closed forms, and variational best-of-N learning to be that law in one draw.
//
//   reference --enumerate--> F, tau --> log pi_bon          (vbon/bon)
//   policy    --enumerate--> log pi_bon - log pi --> step   (vbon/objective, vbon/optim)
#include <cmath>
#include <cstdio>

#include "vbon/bon.hpp"
#include "vbon/objective/annotate.hpp"
#include "vbon/objective/vbon.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/policy/tabular_policy.hpp"

using namespace vbon;

int main() {
  const double n = 4;
  policy::TabularPolicy reference({.prompts = 1, .vocabulary = 64});
  for (Index k = 0; k < 64; ++k)
    reference.logits(0)(0, k) = static_cast<float>(RngKey{1, 0}.normal(static_cast<std::uint64_t>(k)));

  // Every response with its probability, reward, and exact place in the reference's reward law.
  const auto annotated = [&](const policy::TabularPolicy& policy, const RolloutBatch& law) {
    RolloutBatch batch = policy.enumerate();
    batch.reward = Array(64);
    for (Index k = 0; k < 64; ++k) batch.reward[k] = static_cast<double>((37 * k) % 64);
    batch.ref_log_prob = reference.log_prob(batch);
    objective::annotate_exactly(batch, law.prompts() > 0 ? law : batch);
    return batch;
  };
  const RolloutBatch law = annotated(reference, {});
  const Array log_bon = objective::log_best_of_n("exact_law", law, n);
  const Array bon = log_bon.exp();
  std::printf("best of %g over 64 responses\n", n);
  std::printf("  probabilities sum to       %.15f\n", bon.sum());
  std::printf("  KL(bon || ref)             %.4f nats   (continuous rewards: %.4f)\n",
              (bon * (log_bon - law.log_prob)).sum(), bon::kl_to_reference(n));
  std::printf("  win rate against ref       %.4f        (continuous rewards: %.4f)\n",
              (bon * (law.log_cdf.exp() + 0.5 * law.log_tie.exp())).sum(), bon::win_rate(n));

  std::printf("\nvariational best-of-N from the reference on\n");
  policy::TabularPolicy policy = reference;
  optim::AdamW optimizer{.rate = 0.05, .weight_decay = 0};
  for (int step = 0; step <= 400; ++step) {
    const RolloutBatch batch = annotated(policy, law);
    const ObjectiveResult result = objective::Vbon<objective::NoBaseline>{.n = n}(batch);
    if (step % 100 == 0) std::printf("  step %3d  KL(policy || bon)  %.6f nats\n", step, result.loss);
    policy.zero_gradients();
    policy.backward(batch, result.dlog_prob);
    optimizer.step(policy.parameters(), policy.gradients());
  }
}
