// core/ppo_gae.json: PPO in the arithmetic of the published code.
#include <map>
#include <set>

#include "support/method_vectors.hpp"
#include "vbon/objective/ppo_published.hpp"

namespace vbon::test {
namespace {
using namespace objective;

published::Rows rows_of(const Json& values) {
  published::Rows rows(static_cast<Index>(values.size()), static_cast<Index>(values[0].size()));
  const Array flat = flattened(values);
  std::copy(flat.begin(), flat.end(), rows.data());
  return rows;
}
Json rows_json(const published::Rows& rows) {
  Json out = Json::array();
  for (Index b = 0; b < rows.rows(); ++b) out.push_back(to_json(Array(rows.row(b))));
  return out;
}

const Register ppo_gae("core/ppo_gae.json", [](const std::filesystem::path& path, Report& report) {
  const Tolerance tolerance{1e-12, 1e-11};
  const Json data = read_json(path);
  for (const auto& entry : data["cases"]) {
    report.begin_case("step");
    const published::Step step =
        published::step(rows_of(entry["rewards"]), rows_of(entry["old_values"]), rows_of(entry["values"]),
                        rows_of(entry["old_logprobs"]), rows_of(entry["logprobs"]), rows_of(entry["mask"]),
                        {entry["gamma"], entry["lam"]}, {entry["cliprange"], entry["cliprange_value"], entry["vf_coef"]});
    const std::map<std::string, Json> got = {{"advantages", rows_json(step.advantage)},
                                             {"returns", rows_json(step.returns)},
                                             {"whitened", rows_json(step.whitened)},
                                             {"pg_loss", step.policy_loss},
                                             {"vf_loss", step.value_loss},
                                             {"loss", step.loss},
                                             {"approx_kl", step.approx_kl},
                                             {"mean_ratio", step.mean_ratio},
                                             {"pg_clipfrac", step.policy_clip_fraction},
                                             {"vf_clipfrac", step.value_clip_fraction},
                                             {"grad_logprobs", rows_json(step.dlog_prob)},
                                             {"grad_values", rows_json(step.dvalue)}};
    const std::set<std::string> inputs = {"gamma",   "lam",  "cliprange",    "cliprange_value", "vf_coef", "old_values",
                                          "rewards", "mask", "old_logprobs", "logprobs",        "values"};
    for (const auto& [key, want] : entry.items()) {
      if (inputs.contains(key)) continue;
      if (report.check(got.contains(key), key, ": not computed")) compare(got.at(key), want, tolerance, key, report);
    }
  }
  for (const auto& entry : data["reward_assembly"]) {
    report.begin_case("reward assembly");
    const Array log_ratio = to_array(entry["log_ratio"]);
    const Index length = entry["response_len"];
    const double beta = entry["kl_coef"], score = entry["score"], clip = entry["cliprange_reward"];
    compare(to_json(published::token_rewards(log_ratio, length, entry["padded_len"], score, beta, clip)), entry["official"],
            tolerance, "official", report);
    RolloutBatch batch = masked_batch(Json::array({std::vector<int>(static_cast<std::size_t>(length), 1)}));
    batch.old_log_prob = log_ratio.head(length);
    batch.ref_log_prob = Array::Zero(length);
    const Array terminal = Array::Constant(1, std::clamp(score, -clip, clip));
    compare(to_json(shaped_token_reward("ppo", batch, terminal, beta, KlEstimator::k1)), entry["corrected"], tolerance,
            "corrected", report);
  }
  for (const auto& entry : data["kl_controller"]) {
    report.begin_case("kl controller");
    const double target = number(entry["target"]);
    report.near(adapted_kl_weight(entry["value"], entry["current"], target, entry["horizon"], entry["n_steps"]),
                entry["next"].get<double>(), 1e-12, 1e-11, "next");
  }
});
}  // namespace
}  // namespace vbon::test
