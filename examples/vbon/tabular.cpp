#include "tabular.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "decoders.hpp"
#include "objective_spec.hpp"
#include "reporting.hpp"
#include "vbon/bon/divergence.hpp"
#include "vbon/eval/comparison.hpp"
#include "vbon/objective/optimum.hpp"
#include "vbon/train/exact.hpp"
#include "vbon/train/probe.hpp"
#include "vbon/train/run_folder.hpp"

namespace vbon::program {
namespace {
constexpr double near_enough = 1e-3;  // nats

/// Settings with which an optimum exists on a table and lies away from its corners.
const std::vector<std::string> usual = {"vbon",
                                        "vbon_bound:side=strict",
                                        "vbon_bound:side=mid",
                                        "vbon_bound:side=weak",
                                        "vbon_ppo:whiten=false,lambda=1",
                                        "ppo:beta=0.5,whiten=false,lambda=1",
                                        "reinforce:beta=0.5",
                                        "rloo:beta=0.5",
                                        "bond:target=exact",
                                        "bond:target=bound",
                                        "jbond",
                                        "bonbon",
                                        "dpo:beta=0.5,pairs=bradley_terry",
                                        "ipo:beta=0.5",
                                        "bon_sft",
                                        "quantile_regression:centred=true",
                                        "wind:beta=0.5,eta=0.5",
                                        "pkpo:beta=0.5",
                                        "infalign:t=3,beta=4"};

struct Problem {
  bon::Law reference;
  std::vector<double> reward, cache;
};
/// A law in whole parts of 240, so that a cache of 240 responses holds each outcome exactly as often as it is likely, and
/// normal rewards.
Problem random_problem(Index outcomes, std::uint64_t seed) {
  constexpr Index parts = 240;
  const RngKey key{seed, 301};
  std::vector<double> weight;
  for (Index k = 0; k < outcomes; ++k) weight.push_back(std::exp(0.7 * key.normal(static_cast<std::uint64_t>(k))));
  // Everyone gets one part, the rest goes to whoever is furthest below its share.
  std::vector<Index> count(weight.size(), 1);
  for (Index left = parts - outcomes; left > 0; --left) {
    std::size_t next = 0;
    for (std::size_t k = 1; k < count.size(); ++k)
      if (static_cast<double>(count[k]) / weight[k] < static_cast<double>(count[next]) / weight[next]) next = k;
    ++count[next];
  }
  Problem problem;
  for (std::size_t k = 0; k < count.size(); ++k) {
    problem.reference.push_back(static_cast<double>(count[k]) / parts);
    problem.reward.push_back(key.fold(1).normal(k));
    problem.cache.insert(problem.cache.end(), static_cast<std::size_t>(count[k]), problem.reward.back());
  }
  return problem;
}

/// How many responses of each kind an objective sees at once: as few as it takes, and N where best-of-N is drawn.
template <class O>
train::ExactGroups groups_of(const O& rule, Index n) {
  train::ExactGroups groups{.policy = std::max<Index>(2, O::needs.min_group),
                            .reference = std::max<Index>(2, O::needs.reference_group),
                            .anchor = std::max<Index>(2, O::needs.anchor_group)};
  if constexpr (requires { rule.k; }) groups.policy = std::max<Index>(groups.policy, rule.k + 1);
  if constexpr (std::is_same_v<O, objective::BonSft> || std::is_same_v<O, objective::BonBon> ||
                std::is_same_v<O, Choosable<objective::Bond<>>::type>)
    groups.reference = n;
  if constexpr (requires { rule.forward.n; }) groups.reference = std::max(groups.reference, rule.forward.n);
  return groups;
}

struct Method {
  std::string name;
  train::AnyObjective objective = {};
  train::ExactGroups groups = {};
  bon::Law optimum = {};
};

std::string known_optima() {
  std::string names;
  for_each_entry<Objectives>([&]<class O>(const O&) {
    if constexpr (objective::HasOptimum<O>) names += (names.empty() ? "" : ", ") + std::string(O::name);
  });
  return names;
}

Method method_of(const std::string& spec, const Problem& problem, double n) {
  require<ConfigError>(!is_decoder(name_and_argument(spec).first),
                       "--tabular trains objectives and holds them against their "
                       "optimum; '",
                       spec, "' is a decoder: compare it on a model, without --tabular");
  Method method{.name = spec};
  with_objective(spec, {.n = n}, [&]<class O>(O rule) {
    if constexpr (objective::HasOptimum<O>) {
      method.groups = groups_of(rule, static_cast<Index>(n));
      // What an objective refuses it says before its optimum is looked for.
      method.objective = train::AnyObjective(rule);
      train::probe(method.objective, std::max(method.groups.policy, method.groups.reference), method.groups.reference,
                   method.groups.anchor);
      const Index group = std::is_same_v<O, objective::Wind> ? method.groups.anchor : method.groups.reference;
      method.optimum = optimum(rule, {.reference = problem.reference, .reward = problem.reward, .group = group});
    } else {
      throw ConfigError(message("objective ", O::name, " has no known optimum to be held against; known: ", known_optima()));
    }
  });
  return method;
}

/// Best-of-N as it is drawn: the best of every N-tuple.
bon::Law drawn_best_of_n(const train::ExactProblem& problem, Index n) {
  bon::Law law(problem.reference().size(), 0);
  problem.for_each_group(problem.reference(), n, [&](const std::vector<Index>& tuple, double probability) {
    Index best = tuple[0];
    for (const Index k : tuple)
      if (problem.reward()[static_cast<std::size_t>(k)] > problem.reward()[static_cast<std::size_t>(best)]) best = k;
    law[static_cast<std::size_t>(best)] += probability;
  });
  return law;
}

eval::ComparedMethod exact_row(const std::string& name, const bon::Law& law, const Problem& problem) {
  eval::ComparedMethod row{.name = name};
  const auto exactly = [](double value) { return eval::Estimate{value, value, value}; };
  row.mean_reward = exactly(bon::mean_under(law, problem.reward));
  row.win_rate = exactly(bon::win_rate_of_laws(law, problem.reference, problem.reward));
  row.kl = {std::max(bon::kl_of_laws(law, problem.reference), 0.0), std::numeric_limits<double>::quiet_NaN()};
  if (row.kl.value >= eval::least_kl)
    row.efficiency = (row.win_rate.value - 0.5) / (eval::ideal_win_rate(row.kl.value) - 0.5);
  return row;
}

std::string in_digits(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}
}  // namespace

int compare_tabular(const TabularOptions& o) {
  begin(o.common);
  check_target(o.n, 1);
  require<ConfigError>(o.outcomes >= 2 && o.outcomes <= 24, "--outcomes in [2, 24] expected, got ", o.outcomes);
  require<ConfigError>(o.n >= 1 && o.n <= 64, "--tabular enumerates groups of N: --n in [1, 64] expected, got ", o.n);
  const auto n = static_cast<Index>(std::ceil(o.n));
  double sets = 1;  // of N draws, in any order
  for (Index i = 1; i <= n; ++i) sets *= static_cast<double>(o.outcomes - 1 + i) / static_cast<double>(i);
  require<ConfigError>(sets <= 5000, "--outcomes ", o.outcomes, " and --n ", n, " are ", sets,
                       " groups to enumerate; 5000 are the most");
  const Problem problem = random_problem(o.outcomes, o.common.seed);
  std::vector<Method> methods;
  const bool whole = o.n == std::floor(o.n) && o.n >= 2;
  for (const auto& spec : o.methods.empty() ? usual : o.methods) {
    // Of the usual ones those that draw N at once have a place at a whole N only.
    if (o.methods.empty() && !whole && (spec.starts_with("bon") || spec.starts_with("vbon_ppo"))) continue;
    methods.push_back(method_of(spec, problem, o.n));
  }

  std::optional<train::RunFolder> run;
  if (!o.out.empty()) {
    io::Json names = io::Json::array();
    for (const auto& method : methods) names.push_back(method.name);
    run.emplace(o.out,
                train::RunKind{"compare --tabular", {"plots", "compare.json", "compare.csv", "compare.md", "compare.html"}},
                io::Json{{"methods", names}, {"n", o.n}, {"outcomes", o.outcomes}, {"seed", o.common.seed}}, o.overwrite);
    run->begin();
  }

  std::vector<std::vector<std::string>> table = {
      {"method", "KL(pi || optimum)", "KL(optimum || pi)", "win rate", "KL(pi || pi_ref)", "steps"}};
  std::vector<std::string> far;
  const auto add_row = [&](const std::string& name, const bon::Law& law, const bon::Law& optimum, const std::string& steps) {
    const double there = std::max(bon::kl_of_laws(law, optimum), 0.0), back = std::max(bon::kl_of_laws(optimum, law), 0.0);
    auto row = exact_row(name, law, problem);
    row.from_optimum = std::max(there, back);
    table.push_back({name, in_digits("%.1e", there), in_digits("%.1e", back), in_digits("%.3f", row.win_rate.value),
                     in_digits("%.3f", row.kl.value), steps});
    if (!(there <= near_enough && back <= near_enough)) far.push_back(name);
    return row;
  };
  eval::Comparison comparison;
  comparison.title = message("Methods on a law of ", o.outcomes, " responses, beside the best of ", o.n);
  comparison.n = o.n;
  comparison.exact = true;
  comparison.theory_win_rate = o.n / (o.n + 1);
  comparison.theory_kl = bon::kl_to_reference(o.n);
  comparison.settings = {{"n", in_digits("%g", o.n)}, {"outcomes", message(o.outcomes)}, {"seed", message(o.common.seed)}};
  comparison.reference = exact_row("reference", problem.reference, problem);
  const train::ExactProblem start(problem.reference, problem.reward, problem.cache);
  const bon::Law best = bon::best_of_n_law(problem.reference, problem.reward, o.n);
  // A whole N can be drawn: its law by enumeration is held against the formula.
  comparison.best = add_row(message("best of ", o.n), o.n == std::floor(o.n) ? drawn_best_of_n(start, n) : best, best, "-");
  for (const auto& method : methods) {
    if (stop_requested()) throw RunError("stopped; start again", ErrorCode{"stopped_unsaved"});
    train::ExactProblem own = start;
    const auto outcome = train::train_exactly(own, method.objective, {.groups = method.groups});
    comparison.method.push_back(
        add_row(method.name, own.policy(), method.optimum, message(outcome.steps, outcome.settled ? "" : " (not settled)")));
  }
  if (run) write_comparison(o.common, run->path(), comparison);
  for (const auto& line : eval::aligned_lines(table)) print_line(line);
  std::string names;
  for (const auto& name : far) names += (names.empty() ? "" : ", ") + name;
  require<RunError>(far.empty(), far.size(), " of ", methods.size() + 1, " methods end further than ", near_enough,
                    " nats from their optimum: ", names);
  if (run) run->mark_finished();
  return 0;
}
}  // namespace vbon::program
