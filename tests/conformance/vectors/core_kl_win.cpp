// Closed forms in N for continuous rewards, and for one best atom.
#include "support/conformance.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
static const Register kl_win("core/kl_win.json", [](const std::filesystem::path& path, Report& report) {
  int index = 0;
  const Json file = read_json(path);
  for (const Json& item : file.at("cases")) {
    report.begin_case("case " + std::to_string(index++));
    const double n = number(item.at("N")), other = number(item.at("other")), atom = number(item.at("eps"));
    const auto near = [&](double got, const char* key) { report.near(got, number(item.at(key)), 1e-15, 1e-12, key); };
    near(bon::kl_to_reference(n), "kl_bon_ref");
    near(bon::kl_from_reference(n), "kl_ref_bon");
    near(bon::win_rate(n), "win");
    near(bon::win_rate(n, other), "win_vs_other");
    near(bon::kl_between(n, other), "kl_bon_other");
    near(bon::chi_square(n), "chi2");
    near(bon::total_variation(n), "tv");
    near(bon::squared_hellinger(n), "hellinger2");
    near(bon::kl_with_atom(n, atom), "kl_atom");
    near(bon::win_rate_with_atom(n, atom), "win_atom");
    near(bon::beta_from_n(n), "beta");
    near(bon::published_effective_n(n), "n_eff_official");
  }
});
}  // namespace vbon::test
