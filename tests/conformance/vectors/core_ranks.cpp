// Rank lookups in a cache, leave-one-out counts, and the weights of the best of random subsets.
#include "support/conformance.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
static const Register ranks("core/ranks.json", [](const std::filesystem::path& path, Report& report) {
  int index = 0;
  const Json file = read_json(path);
  for (const Json& item : file.at("cases")) {
    report.begin_case("case " + std::to_string(index++));
    const std::vector<double> rewards = numbers(item.at("rewards")), queries = numbers(item.at("queries"));
    const bon::EmpiricalCdf cdf(rewards);
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const bon::RankCounts counts = cdf.count(queries[i]);
      report.check(counts.below == item.at("K")[i].get<Index>(), "K of query ", i, ": got ", counts.below);
      report.check(counts.equal == item.at("E")[i].get<Index>(), "E of query ", i, ": got ", counts.equal);
      report.near(bon::Published{}.log_cdf(cdf.sorted(), queries[i]), number(item.at("log_f_official")[i]), 1e-6, 1e-6, "log_f_official");
    }
    for (std::size_t i = 0; i < rewards.size() && rewards.size() > 1; ++i) {
      const bon::RankCounts counts = cdf.count_among_others(rewards[i]);
      report.check(counts.below == item.at("loo_K")[i].get<Index>(), "loo_K of item ", i, ": got ", counts.below);
      report.check(counts.equal == item.at("loo_E")[i].get<Index>(), "loo_E of item ", i, ": got ", counts.equal);
    }
    const Index n = item.at("N").get<Index>();
    const std::vector<double> weight = bon::subset_max_weights(rewards, n), f = numbers(item.at("f"));
    for (std::size_t i = 0; i < weight.size(); ++i)
      report.near(weight[i], number(item.at("subset_max_weights")[i]), 1e-13, 1e-13, "subset_max_weights");
    report.near(bon::expected_value(rewards, f, n), number(item.at("subset_max_mean")), 1e-13, 1e-13, "subset_max_mean");
  }
});
}  // namespace vbon::test
