// vbon/decode/smc.hpp
//
// Sequential Monte Carlo towards p(y) psi(y)/Z, psi = e^(score/lambda): particles are weighted by how much
// their potential grew, and resampled when few carry the weight. With the potential at the end only it is
// soft best-of-n. Source: Loula et al., arXiv 2504.13139. Exact law: smc_law.hpp.
#pragma once
#include <limits>

#include "vbon/decode/particles.hpp"
#include "vbon/decode/resample.hpp"

namespace vbon::decode {
struct Smc {
  static constexpr std::string_view name = "smc";
  static constexpr std::string_view about = "sequential Monte Carlo towards the law of probability times e^(reward/lambda)";
  static constexpr bool ranks_only = false;
  Index particles = 16;
  double lambda = 0.5;
  double ess_threshold = 0.5;
  Resampling scheme = Resampling::systematic;
  Index block = 8;
  bool twisted = true;
  bool force_end = true;
  void each_option(auto&& f) {
    f("particles", particles, "particles, >= 1");
    f("lambda", lambda, "temperature of the potential e^(reward/lambda), > 0");
    f("ess_threshold", ess_threshold, "resample below this share of effective particles, in [0, 1]");
    f("scheme", scheme, "systematic, stratified, multinomial or residual");
    f("block", block, "tokens between weightings, >= 1");
    f("twisted", twisted, "weigh partial responses by their reward; otherwise only whole ones");
    f("force_end", force_end, "responses that reach the length limit end there, weighed with the probability of it");
  }

  /// @throws DomainError for settings outside the ranges above
  void check() const {
    require_count(static_cast<double>(particles), "particles", name);
    require_count(static_cast<double>(block), "block", name);
    require<DomainError>(lambda > 0, "smc: lambda > 0 expected, got ", lambda);
    require<DomainError>(ess_threshold >= 0 && ess_threshold <= 1, "smc: ess_threshold in [0, 1] expected, got ",
                         ess_threshold);
  }

  /// The target holds ended responses of up to the limit; with force_end = false those that the limit cuts off as well.
  /// @throws DomainError as check(), and for a NaN score; RunError when all weights are 0
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> cloud(policy, reward, prompt, particles, key);
    const auto n = static_cast<std::size_t>(particles);
    std::vector<double> potential(n, 0);  // log psi so far
    std::uint64_t round = 0;
    WeightStep step;
    const auto weigh = [&](auto& s) {
      const bool last = s.all_ended();
      std::vector<double> increment(n, 0);
      if (twisted || last)
        for (std::size_t i = 0; i < n; ++i) {
          if (potential[i] == -std::numeric_limits<double>::infinity()) continue;  // dead, and not replaced yet: stays so
          const double now = s.score()[i] / lambda;
          increment[i] = now - potential[i];
          potential[i] = now;
        }
      step = weight_step(s.log_weight, increment, last ? 0 : ess_threshold);
      s.log_weight = step.log_weight_after;
    };
    const auto select = [&](auto& s) -> std::optional<Index> {
      const RngKey draws = choices(key, prompt).fold(round++);
      if (s.all_ended()) return pick(step.normalized, draws.uniform(0));
      if (!step.resample) return std::nullopt;
      const std::vector<Index> ancestor = resample(scheme, step.normalized, uniforms(draws, n));
      std::vector<double> moved;
      for (const Index a : ancestor) moved.push_back(potential[static_cast<std::size_t>(a)]);
      potential = std::move(moved);
      s.keep(ancestor);
      return std::nullopt;
    };
    return steer(
        cloud, [&](auto& s) { force_end ? s.extend_and_end(block) : s.extend(block); }, weigh, select);
  }
};
}  // namespace vbon::decode
