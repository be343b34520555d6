// methods/optimum.json: on a table of K outcomes, the loss and the gradient in the logits of every
// objective, averaged over all samples it could have seen; at the optimum the gradient vanishes. The optima that the
// library knows without differentiating anything are the same.
#include <algorithm>
#include <map>

#include "support/method_vectors.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/optimum.hpp"
#include "vbon/train/exact.hpp"

namespace vbon::test {
namespace {
using namespace objective;

using train::ExactGradient, train::ExactMean, train::ExactProblem, train::for_each_tuple;

ExactGradient kl_rl(const ExactProblem& problem, const Json& params) {
  ExactMean mean(problem);
  mean.add(Reinforce<NoBaseline>{.beta = params["beta"]}, problem.enumerated(), 1);
  return mean.result();
}
/// The same by leave-one-out over all pairs of samples.
ExactGradient kl_rl_sampled(const ExactProblem& problem, const Json& params) {
  return exact_gradient(problem, Rloo{.beta = params["beta"]}, {.policy = 2});
}
/// sum p log p: what a forward divergence has beyond the likelihood that the objective reports.
double mean_log(const bon::Law& law) {
  double sum = 0;
  for (const double p : law) sum += p > 0 ? p * std::log(p) : 0;
  return sum;
}
ExactGradient jeffreys_loss(const ExactProblem& problem, const Json& params) {
  ExactMean mean(problem);
  const double n = params["N"], beta = params["beta"];
  const Bond<NoBaseline> rule{.n = n, .beta = beta, .target = option<BondTarget>(params["target"])};
  const auto target = bon::best_of_n_law(problem.reference(), problem.reward(), n);
  Streams streams;
  streams.policy = problem.enumerated();
  // The best of N samples follows the best-of-N law, so a group of one drawn from it stands for the group.
  for (std::size_t k = 0; k < target.size(); ++k) {
    streams.reference = problem.group({static_cast<Index>(k)});
    mean.add(rule, streams, target[k]);
  }
  mean.add_constant((1 - beta) * mean_log(target));
  return mean.result();
}
/// The same with groups of N, and with the baseline of the registry over pairs of policy samples.
ExactGradient jeffreys_sampled(const ExactProblem& problem, const Json& params) {
  const Bond<> rule{.n = params["N"], .beta = params["beta"], .target = option<BondTarget>(params["target"])};
  ExactGradient result = exact_gradient(problem, rule, {.policy = 2, .reference = params["N"]});
  result.loss += (1 - rule.beta) * mean_log(bon::best_of_n_law(problem.reference(), problem.reward(), rule.n));
  return result;
}
ExactGradient jbond_loss(const ExactProblem& problem, const Json& params) {
  const Jbond<> rule{.beta = params["beta"], .gamma = params["gamma"]};
  ExactGradient result = exact_gradient(problem, rule, {.policy = 2, .anchor = 2});
  result.loss += (1 - rule.beta) * mean_log(bon::best_of_n_law(problem.anchor(), problem.reward(), 2));
  return result;
}
ExactGradient maxg(const ExactProblem& problem, const Json& params) {
  const Index k = params["k"];
  return exact_gradient(problem, Pkpo{.k = k, .beta = params["beta"]}, {.policy = std::max<Index>(k, 3)});
}
/// Conditional on a group that has a best and a worst.
ExactGradient bonbon_loss(const ExactProblem& problem, const Json& params) {
  const Index n = params["n"];
  ExactGradient result = exact_gradient(problem, BonBon{.alpha = params["alpha"]}, {.reference = n});
  double usable = 0;
  for_each_tuple(problem.reference(), n, [&](const auto& tuple, double probability) {
    if (std::ranges::any_of(tuple, [&](Index k) { return k != tuple[0]; })) usable += probability;
  });
  result.loss /= usable;
  for (double& slope : result.dlogits) slope /= usable;
  return result;
}
/// Both orders of a pair, each with the probability of its label.
template <PairLoss L>
ExactGradient preference(const ExactProblem& problem, const Json& params) {
  ExactMean mean(problem);
  const Preference<L> rule{.pair_loss = {{.beta = params["beta"]}}};
  const bool hard = params["preference"] == "step";
  const auto& reward = problem.reward();
  for_each_tuple(problem.reference(), 2, [&](const auto& pair, double probability) {
    const double ri = reward[static_cast<std::size_t>(pair[0])], rj = reward[static_cast<std::size_t>(pair[1])];
    const double first_wins = hard ? (ri > rj ? 1 : ri == rj ? 0.5 : 0) : bradley_terry(ri, rj);
    RolloutBatch batch = problem.group(pair);
    for (const bool first : {true, false}) {
      batch.reward[0] = first ? 1 : 0;
      batch.reward[1] = first ? 0 : 1;
      mean.add(rule, batch, probability * (first ? first_wins : 1 - first_wins));
    }
  });
  return mean.result();
}

/// The rule of a case as the registry has it, for the optimum in closed form or by its own solve.
bon::Law optimum_of(const std::string& kind, const Json& params, FiniteProblem problem) {
  const auto labels = [&] { return params["preference"] == "bt" ? PairRule::bradley_terry : PairRule::all_strict; };
  if (kind == "kl_rl") return optimum(Rloo{.beta = params["beta"]}, problem);
  if (kind == "jeffreys") {
    problem.group = params["N"];
    return optimum(Bond<>{.n = params["N"], .beta = params["beta"], .target = option<BondTarget>(params["target"])},
                   problem);
  }
  if (kind == "jbond") return optimum(Jbond<>{.beta = params["beta"], .gamma = params["gamma"]}, problem);
  if (kind == "maxg") return optimum(Pkpo{.k = params["k"], .beta = params["beta"]}, problem);
  if (kind == "bonbon") {
    problem.group = params["n"];
    return optimum(BonBon{.alpha = params["alpha"]}, problem);
  }
  if (kind == "dpo") return optimum(Preference<Dpo>{.pair_loss = {{.beta = params["beta"]}}, .pairs = labels()}, problem);
  return optimum(Preference<Ipo>{.pair_loss = {{.beta = params["beta"]}}, .pairs = labels()}, problem);
}

const std::map<std::string, std::vector<ExactGradient (*)(const ExactProblem&, const Json&)>> kinds = {
    {"kl_rl", {kl_rl, kl_rl_sampled}}, {"jeffreys", {jeffreys_loss, jeffreys_sampled}},
    {"jbond", {jbond_loss}},           {"maxg", {maxg}},
    {"bonbon", {bonbon_loss}},         {"dpo", {preference<Dpo>}},
    {"ipo", {preference<Ipo>}}};

const Register optimum("methods/optimum.json", [](const std::filesystem::path& path, Report& report) {
  const Json data = read_json(path);
  const Tolerance tolerance{data["tolerance"]["abs"], data["tolerance"]["rel"]};
  for (const auto& entry : data["cases"]) {
    const auto kind = entry["kind"].get<std::string>();
    report.begin_case(kind + " " + entry["id"].dump() + " " + entry["params"].dump());
    if (!report.check(kinds.contains(kind), "kind ", kind, " is not computed")) continue;
    const auto probability = numbers(entry["input"]["probs"]), logits = numbers(entry["input"]["logits"]);
    const Json& want = entry["output"];
    ExactProblem problem(probability, numbers(entry["input"]["rewards"]));
    const auto best = numbers(want["optimum"]);
    for (const auto compute : kinds.at(kind)) {
      problem.set_logits(logits);
      const ExactGradient here = compute(problem, entry["params"]);
      compare(here.loss, want["loss"], tolerance, "loss", report);
      compare(here.dlogits, want["expected_dloss_dlogits"], tolerance, "gradient", report);
      problem.set_policy(best);
      const ExactGradient there = compute(problem, entry["params"]);
      compare(there.loss, want["optimum_loss"], tolerance, "loss at the optimum", report);
      for (const double slope : there.dlogits) report.near(slope, 0, 1e-9, 0, "gradient at the optimum");
    }
    compare(bon::kl_of_laws(best, probability), want["optimum_kl"], tolerance, "KL of the optimum", report);
    const bon::Law solved =
        optimum_of(kind, entry["params"], {.reference = problem.reference(), .reward = problem.reward()});
    for (std::size_t k = 0; k < best.size(); ++k) report.near(solved[k], best[k], 1e-9, 1e-8, "optimum");
  }
});
}  // namespace
}  // namespace vbon::test
