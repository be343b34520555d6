// methods/jbond.json: one step's coefficients, the expected two-sample reward, the moving anchor.
#include "support/method_vectors.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/anchor.hpp"
#include "vbon/objective/jbond.hpp"

namespace vbon::test {
namespace {
using namespace objective;

template <Baseline B>
Json step(const Json& params, const Json& input) {
  Json one_per_prompt = Json::array();
  for (const auto& reward : input["reward_policy"]) one_per_prompt.push_back(Json::array({reward}));
  Streams streams;
  RolloutBatch &policy = streams.policy, &anchor = streams.anchor;
  policy = one_token_batch(one_per_prompt);
  policy.reward = to_array(input["reward_policy"]);
  policy.log_prob = to_array(input["logp_policy_sample"]);
  policy.anchor_log_prob = to_array(input["anchor_logp_policy_sample"]);
  anchor = one_token_batch(input["reward_anchor"]);
  anchor.reward = flattened(input["reward_anchor"]);
  anchor.log_prob = flattened(input["logp_anchor_samples"]);
  const Jbond<B> rule{.beta = params["beta"], .gamma = params["gamma"]};
  const StreamsResult result = rule(streams);

  Json rewards = Json::array(), best = Json::array(), slope = Json::array();
  for (const Group& g : groups(anchor)) {
    const Array pair = anchor.reward.segment(g.begin, g.size);
    rewards.push_back(jbond_reward(policy.reward[g.prompt], pair));
    best.push_back(first_best(pair));
    slope.push_back(result.anchor[g.begin + best.back().get<Index>()]);
  }
  return {{"r_jbond", rewards},
          {"best_anchor", best},
          {"signal", to_json(Array(-static_cast<double>(policy.prompts()) * result.policy))},  // after the baseline
          {"dloss_dlogp_policy_sample", to_json(result.policy)},
          {"dloss_dlogp_best_anchor", slope},
          {"forward_loss", metric(result, "forward_loss")}};
}

Json expected(const Json& input) {
  const auto probability = numbers(input["anchor_probs"]), reward = numbers(input["rewards"]);
  const bon::Levels at = bon::levels(probability, reward);
  Json rewards = Json::array(), log_cdf = Json::array();
  for (std::size_t k = 0; k < reward.size(); ++k) {
    rewards.push_back(expected_jbond_reward(at.at_most(k)));
    log_cdf.push_back(std::log(at.at_most(k)));
  }
  return {{"expected_r_jbond", rewards}, {"log_p_le", log_cdf}};
}

const MethodVectors jbond("jbond", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "expected_reward") return expected(input);
  if (kind == "ema") {
    auto anchor = numbers(input["anchor"]);
    const auto policy = numbers(input["policy"]);
    move_anchor<double>(anchor, policy, params["eta"]);
    return {{"anchor", anchor}};
  }
  const auto baseline = params["baseline"].get<std::string>();
  if (baseline == "none") return step<NoBaseline>(params, input);
  return baseline == "loo" ? step<BatchLeaveOneOut>(params, input) : step<BatchMean>(params, input);
});
}  // namespace
}  // namespace vbon::test
