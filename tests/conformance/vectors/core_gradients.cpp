// Gradients in the logits: exact, sampled (leave-one-out, importance) and of autoregressive tables.
#include "support/conformance.hpp"
#include "support/softmax_tree.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
namespace {
constexpr double gradient_relative = 1e-10, gradient_absolute = 1e-12;

void check_categorical(const Json& item, Report& report) {
  using namespace bon;
  const auto near = [&](double got, const char* key) {
    report.near(got, number(item.at(key)), gradient_absolute, gradient_relative, key);
  };
  const auto near_all = [&](const std::vector<double>& got, const char* key) {
    report.check(got.size() == item.at(key).size(), key, ": ", got.size(), " components");
    for (std::size_t i = 0; i < got.size(); ++i)
      report.near(got[i], number(item.at(key)[i]), gradient_absolute, gradient_relative, key);
  };
  const double n = number(item.at("N"));
  const ReferenceLaw law = reference_law_from_weights(numbers(item.at("counts")), numbers(item.at("r")));
  const std::vector<double> log_p = log_softmax(numbers(item.at("theta"))), log_bon = best_of_n(law, n);
  std::vector<double> exact, weak, log_ratio;
  for (std::size_t y = 0; y < log_p.size(); ++y) {
    exact.push_back(log_bon[y] - log_p[y]);
    log_ratio.push_back(log_p[y] - law.log_ref[y]);
    weak.push_back((n - 1) * law.log_cdf_le[y] - log_ratio[y]);
  }
  near(exact_objective(log_p, law, n), "J");
  near_all(score_gradient(log_p, exact), "grad_J");
  near(surrogate(log_p, law, n, Side::weak), "L_le");
  near_all(score_gradient(log_p, weak), "grad_L_le");
  near(categorical_kl(log_p, law.log_ref), "kl_ref");
  near_all(score_gradient(log_p, log_ratio), "grad_kl_ref");
  double forward = 0;
  std::vector<Index> outcomes;
  std::vector<double> mass;
  for (std::size_t y = 0; y < log_p.size(); ++y) {
    forward += std::exp(log_bon[y]) * log_p[y];
    outcomes.push_back(static_cast<Index>(y));
    mass.push_back(std::exp(log_bon[y]));
  }
  near(forward, "forward");
  near_all(sampled_gradient(log_p, outcomes, mass), "grad_forward");

  const auto samples = item.at("samples").get<std::vector<Index>>();
  std::vector<double> score, log_weight;
  for (const Index y : samples) {
    score.push_back(exact[static_cast<std::size_t>(y)]);
    log_weight.push_back(log_ratio[static_cast<std::size_t>(y)]);
  }
  std::vector<double> advantage = leave_one_out_advantages(score);
  near_all(advantage, "rloo_adv");
  for (double& a : advantage) a /= static_cast<double>(samples.size());
  near_all(sampled_gradient(log_p, samples, advantage), "rloo_grad");
  near_all(sampled_gradient(log_p, samples, self_normalised_weights(log_weight, score)), "snis_grad");
}

void check_sequences(const Json& item, Report& report) {
  using namespace bon;
  const SoftmaxTree policy(item.at("V").get<Index>(), item.at("T").get<Index>(),
                           item.at("theta").get<std::vector<std::vector<double>>>());
  const SoftmaxTree ref(policy.vocabulary(), policy.length(), item.at("ref").get<std::vector<std::vector<double>>>());
  const double n = number(item.at("N"));
  const std::vector<double> log_p = policy.log_probs();
  const ReferenceLaw law = reference_law(ref.log_probs(), numbers(item.at("r")));
  const std::vector<double> log_bon = best_of_n(law, n);
  std::vector<double> exact, log_ratio;
  for (std::size_t y = 0; y < log_p.size(); ++y) {
    report.near(log_bon[y], number(item.at("log_bon")[y]), gradient_absolute, gradient_relative, "log_bon");
    exact.push_back(log_bon[y] - log_p[y]);
    log_ratio.push_back(log_p[y] - law.log_ref[y]);
  }
  report.near(exact_objective(log_p, law, n), number(item.at("J")), gradient_absolute, gradient_relative, "J");
  report.near(categorical_kl(log_p, law.log_ref), number(item.at("kl_ref")), gradient_absolute, gradient_relative, "kl_ref");
  const auto near_all = [&](const std::vector<std::vector<double>>& got, const char* key) {
    for (std::size_t c = 0; c < got.size(); ++c)
      for (std::size_t k = 0; k < got[c].size(); ++k)
        report.near(got[c][k], number(item.at(key)[c][k]), gradient_absolute, gradient_relative, key);
  };
  near_all(policy.score_gradient(exact), "grad_J");
  near_all(policy.score_gradient(log_ratio), "grad_kl_ref");
}

const Register gradients("core/gradients.json", [](const std::filesystem::path& path, Report& report) {
  const Json file = read_json(path);
  int index = 0;
  for (const Json& item : file.at("cases")) {
    report.begin_case("case " + std::to_string(index++));
    check_categorical(item, report);
  }
  index = 0;
  for (const Json& item : file.at("sequences")) {
    report.begin_case("sequence " + std::to_string(index++));
    check_sequences(item, report);
  }
});
}  // namespace
}  // namespace vbon::test
