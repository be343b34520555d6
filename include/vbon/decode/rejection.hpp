// vbon/decode/rejection.hpp
//
// Draw one response after the other and accept by a test of its reward, so that an accepted one follows a
// known target exactly: pi_ref e^(r/beta)/Z, or the chi-square regularised law of InferenceTimePessimism.
// Exact laws: rejection_law.hpp.
#pragma once
#include <array>

#include "vbon/decode/particles.hpp"
#include "vbon/decode/rejection_law.hpp"

namespace vbon::decode {
enum class Fallback { fresh, best, fail };
constexpr std::array<std::string_view, 3> option_names(Fallback) { return {"fresh", "best", "fail"}; }

namespace detail {
/// Appends one fresh response to the candidates of `out`; draws of attempt t do not depend on how many went before.
template <class P, class R>
double attempt(P& policy, const R& reward, const Prompt& prompt, RngKey key, Decoded& out) {
  Particles<P, R> one(policy, reward, prompt, 1, key.fold(out.candidate.size()));
  one.extend(until_the_end);
  one.score();
  const Decoded drawn = one.decoded(0);
  out.candidate.push_back(drawn.candidate[0]);
  out.counters += drawn.counters;
  return drawn.reward();
}
inline Index last(const Decoded& out) { return static_cast<Index>(out.candidate.size()) - 1; }
}  // namespace detail

/// Accepts with probability exp((r - r_max)/beta), up to `tries` times; then one more fresh draw, the best
/// seen, or an error.
struct Rejection {
  static constexpr std::string_view name = "rejection";
  static constexpr std::string_view about = "draws until one is accepted with probability e^((reward - r_max)/beta)";
  static constexpr bool ranks_only = false;
  double beta = 1;
  double r_max = 1;
  Index tries = 64;
  Fallback fallback = Fallback::fresh;
  void each_option(auto&& f) {
    f("beta", beta, "temperature of the target pi_ref e^(r/beta), > 0");
    f("r_max", r_max, "largest possible reward; a larger one is an error");
    f("tries", tries, "draws before the fallback, >= 1");
    f("fallback", fallback, "fresh, best or fail");
  }
  /// @throws DomainError for beta <= 0, tries < 1, an r_max that is not finite
  void check() const {
    require_count(static_cast<double>(tries), "tries", name);
    require<DomainError>(beta > 0, "rejection: beta > 0 expected, got ", beta);
    require<DomainError>(std::isfinite(r_max), "rejection: a finite r_max expected, got ", r_max);
  }

  /// @throws DomainError as check(), and for a reward above r_max; RunError when nothing was accepted and fallback is fail
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Decoded out;
    for (Index t = 0; t < tries; ++t) {
      const double r = detail::attempt(policy, reward, prompt, key, out);
      out.best = detail::last(out);
      if (choices(key, prompt).uniform(static_cast<std::uint64_t>(t)) < tilted_acceptance(r, r_max, beta)) return out;
    }
    require<RunError>(fallback != Fallback::fail, ErrorCode{"none_accepted"}, "rejection: none of ", tries,
                      " responses was accepted; give more tries, a larger beta, an r_max nearer to the rewards, or ",
                      "fallback=fresh");
    if (fallback == Fallback::fresh) {
      const double r = detail::attempt(policy, reward, prompt, key, out);
      tilted_acceptance(r, r_max, beta);  // it may not exceed r_max either
      out.best = detail::last(out);
    } else {
      for (std::size_t i = 0; i < out.candidate.size(); ++i)
        if (out.candidate[i].reward > out.reward() || i == 0) out.best = static_cast<Index>(i);
    }
    return out;
  }
};

/// InferenceTimePessimism: N draws fix lambda, then up to N fresh ones are tested with probability
/// relu((r - lambda)/beta)/M, M = (r_max - lambda)/beta; none accepted: draw N + 1.
/// Source: Huang et al., "Is best-of-N the best of them?", arXiv 2503.21878.
struct Pessimism {
  static constexpr std::string_view name = "pessimism";
  static constexpr std::string_view about = "InferenceTimePessimism: N draws set a bar, fresh ones are tested against it";
  static constexpr bool ranks_only = false;
  Index n = 16;
  double beta = 1;
  double r_max = 1;
  void each_option(auto&& f) {
    f("n", n, "draws for the normaliser, and draws tested, >= 1");
    f("beta", beta, "strength of the chi-square penalty, > 0");
    f("r_max", r_max, "largest possible reward; a larger one is an error");
  }
  /// @throws DomainError for n < 1, beta <= 0, an r_max that is not finite
  void check() const {
    require_count(static_cast<double>(n), "n", name);
    require<DomainError>(beta > 0, "pessimism: beta > 0 expected, got ", beta);
    require<DomainError>(std::isfinite(r_max), "pessimism: a finite r_max expected, got ", r_max);
  }

  /// @throws DomainError as check(), and for a reward above r_max
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> pilot(policy, reward, prompt, n, key.fold(0));
    pilot.extend(until_the_end);
    const std::vector<double> even(static_cast<std::size_t>(n), 1 / static_cast<double>(n));
    const double lambda = pessimism_normalizer(even, pilot.score(), beta);
    for (const double r : pilot.score()) pessimism_acceptance(r, lambda, r_max);  // none may exceed r_max
    Decoded out{.best = 0, .candidate = {}, .counters = pilot.counters()};
    for (Index t = 0; t <= n; ++t) {
      const double r = detail::attempt(policy, reward, prompt, key.fold(1), out);
      out.best = detail::last(out);
      if (choices(key, prompt).uniform(static_cast<std::uint64_t>(t)) < pessimism_acceptance(r, lambda, r_max)) return out;
    }
    return out;
  }
};
}  // namespace vbon::decode
