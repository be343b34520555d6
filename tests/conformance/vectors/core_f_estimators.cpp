// Estimates of F and log F from (M, K, E), intervals, unbiased powers, and their exact bias and variance.
#include <map>

#include "support/conformance.hpp"
#include "vbon/bon.hpp"

namespace vbon::test {
namespace {
constexpr double estimator_relative = 1e-13, estimator_absolute = 1e-15;

void check_case(const Json& item, Report& report) {
  const auto integer = [&](const char* key) { return item.at(key).get<Index>(); };
  const Index m = integer("M"), k = integer("K"), e = integer("E");
  const auto near = [&](double got, const char* key) {
    report.near(got, number(item.at(key)), estimator_absolute, estimator_relative, key);
  };
  using namespace bon;
  near(std::exp(PlugIn::log_cdf_of_rank(k, m)), "plug_lt");
  near(std::exp(PlugIn::log_cdf_of_rank(k + e, m)), "plug_le");
  const double low = PlugIn::log_cdf_of_rank(k, m), high = PlugIn::log_cdf_of_rank(k + e, m);
  near(std::exp(log_cdf_at(Side::mid, low, log_sub(high, low), high)), "plug_mid");
  near(std::exp(AddOne::log_cdf_of_rank(k, m)), "add_one");
  near(std::exp(Laplace::log_cdf_of_rank(k, m)), "laplace");
  near(std::exp(JeffreysMean::log_cdf_of_rank(k, m)), "jeffreys_mean");
  near(PlugIn::log_cdf_of_rank(k, m), "log_plug");
  near(AddOne::log_cdf_of_rank(k, m), "log_add_one");
  near(Half::log_cdf_of_rank(k, m), "log_half");
  near(Jeffreys::log_cdf_of_rank(k, m), "log_jeffreys");
  near(Uniform::log_cdf_of_rank(k, m), "log_uniform");
  near(Harmonic::log_cdf_of_rank(k, m), "log_harmonic");
  near(LogCdfTable<>(m).log_cdf(k), "log_harmonic");
  const Interval band = clopper_pearson(k, m);
  report.near(band.lower, number(item.at("cp_lo")), 1e-9, 0, "cp_lo");
  report.near(band.upper, number(item.at("cp_hi")), 1e-9, 0, "cp_hi");
  near(dkw_half_width(m), "dkw_eps");
  const auto unbiased = [&](const char* key, Index n, const auto& estimate) {
    if (item.at(key).is_null())
      report.throws<DomainError>(estimate, key);
    else
      near(estimate(), key);
    report.check(item.at(key).is_null() == (n > m), key, ": defined iff N <= M");
  };
  unbiased("u_pow", integer("n"), [&] { return unbiased_power(k, m, integer("n")); });
  unbiased("u_mass", integer("N_mass"), [&] { return unbiased_level_mass({k, e}, m, integer("N_mass")); });
}

/// Mean and variance of an estimate under K ~ Binomial(M, F), by summation.
void check_moment(const Json& item, Report& report) {
  const Index m = item.at("M").get<Index>();
  const double f = number(item.at("F"));
  const auto name = item.at("estimator").get<std::string>();
  using Estimate = double (*)(Index, Index);
  const std::map<std::string, Estimate> estimates = {
      {"plug_lt", [](Index k, Index n) { return std::exp(bon::PlugIn::log_cdf_of_rank(k, n)); }},
      {"add_one", [](Index k, Index n) { return std::exp(bon::AddOne::log_cdf_of_rank(k, n)); }},
      {"laplace", [](Index k, Index n) { return std::exp(bon::Laplace::log_cdf_of_rank(k, n)); }},
      {"jeffreys_mean", [](Index k, Index n) { return std::exp(bon::JeffreysMean::log_cdf_of_rank(k, n)); }},
      {"log_add_one", [](Index k, Index n) { return bon::AddOne::log_cdf_of_rank(k, n); }},
      {"log_half", [](Index k, Index n) { return bon::Half::log_cdf_of_rank(k, n); }},
      {"log_jeffreys", [](Index k, Index n) { return bon::Jeffreys::log_cdf_of_rank(k, n); }},
      {"log_uniform", [](Index k, Index n) { return bon::Uniform::log_cdf_of_rank(k, n); }},
      {"log_harmonic", [](Index k, Index n) { return bon::Harmonic::log_cdf_of_rank(k, n); }}};
  const auto estimate = estimates.find(name);
  if (!report.check(estimate != estimates.end(), "unknown estimator ", name)) return;
  const double md = static_cast<double>(m), truth = name.starts_with("log_") ? std::log(f) : f;
  double bias = 0, squares = 0;
  for (Index k = 0; k <= m; ++k) {
    const double kd = static_cast<double>(k);
    const double mass = std::exp(log_gamma(md + 1) - log_gamma(kd + 1) - log_gamma(md - kd + 1) + kd * std::log(f) +
                                 (md - kd) * std::log1p(-f));
    const double error = estimate->second(k, m) - truth;
    bias += mass * error;
    squares += mass * error * error;
  }
  report.near(bias, number(item.at("bias")), 1e-10, 1e-10, "bias");
  report.near(squares - bias * bias, number(item.at("variance")), 1e-10, 1e-10, "variance");
}

const Register estimators("core/f_estimators.json", [](const std::filesystem::path& path, Report& report) {
  const Json file = read_json(path);
  int index = 0;
  for (const Json& item : file.at("cases")) {
    report.begin_case("case " + std::to_string(index++));
    check_case(item, report);
  }
  index = 0;
  for (const Json& item : file.at("moments")) {
    report.begin_case("moment " + std::to_string(index++));
    check_moment(item, report);
  }
});
}  // namespace
}  // namespace vbon::test
