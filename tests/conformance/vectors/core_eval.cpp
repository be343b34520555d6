// Win rates, Monte-Carlo and exact KL, Pareto frontiers and hypervolumes.
#include "support/conformance.hpp"
#include "vbon/eval/kl.hpp"
#include "vbon/eval/pareto.hpp"
#include "vbon/eval/win_rate.hpp"

namespace vbon::test {
static const Register evaluation("core/eval.json", [](const std::filesystem::path& path, Report& report) {
  int index = 0;
  const Json file = read_json(path);
  for (const Json& item : file.at("cases")) {
    const auto kind = item.at("kind").get<std::string>();
    report.begin_case(kind + " case " + std::to_string(index++));
    const auto near = [&](double got, const char* key) { report.near(got, number(item.at(key)), 1e-14, 1e-12, key); };
    if (kind == "win_rate") {
      const auto a = numbers(item.at("a")), b = numbers(item.at("b"));
      near(eval::win_rate(a, b), "all_pairs");
      near(eval::paired_win_rate(a, b), "paired");
      near(eval::paired_strict_win_rate(a, b), "paired_strict");
    } else if (kind == "kl_mc") {
      const auto log_ratio = numbers(item.at("log_ratio"));
      near(eval::kl_k1(log_ratio), "k1");
      near(eval::kl_k2(log_ratio), "k2");
      near(eval::kl_k3(log_ratio), "k3");
    } else if (kind == "kl_logits") {
      const auto p = numbers(item.at("p_logits")), q = numbers(item.at("q_logits"));
      const auto exact = eval::kl_from_logits(p, q, number(item.at("temperature")));
      near(exact.kl, "kl");
      near(exact.entropy, "entropy");
    } else if (kind == "pareto") {
      const auto kl = numbers(item.at("kl")), win = numbers(item.at("win"));
      std::vector<eval::ParetoPoint> points;
      for (std::size_t i = 0; i < kl.size(); ++i) points.push_back({kl[i], win[i]});
      const auto frontier = eval::pareto_frontier(points);
      report.check(frontier == item.at("frontier").get<std::vector<Index>>(), "frontier has ", frontier.size(), " points");
      near(eval::hypervolume(points, number(item.at("ref_kl")), number(item.at("ref_win"))), "hypervolume");
    } else {
      report.check(false, "unknown kind");
    }
  }
});
}  // namespace vbon::test
