// methods/optimum.json: on a table of K outcomes, the loss and the gradient in the logits of every
// objective, averaged over all samples it could have seen; at the optimum the gradient vanishes.
#include <algorithm>
#include <map>

#include "support/method_vectors.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/objective/bonbon.hpp"
#include "vbon/objective/bond.hpp"
#include "vbon/objective/jbond.hpp"
#include "vbon/objective/pkpo.hpp"
#include "vbon/objective/preference.hpp"
#include "vbon/objective/reinforce.hpp"

namespace vbon::test {
namespace {
using namespace objective;

struct Expected {
  double loss = 0;
  std::vector<double> gradient;  // [K] in the logits
};

/// Averages an objective over what it may see. Samples from the anchor are samples from the reference here.
class Average {
 public:
  explicit Average(TabularProblem& problem) : problem_(problem) { problem_.policy.zero_gradients(); }

  std::vector<double> law_of(const Table& table) const {
    const Array weight = table.enumerate().weight;
    return {weight.begin(), weight.end()};
  }
  RolloutBatch enumerated() const { return problem_.filled(problem_.policy.enumerate()); }

  template <Objective O>
  void add(const O& rule, const RolloutBatch& batch, double probability) {
    const ObjectiveResult result = rule(batch);
    total_.loss += probability * result.loss;
    problem_.policy.backward(batch, probability * result.dlog_prob);
  }
  void add(const StreamsObjective auto& rule, const Streams& streams, double probability) {
    const StreamsResult result = rule(streams);
    total_.loss += probability * result.loss;
    if (result.policy.size() > 0) problem_.policy.backward(streams.policy, probability * result.policy);
    if (result.reference.size() > 0) problem_.policy.backward(streams.reference, probability * result.reference);
    if (result.anchor.size() > 0) problem_.policy.backward(streams.anchor, probability * result.anchor);
  }
  void add_constant(double value) { total_.loss += value; }
  Expected result() const {
    const auto gradient = problem_.policy.gradients();
    total_.gradient.assign(gradient.begin(), gradient.end());
    return total_;
  }

 private:
  TabularProblem& problem_;
  mutable Expected total_;
};

Expected kl_rl(TabularProblem& problem, const Json& params) {
  Average average(problem);
  average.add(Reinforce<NoBaseline>{.beta = params["beta"]}, average.enumerated(), 1);
  return average.result();
}
/// The same by leave-one-out over all pairs of samples.
Expected kl_rl_sampled(TabularProblem& problem, const Json& params) {
  Average average(problem);
  for_each_tuple(average.law_of(problem.policy), 2, [&](const auto& tuple, double probability) {
    average.add(Rloo{.beta = params["beta"]}, problem.filled(problem.group(tuple)), probability);
  });
  return average.result();
}
/// sum p log p: what a forward divergence has beyond the likelihood that the objective reports.
double mean_log(const bon::Law& law) {
  double sum = 0;
  for (const double p : law) sum += p > 0 ? p * std::log(p) : 0;
  return sum;
}
Expected jeffreys_loss(TabularProblem& problem, const Json& params) {
  Average average(problem);
  const double n = params["N"], beta = params["beta"];
  const Bond<NoBaseline> rule{.n = n, .beta = beta, .target = option<BondTarget>(params["target"])};
  const auto target = bon::best_of_n_law(average.law_of(problem.reference), problem.reward[0], n);
  Streams streams;
  streams.policy = average.enumerated();
  // The best of N samples follows the best-of-N law, so a group of one drawn from it stands for the group.
  for (std::size_t k = 0; k < target.size(); ++k) {
    streams.reference = problem.filled(problem.group({static_cast<Index>(k)}));
    average.add(rule, streams, target[k]);
  }
  average.add_constant((1 - beta) * mean_log(target));
  return average.result();
}
Expected jbond_loss(TabularProblem& problem, const Json& params) {
  Average average(problem);
  Streams streams;
  streams.policy = average.enumerated();
  for_each_tuple(average.law_of(problem.anchor), 2, [&](const auto& pair, double probability) {
    streams.anchor = problem.filled(problem.group(pair));
    average.add(Jbond<NoBaseline>{.beta = params["beta"], .gamma = params["gamma"]}, streams, probability);
  });
  average.add_constant((1 - params["beta"].get<double>()) *
                       mean_log(bon::best_of_n_law(average.law_of(problem.anchor), problem.reward[0], 2)));
  return average.result();
}
Expected maxg(TabularProblem& problem, const Json& params) {
  Average average(problem);
  const Index k = params["k"];
  for_each_tuple(average.law_of(problem.policy), std::max<Index>(k, 3), [&](const auto& tuple, double probability) {
    average.add(Pkpo{.k = k, .beta = params["beta"]}, problem.filled(problem.group(tuple)), probability);
  });
  return average.result();
}
/// Conditional on a group that has a best and a worst.
Expected bonbon_loss(TabularProblem& problem, const Json& params) {
  Average average(problem);
  double usable = 0;
  for_each_tuple(average.law_of(problem.reference), params["n"], [&](const auto& tuple, double probability) {
    average.add(BonBon{.alpha = params["alpha"]}, problem.filled(problem.group(tuple)), probability);
    if (std::ranges::any_of(tuple, [&](Index k) { return k != tuple[0]; })) usable += probability;
  });
  Expected result = average.result();
  result.loss /= usable;
  for (double& slope : result.gradient) slope /= usable;
  return result;
}
template <PairLoss L>
Expected preference(TabularProblem& problem, const Json& params) {
  Average average(problem);
  const Preference<L> rule{.pair_loss = {{.beta = params["beta"]}}};
  const bool hard = params["preference"] == "step";
  const auto& reward = problem.reward[0];
  for_each_tuple(average.law_of(problem.reference), 2, [&](const auto& pair, double probability) {
    const double ri = reward[static_cast<std::size_t>(pair[0])], rj = reward[static_cast<std::size_t>(pair[1])];
    const double first_wins = hard ? (ri > rj ? 1 : ri == rj ? 0.5 : 0) : bradley_terry(ri, rj);
    RolloutBatch batch = problem.filled(problem.group(pair));
    for (const bool first : {true, false}) {
      batch.reward[0] = first ? 1 : 0;
      batch.reward[1] = first ? 0 : 1;
      average.add(rule, batch, probability * (first ? first_wins : 1 - first_wins));
    }
  });
  return average.result();
}

const std::map<std::string, std::vector<Expected (*)(TabularProblem&, const Json&)>> kinds = {
    {"kl_rl", {kl_rl, kl_rl_sampled}}, {"jeffreys", {jeffreys_loss}}, {"jbond", {jbond_loss}},   {"maxg", {maxg}},
    {"bonbon", {bonbon_loss}},         {"dpo", {preference<Dpo>}},    {"ipo", {preference<Ipo>}}};

const Register optimum("methods/optimum.json", [](const std::filesystem::path& path, Report& report) {
  const Json data = read_json(path);
  const Tolerance tolerance{data["tolerance"]["abs"], data["tolerance"]["rel"]};
  for (const auto& entry : data["cases"]) {
    const auto kind = entry["kind"].get<std::string>();
    report.begin_case(kind + " " + entry["id"].dump() + " " + entry["params"].dump());
    if (!report.check(kinds.contains(kind), "kind ", kind, " is not computed")) continue;
    const auto probability = numbers(entry["input"]["probs"]), logits = numbers(entry["input"]["logits"]);
    const Json& want = entry["output"];
    const Table table({.vocabulary = static_cast<Index>(probability.size())});
    TabularProblem problem{table, table, table, {numbers(entry["input"]["rewards"])}};
    problem.reference.set_law(0, 0, probability);
    problem.anchor = problem.reference;
    for (const auto compute : kinds.at(kind)) {
      std::copy(logits.begin(), logits.end(), problem.policy.parameters().begin());
      const Expected here = compute(problem, entry["params"]);
      compare(here.loss, want["loss"], tolerance, "loss", report);
      compare(here.gradient, want["expected_dloss_dlogits"], tolerance, "gradient", report);
      const auto best = numbers(want["optimum"]);
      problem.policy.set_law(0, 0, best);
      const Expected there = compute(problem, entry["params"]);
      compare(there.loss, want["optimum_loss"], tolerance, "loss at the optimum", report);
      for (const double slope : there.gradient) report.near(slope, 0, 1e-9, 0, "gradient at the optimum");
      compare(bon::kl_of_laws(best, probability), want["optimum_kl"], tolerance, "KL of the optimum", report);
    }
  }
});
}  // namespace
}  // namespace vbon::test
