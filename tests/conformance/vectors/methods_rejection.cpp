// methods/rejection.json: the law of rejection sampling with a limit on tries.
#include "support/method_vectors.hpp"
#include "vbon/decode/rejection_law.hpp"

namespace vbon::test {
namespace {
const MethodVectors rejection("rejection", [](const std::string&, const Json& params, const Json& input) -> Json {
  const auto probability = numbers(input["probs"]), reward = numbers(input["rewards"]);
  decode::require_count(params["max_tries"], "max_tries", "rejection");
  std::vector<double> accept;
  for (const double r : reward) accept.push_back(decode::tilted_acceptance(r, params["r_max"], params["beta"]));
  const decode::RejectionLaw result = decode::rejection_law(probability, accept, params["max_tries"]);
  return {{"accept", accept},
          {"accept_rate", result.accept_rate},
          {"fallback_probability", result.fallback_probability},
          {"law", result.law},
          {"target", bon::tilted_law(probability, reward, params["beta"])},
          {"expected_tries", result.expected_tries}};
});
}  // namespace
}  // namespace vbon::test
