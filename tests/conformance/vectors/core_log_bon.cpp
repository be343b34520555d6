// log pi_bon, its derivatives and its first-order value, scalar and vector.
#include <optional>

#include "support/conformance.hpp"
#include "vbon/bon/log_prob_array.hpp"

namespace vbon::test {
static const Register log_bon("core/log_bon.json", [](const std::filesystem::path& path, Report& report) {
  int index = 0;
  const Json file = read_json(path);
  for (const Json& item : file.at("cases")) {
    report.begin_case(item.at("regime").get<std::string>() + " case " + std::to_string(index++));
    const double n = number(item.at("N")), a = number(item.at("log_f")), t = number(item.at("log_tau")), p = number(item.at("log_pi"));
    const bool top = !item.at("log_f_le").is_null();
    const double b = top ? number(item.at("log_f_le")) : 0, tol = number(item.at("tol")), want = number(item.at("log_bon"));

    const double scalar = top ? bon::log_prob(p, a, t, b, n) : bon::log_prob(p, a, t, n);
    report.near(scalar, want, tol, 0, "log_prob");
    double vector = 0;
    const auto one = [](const double& value) { return std::span<const double>(&value, 1); };
    if (top)
      bon::log_prob(one(p), one(a), one(t), one(b), n, std::span(&vector, 1));
    else
      bon::log_prob(one(p), one(a), one(t), n, std::span(&vector, 1));
    report.near(vector, want, tol, 0, "log_prob of arrays");

    const auto d = top ? bon::log_prob_derivatives(a, t, b, n) : bon::log_prob_derivatives(a, t, n);
    report.near(d.log_cdf, number(item.at("d_logf")), 0, 1e-12, "d / d log F");
    report.near(d.log_tie, number(item.at("d_logtau")), 0, 1e-12, "d / d log tau");
    report.near(d.n, number(item.at("d_n")), std::isinf(a) ? 0 : 1e-15 * (1 + std::abs(a)), 1e-12, "d / d N");
    const double first = bon::log_prob_first_order(p, a, n);
    report.near(first, number(item.at("first_order")), tol, 1e-15, "first order");
    report.near(bon::first_order_gap_bound(a, t, n), number(item.at("gap_bound")), 1e-300, 1e-12, "gap bound");
  }
});
}  // namespace vbon::test
