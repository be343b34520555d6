// A decoder that the library does not have, appended to its registry: tests of every decoder run over this list, so they
// also show that an entry is taken up by being there.
#pragma once
#include "vbon/decode/registry.hpp"

namespace vbon::test {
/// The second best of N draws.
struct RunnerUp {
  static constexpr std::string_view name = "runner_up";
  static constexpr std::string_view about = "the second best of N draws";
  static constexpr bool ranks_only = true;
  Index n = 4;
  void each_option(auto&& f) { f("n", n, "responses drawn, >= 2"); }
  void check() const { require<DomainError>(n >= 2, "runner_up: n >= 2 expected, got ", n); }

  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    decode::Particles<P, R> particles(policy, reward, prompt, n, key);
    return decode::steer(particles, decode::whole_response, decode::by_reward,
                         [](auto& s) { return std::optional(decode::best_indices(s.score(), 2).back()); });
  }
};
using Decoders = decltype(std::tuple_cat(decode::Registry{}, std::tuple<RunnerUp>{}));
}  // namespace vbon::test
