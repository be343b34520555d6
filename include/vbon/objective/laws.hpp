// vbon/objective/laws.hpp
//
// The laws an objective promises to obey. The registry tests run every law that is named, so a new
// objective is tested by registering it; one that names none does not compile.
#pragma once
#include <concepts>

namespace vbon::objective {
namespace law {
/// dlog_prob is the derivative of the reported loss in log_prob, everything else held fixed.
struct Surrogate {};
/// On an enumerated batch (weight = pi(y), no baseline) backward(dlog_prob) is the gradient of the loss.
struct Enumerable {};
/// Over all tuples of independent samples, the mean of backward is the gradient of the mean loss.
struct GroupTuple {};
/// Adding one constant to all log-probs of a prompt changes nothing.
struct Contrast {};
/// A strictly increasing map of all rewards changes nothing.
struct Ranks {};
/// A batch of two prompts is the average of the two batches of one (for means over pairs: where each prompt has equally
/// many).
struct PerPrompt {};
}  // namespace law

template <class... Named>
struct Laws {
  static_assert(sizeof...(Named) > 0, "an objective names at least one law");
  template <class Law>
  static constexpr bool has = (std::same_as<Law, Named> || ...);
};
}  // namespace vbon::objective
