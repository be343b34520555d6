// methods/grpo.json: group-relative advantages and the clipped token loss.
#include "support/method_vectors.hpp"
#include "vbon/objective/grpo.hpp"

namespace vbon::test {
namespace {
using namespace objective;

Json advantage(const Json& params, const Json& input) {
  RolloutBatch batch = one_token_batch(input["rewards"]);
  const Array a = group_advantage(batch, flattened(input["rewards"]), option<GroupScale>(params["scale"]), params["eps"],
                                  params["ddof"]);
  return {{"advantages", grouped_json(batch, a)}};
}

Json grpo_loss(const Json& params, const Json& input) {
  const Json& mask = input["mask"];
  RolloutBatch batch = masked_batch(mask);
  batch.log_prob = valid_values(input["logp"], mask);
  batch.old_log_prob = valid_values(input["old_logp"], mask);
  batch.ref_log_prob = valid_values(input["ref_logp"], mask);
  const auto type = params["loss_type"].get<std::string>();
  const ClippedSurrogate surrogate{.average = type == "grpo"      ? TokenAverage::sequence
                                              : type == "dr_grpo" ? TokenAverage::fixed_length
                                                                  : TokenAverage::tokens,
                                   .ratio = option<RatioLevel>(params["ratio_level"]),
                                   .clip_low = params["eps_low"],
                                   .clip_high = params["eps_high"],
                                   .beta = params["beta"],
                                   .max_length = params["max_len"]};
  const ObjectiveResult result = surrogate("grpo", batch, to_array(input["advantages"]));
  return {{"loss", result.loss},
          {"dloss_dlogp", padded_json(result.dlog_prob, mask)},
          {"clip_fraction", metric(result, "clip_fraction")},
          {"mean_kl_k3", metric(result, "token_kl_k3")}};
}

const MethodVectors grpo_file("grpo", [](const std::string& kind, const Json& params, const Json& input) {
  return kind == "advantage" ? advantage(params, input) : grpo_loss(params, input);
});
}  // namespace
}  // namespace vbon::test
