// methods/smc.json: weight steps, resampling at given uniforms, the exact law of the returned sequence.
#include "support/method_vectors.hpp"
#include "vbon/decode/smc_law.hpp"

namespace vbon::test {
namespace {
using namespace decode;

std::string key_of(const Tokens& tokens) {
  std::string key;
  for (const Index token : tokens) key += std::to_string(token);
  return key;
}

Json law_of(const Json& params, const Json& input) {
  const SmcProblem problem{.next_law = [&](const Tokens& prefix) { return numbers(input["next_probs"][key_of(prefix)]); },
                           .twist = [&](const Tokens& prefix) { return number(input["twist"][key_of(prefix)]); },
                           .particles = params["n_particles"],
                           .length = params["length"],
                           .ess_threshold = params["ess_threshold"]};
  const SmcLaw exact(problem);
  // The target p(y) psi(y) / Z over the sequences that the search can return.
  Json law, target;
  double z = 0;
  for (const auto& [tokens, probability] : exact.law()) {
    double mass = problem.twist(tokens);
    for (std::size_t t = 0; t < tokens.size(); ++t)
      mass *= problem.next_law(
          Tokens(tokens.begin(), tokens.begin() + static_cast<Index>(t)))[static_cast<std::size_t>(tokens[t])];
    law[key_of(tokens)] = probability;
    target[key_of(tokens)] = mass;
    z += mass;
  }
  for (auto& value : target) value = value.get<double>() / z;
  require<RunError>(std::abs(exact.mean_estimate() - z) <= 1e-12 * z, "the estimate of Z is biased: ", exact.mean_estimate(),
                    " for ", z);
  return {{"Z", exact.mean_estimate()}, {"target", target}, {"law", law}};
}

const MethodVectors smc("smc", [](const std::string& kind, const Json& params, const Json& input) -> Json {
  if (kind == "law") return law_of(params, input);
  if (kind == "resample")
    return {{"ancestors",
             resample(option<Resampling>(params["scheme"]), numbers(input["weights"]), numbers(input["uniforms"]))}};
  const WeightStep step = weight_step(numbers(input["log_weights"]), numbers(input["increments"]), params["ess_threshold"]);
  return {{"log_weights", to_json(step.log_weight)},
          {"normalized", step.normalized},
          {"ess", step.ess},
          {"log_mean_weight", step.log_mean_weight},
          {"resample", step.resample},
          {"log_weights_after", to_json(step.log_weight_after)}};
});
}  // namespace
}  // namespace vbon::test
