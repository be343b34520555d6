// vbon/decode/speculative_rejection.hpp
//
// Best-of-N that stops hopeless responses early: every `checkpoint` tokens all live responses are scored
// and the worst share alpha is dropped. alpha = 0 is best-of-N. Source: Sun et al., arXiv 2410.20290.
#pragma once
#include "vbon/decode/particles.hpp"
#include "vbon/decode/prune.hpp"

namespace vbon::decode {
struct SpeculativeRejection {
  static constexpr std::string_view name = "speculative_rejection";
  static constexpr std::string_view about = "best-of-N that drops the worst share of the responses at every checkpoint";
  static constexpr bool ranks_only = true;
  Index n = 16;
  double alpha = 0.5;
  Index checkpoint = 16;
  void each_option(auto&& f) {
    f("n", n, "responses started, >= 1");
    f("alpha", alpha, "share dropped at a checkpoint, in [0, 1)");
    f("checkpoint", checkpoint, "tokens between checkpoints, >= 1");
  }
  /// @throws DomainError for settings outside the ranges above
  void check() const {
    require_count(static_cast<double>(n), "n", name);
    require_count(static_cast<double>(checkpoint), "checkpoint", name);
    require_alpha(alpha);
  }

  /// @throws DomainError as check(), and for a score that is not finite
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> particles(policy, reward, prompt, n, key);
    return steer(
        particles, [&](auto& s) { s.extend(checkpoint); }, by_reward,
        [&](auto& s) -> std::optional<Index> {
          if (!s.all_ended()) s.keep(prune(s.score(), alpha));
          if (!s.all_ended()) return std::nullopt;
          return best_index(s.score());
        });
  }
};
}  // namespace vbon::decode
