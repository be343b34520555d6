#include "vbon/eval/report_html.hpp"

#include <cstdlib>
#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/eval/report_json.hpp"
#include "vbon/policy/tabular_policy.hpp"

namespace vbon::test {
namespace {
using eval::Evaluation;
using policy::TabularPolicy;

/// Rewards the token itself and names it in the text.
struct TokenValue {
  static constexpr std::string_view name = "token_value";
  Array operator()(const RolloutBatch& batch) const {
    Array reward(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i) reward[i] = batch.response(i)[0];
    return reward;
  }
};

constexpr Index vocabulary = 400;
struct World {
  TabularPolicy reference{{.prompts = 12, .vocabulary = vocabulary, .length = 1}}, policy = reference;
  std::vector<Prompt> prompts = reference.prompts();
  World(double n) {
    for (auto& prompt : prompts) prompt.text = "prompt " + std::to_string(prompt.id);
    std::vector<double> best(vocabulary);  // best-of-n of the uniform law
    for (int k = 0; k < vocabulary; ++k)
      best[static_cast<std::size_t>(k)] = std::pow((k + 1.0) / vocabulary, n) - std::pow(k / double(vocabulary), n);
    for (Index p = 0; p < 12; ++p) policy.set_law(p, 0, best);
  }
  Evaluation evaluate(double n, Index samples) {
    const rollout::ReferenceCache pool(reference, TokenValue{}, prompts, {.samples = 200, .key = {5, 0}});
    return eval::evaluate(policy, reference, TokenValue{}, prompts, pool,
                          {.samples = samples, .n = n, .key = {6, 0}, .batch = 5});
  }
};
}  // namespace

TEST_CASE("the ideal curve runs through every best-of-N", "[eval]") {
  for (const double n : {1.0, 1.0001, 1.5, 2.0, 4.0, 64.0, 1e6}) {
    CAPTURE(n);
    const double kl = std::log(n) - (n - 1) / n;
    CHECK(eval::ideal_n(kl) == Approx(n).epsilon(n < 1.01 ? 1e-5 : 1e-9));
    CHECK(eval::ideal_win_rate(kl) == Approx(n / (n + 1)).epsilon(1e-8));
  }
  CHECK_THROWS_AS(eval::ideal_n(-1), DomainError);
}

TEST_CASE("a policy that is best-of-N is found to be just that", "[eval]") {
  World world(4);
  const Evaluation e = world.evaluate(4, 250);
  CHECK(e.theory_win_rate == Approx(0.8));
  CHECK(e.aligned.win_rate.value == Approx(0.8).margin(0.01));
  CHECK(e.best.win_rate.value == Approx(0.8).margin(0.01));
  CHECK(e.kl.value == Approx(e.theory_kl).margin(2e-3));  // a law of 400 levels is a little short of the continuous one
  CHECK(e.kl_k1.value == Approx(e.theory_kl).margin(0.05));
  CHECK(std::abs(e.kl_k3.value - e.theory_kl) < 4 * e.kl_k3.error);  // a heavy right tail: unbiased, not precise
  CHECK(e.efficiency == Approx(1).margin(0.04));
  CHECK(e.aligned.mean_reward.value == Approx(e.best.mean_reward.value).margin(5));
  CHECK(e.aligned.win_rate.low < e.aligned.win_rate.value);
  CHECK(e.aligned.win_rate.high > e.aligned.win_rate.value);
  CHECK(e.aligned.length == 1);
}

TEST_CASE("the reference against itself wins half and is at distance zero", "[eval]") {
  World world(1);
  const Evaluation e = world.evaluate(4, 50);
  CHECK(e.aligned.win_rate.value == Approx(0.5).margin(0.02));
  CHECK(std::abs(e.kl.value) < 1e-6);
  CHECK(std::abs(e.kl_k1.value) < 1e-5);
}

TEST_CASE("best-of-N against its own pool is the mean over all subsets", "[eval]") {
  const std::vector<double> pool = {3, 1, 2, 2, 5, 1};
  for (const int n : {1, 2, 3}) {
    double win = 0, count = 0;  // every ordered choice of n members and an opponent
    const int m = static_cast<int>(pool.size());
    for (int mask = 0; mask < 1 << m; ++mask) {
      if (__builtin_popcount(static_cast<unsigned>(mask)) != n) continue;
      double best = -1;
      for (int i = 0; i < m; ++i)
        if (mask >> i & 1) best = std::max(best, pool[static_cast<std::size_t>(i)]);
      for (int j = 0; j < m; ++j)
        if (!(mask >> j & 1))
          win += best > pool[static_cast<std::size_t>(j)]    ? 1
                 : best == pool[static_cast<std::size_t>(j)] ? 0.5
                                                             : 0,
              count += 1;
    }
    CHECK(eval::detail::best_against_pool(pool, n) == Approx(win / count));
  }
}

TEST_CASE("the report holds its figures and pictures in one file, with every text escaped", "[eval]") {
  World world(4);
  Evaluation e = world.evaluate(4, 20);
  e.text = {{"a <b>&\"prompt\"</b>", "<script>alert(1)</script>", "aligned\xff text", "best", 1, -2.5, 3}};
  TemporaryFolder folder;
  const eval::ReportContext context{
      .curves = {{.name = "curve-reward", .title = "Reward", .y_label = "reward", .x = {1, 2, 3}, .y = {0.1, NAN, 0.3}}},
      .settings = {{"n", "4"}},
      .times = {{"training", "3 s"}}};
  const auto report = eval::report_html(e, context, folder / "plots");
  CHECK(report.html.find("<script") == std::string::npos);
  CHECK(report.html.find("&lt;script&gt;") != std::string::npos);
  CHECK(report.html.find("http://www.w3.org") == report.html.rfind("http:", report.html.find("http://www.w3.org")));
  CHECK(report.html.find("src=") == std::string::npos);  // nothing is fetched
  for (const char* name : {"frontier", "rewards", "curve-reward"}) {
    CHECK(std::filesystem::exists(folder / "plots" / (std::string(name) + ".gp")));
    CHECK(std::filesystem::file_size(folder / "plots" / (std::string(name) + ".dat")) > 0);
  }
  if (report.problems.empty()) {
    std::size_t drawings = 0;
    for (std::size_t at = 0; (at = report.html.find("<svg", at)) != std::string::npos; ++at) ++drawings;
    CHECK(drawings == 3);
  }
  const auto json = eval::report_json(e);
  CHECK(json["win_rate"]["value"] == e.aligned.win_rate.value);
  CHECK(json["rewards"]["aligned"].size() == 12);
}

TEST_CASE("without gnuplot the report says what to do and keeps data and script", "[eval][error]") {
  TemporaryFolder folder;
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "";
  ::setenv("PATH", folder.path().c_str(), 1);
  const auto drawn =
      eval::draw({.name = "p", .title = "it's", .series = {{.title = "a", .x = {0, 1}, .y = {1, 2}}}}, folder / "plots");
  ::setenv("PATH", path.c_str(), 1);
  CHECK(drawn.svg.empty());
  CHECK(drawn.problem.find("gnuplot is not installed") != std::string::npos);
  CHECK(drawn.problem.find("gnuplot p.gp") != std::string::npos);
  CHECK(text_of(folder / "plots" / "p.dat").find("1 2") != std::string::npos);
}

TEST_CASE("one prompt has no interval, and near the reference there is no efficiency", "[eval]") {
  World world(1);
  world.prompts.resize(1);
  const Evaluation e = world.evaluate(4, 20);
  CHECK(std::isnan(e.aligned.win_rate.low));
  CHECK(std::isnan(e.aligned.mean_reward.high));
  CHECK(std::isnan(e.kl.error));
  CHECK(std::isnan(e.efficiency));
  TemporaryFolder folder;
  const auto report = eval::report_html(e, {}, folder / "plots");
  CHECK(report.problems.empty());
  CHECK(report.html.find("(no interval: one prompt)") != std::string::npos);
  CHECK(report.html.find("none below a KL of 0.05 nats") != std::string::npos);
  const auto json = nlohmann::json::parse(eval::report_json(e).dump());
  CHECK(json["win_rate"]["low_95"].is_null());
  CHECK(json["efficiency"].is_null());
}
}  // namespace vbon::test
