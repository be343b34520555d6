// vbon/decode/iad.hpp
//
// Iterative agent decoding: rounds of n candidates, where each round is shown the best and the worst
// response so far. A round that ignores them makes it best-of-(rounds n). Source: Chakraborty et al.,
// arXiv 2504.01931. Exact law: iad_law.hpp.
#pragma once
#include <functional>
#include <optional>

#include "vbon/decode/iad_law.hpp"
#include "vbon/decode/particles.hpp"

namespace vbon::decode {
/// The prompt of a later round.
using Propose = std::function<Prompt(const Prompt&, const Candidate& best, const Candidate& worst)>;

/// Shows both responses in words before the prompt comes again.
inline Prompt show_both(const Prompt& prompt, const Candidate& best, const Candidate& worst) {
  Prompt next = prompt;
  next.text = prompt.text + "\nA good answer: " + best.text + "\nA bad answer: " + worst.text + "\nA better answer: ";
  next.tokens.clear();
  return next;
}

struct Iad {
  static constexpr std::string_view name = "iad";
  static constexpr std::string_view about = "rounds of N draws, each shown the best and the worst response so far";
  static constexpr bool ranks_only = true;
  Index rounds = 2;
  Index n = 4;
  Propose propose = show_both;
  void each_option(auto&& f) {
    f("rounds", rounds, "rounds, >= 1");
    f("n", n, "candidates of a round, >= 1");
  }
  /// @throws DomainError for rounds or n < 1
  void check() const {
    require_count(static_cast<double>(rounds), "rounds", name);
    require_count(static_cast<double>(n), "n", name);
  }

  /// Where a later round no longer fits the policy's context the best so far is returned, with a note.
  /// @throws DomainError as check(), and for a NaN reward
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Decoded out;
    Feedback feedback;
    const auto at = [&](Index i) -> const Candidate& { return out.candidate[static_cast<std::size_t>(i)]; };
    for (Index round = 0; round < rounds; ++round) {
      const Prompt shown = round == 0 ? prompt : propose(prompt, at(feedback.best), at(feedback.worst));
      std::optional<Particles<P, R>> particles;
      try {
        particles.emplace(policy, reward, shown, n, key.fold(static_cast<std::uint64_t>(round)));
      } catch (const DomainError& error) {
        // What the rounds before found stays good; that there were fewer of them is said.
        if (round == 0 || error.code() != "prompt_too_long") throw;
        out.note =
            message("iad: round ", round + 1, " of ", rounds, " did not fit and the best before it is returned: with ",
                    "the two responses it shows, ", error.what(), "; shorter responses help too");
        break;
      }
      particles->extend(until_the_end);
      particles->score();
      const Decoded drawn = particles->decoded(0);
      out.counters += drawn.counters;
      for (const Candidate& candidate : drawn.candidate) {
        out.candidate.push_back(candidate);
        const double best = feedback.best < 0 ? 0 : at(feedback.best).reward,
                     worst = feedback.worst < 0 ? 0 : at(feedback.worst).reward;
        update(feedback, static_cast<Index>(out.candidate.size()) - 1, candidate.reward, best, worst);
      }
    }
    out.best = feedback.best;
    return out;
  }
};
}  // namespace vbon::decode
