// Categorical problems with ties: F, tau, the law, divergences, win rates and the tilted optimum.
#include "support/conformance.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
static const Register discrete_law("core/discrete_law.json", [](const std::filesystem::path& path, Report& report) {
  int index = 0;
  const Json file = read_json(path);
  for (const Json& item : file.at("cases")) {
    report.begin_case("case " + std::to_string(index++));
    const std::vector<double> counts = numbers(item.at("counts")), rewards = numbers(item.at("r"));
    const double n = number(item.at("N"));
    const bon::ReferenceLaw law = bon::reference_law_from_weights(counts, rewards);
    const std::vector<double> log_bon = bon::best_of_n(law, n);
    const auto near = [&](double got, const Json& want, const char* key) { report.near(got, number(want), 1e-14, 1e-11, key); };
    const auto tilted = bon::surrogate_optimum(law, n, bon::Side::weak);
    double paper_sum = 0, reward = 0;
    for (std::size_t y = 0; y < counts.size(); ++y) {
      near(std::exp(law.log_cdf[y]), item.at("F")[y], "F");
      near(std::exp(law.log_tie[y]), item.at("tau")[y], "tau");
      near(std::exp(log_bon[y]), item.at("bon")[y], "bon");
      report.near(log_bon[y], number(item.at("log_bon")[y]), 1e-10, 1e-10, "log_bon");
      // The usual form (F + ref)^N - F^N takes tau = ref and so loses mass where rewards tie.
      const double paper = std::exp(bon::log_prob(law.log_ref[y], law.log_cdf[y], law.log_ref[y], n));
      near(paper, item.at("paper_form")[y], "paper_form");
      near(std::exp(tilted[y]), item.at("tilt_le")[y], "tilt_le");
      paper_sum += paper;
      reward += std::exp(log_bon[y]) * rewards[y];
    }
    near(paper_sum, item.at("paper_sum"), "paper_sum");
    near(bon::kl_to_reference(law, n), item.at("kl_bon_ref"), "kl_bon_ref");
    near(bon::categorical_kl(law.log_ref, log_bon), item.at("kl_ref_bon"), "kl_ref_bon");
    near(bon::kl_to_reference(n), item.at("kl_continuous"), "kl_continuous");
    near(bon::win_rate(log_bon, law), item.at("win_bon"), "win_bon");
    near(bon::win_rate(law.log_ref, law), item.at("win_ref"), "win_ref");
    near(bon::win_rate(n), item.at("win_continuous"), "win_continuous");
    near(reward, item.at("reward_bon"), "reward_bon");
    near(std::exp(bon::log_normaliser(law, n, bon::Side::strict)), item.at("z_strict"), "z_strict");
    near(std::exp(bon::log_normaliser(law, n, bon::Side::weak)), item.at("z_le"), "z_le");
    near(bon::categorical_kl(tilted, law.log_ref), item.at("kl_tilt_le_ref"), "kl_tilt_le_ref");
    near(bon::categorical_kl(tilted, log_bon), item.at("kl_tilt_le_bon"), "kl_tilt_le_bon");
    near(bon::win_rate(tilted, law), item.at("win_tilt_le"), "win_tilt_le");
  }
});
}  // namespace vbon::test
