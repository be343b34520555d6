// vbon/decode/iad_law.hpp
//
// Iterative agent decoding as a Markov chain on (best, worst): each round draws n candidates from a kernel
// that has seen both. Strictly greater replaces the best, strictly smaller the worst.
// Source: Chakraborty et al., arXiv 2504.01931.
#pragma once
#include <span>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
/// The two responses that the next round is shown.
struct Feedback {
  Index best = -1, worst = -1;  // -1: none yet
};
/// Takes one more reward into account.
inline void update(Feedback& feedback, Index candidate, double reward, double best_reward, double worst_reward) {
  if (feedback.best < 0 || reward > best_reward) feedback.best = candidate;
  if (feedback.worst < 0 || reward < worst_reward) feedback.worst = candidate;
}
/// The feedback after each of the rewards in turn.
/// @throws DomainError for no rewards or NaN
template <class = void>
std::vector<Feedback> feedback_trace(std::span<const double> reward) {
  require_scores(reward, "iad");
  std::vector<Feedback> trace;
  Feedback now;
  const auto at = [&](Index i) { return i < 0 ? 0 : reward[static_cast<std::size_t>(i)]; };
  for (std::size_t i = 0; i < reward.size(); ++i) {
    update(now, static_cast<Index>(i), reward[i], at(now.best), at(now.worst));
    trace.push_back(now);
  }
  return trace;
}

/// Law of the returned best on K outcomes.
/// @param kernel  [best][worst] law of a candidate from round 2 on
/// @throws DomainError for rounds or candidates < 1, NaN rewards
template <class = void>
bon::Law iad_law(std::span<const double> base, std::span<const double> reward,
                 const std::vector<std::vector<std::vector<double>>>& kernel, Index rounds, Index candidates) {
  require_count(static_cast<double>(rounds), "rounds", "iad");
  require_count(static_cast<double>(candidates), "candidates", "iad");
  require_scores(reward, "iad");
  const std::size_t k = base.size();
  using Pairs = std::vector<double>;  // [best * K + worst]
  const auto draw = [&](const Pairs& before, std::span<const double> law) {
    Pairs after(k * k, 0);
    for (std::size_t state = 0; state < before.size(); ++state)
      for (std::size_t y = 0; before[state] > 0 && y < k; ++y) {
        const std::size_t best = state / k, worst = state % k;
        after[(reward[y] > reward[best] ? y : best) * k + (reward[y] < reward[worst] ? y : worst)] += before[state] * law[y];
      }
    return after;
  };
  Pairs now(k * k, 0);
  for (std::size_t y = 0; y < k; ++y) now[y * k + y] = base[y];
  for (Index c = 1; c < candidates; ++c) now = draw(now, base);
  for (Index round = 1; round < rounds; ++round) {
    Pairs next(k * k, 0);
    for (std::size_t state = 0; state < now.size(); ++state) {
      if (now[state] == 0) continue;
      Pairs here(k * k, 0);
      here[state] = now[state];
      for (Index c = 0; c < candidates; ++c) here = draw(here, kernel[state / k][state % k]);
      for (std::size_t i = 0; i < next.size(); ++i) next[i] += here[i];
    }
    now = std::move(next);
  }
  bon::Law law(k, 0);
  for (std::size_t state = 0; state < now.size(); ++state) law[state / k] += now[state];
  return law;
}
}  // namespace vbon::decode
