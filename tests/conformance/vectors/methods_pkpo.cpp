// methods/pkpo.json: averages of the maximum over subsets and the weights built on them.
#include "support/method_vectors.hpp"
#include "vbon/objective/pkpo.hpp"

namespace vbon::test {
namespace {
using namespace objective;

const MethodVectors pkpo_file("pkpo", [](const std::string&, const Json& params, const Json& input) -> Json {
  const Array reward = to_array(input["rewards"]);
  const Index k = params["k"], n = reward.size();
  const auto weights = [&](PkpoVariant variant) { return to_json(pkpo_weights(reward, k, variant)); };
  Json out = {{"maxg_at_k", SubsetMax(reward, k).mean()}, {"s", weights(PkpoVariant::s)}};
  if (k < n) out["sloo"] = weights(PkpoVariant::sloo);
  if (k < n) out["sloo_matched"] = weights(PkpoVariant::sloo_matched);
  if (k >= 2) out["sloo_minus_one"] = weights(PkpoVariant::sloo_minus_one);
  RolloutBatch batch = one_group(static_cast<std::size_t>(n));
  batch.reward = reward;
  out["advantages_default"] = to_json(-static_cast<double>(n) * Pkpo{.k = k}(batch).dlog_prob);
  out["pass_at_k"] = out["maxg_at_k"];
  out["s_binary"] = out["s"];
  return out;
});
}  // namespace
}  // namespace vbon::test
