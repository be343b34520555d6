// vbon/decode/smc_law.hpp
//
// The exact law of SMC with multinomial resampling on a small autoregressive table, by enumerating every
// particle and every ancestor; the proposal is the target's own next-token law.
#pragma once
#include <functional>
#include <map>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/resample.hpp"

namespace vbon::decode {
using Tokens = std::vector<Index>;

struct SmcProblem {
  std::function<std::vector<double>(const Tokens& prefix)> next_law;  // [V]
  std::function<double(const Tokens& prefix)> twist;                  // psi > 0 of non-empty prefixes
  Index particles = 2;
  Index length = 2;
  double ess_threshold = 0.5;
};

class SmcLaw {
 public:
  template <class = void>
  explicit SmcLaw(SmcProblem problem) : problem_(std::move(problem)) {
    require_count(static_cast<double>(problem_.particles), "particles", "smc");
    require_count(static_cast<double>(problem_.length), "length", "smc");
    const auto n = static_cast<std::size_t>(problem_.particles);
    step({std::vector<Tokens>(n), std::vector<double>(n, 0.0)}, 0, 1);
  }
  /// Probability of each returned sequence.
  const std::map<Tokens, double>& law() const { return law_; }
  /// Mean of the estimate of Z over all runs.
  double mean_estimate() const { return estimate_; }

 private:
  struct State {
    std::vector<Tokens> tokens;
    std::vector<double> log_weight;
  };

  template <class = void>
  void step(State state, Index done, double probability) {
    if (done == problem_.length) {
      const std::vector<double> zero(state.log_weight.size(), 0.0);
      const WeightStep last = weight_step(state.log_weight, zero, 0);
      estimate_ += probability * std::exp(last.log_mean_weight);
      for (std::size_t i = 0; i < state.tokens.size(); ++i) law_[state.tokens[i]] += probability * last.normalized[i];
      return;
    }
    grow(std::move(state), 0, done, std::vector<double>(static_cast<std::size_t>(problem_.particles)), probability);
  }
  /// Extends particle i by every token, then the next particle.
  template <class = void>
  void grow(State state, std::size_t i, Index done, std::vector<double> increment, double probability) {
    if (i == state.tokens.size()) {
      const WeightStep weights =
          weight_step(state.log_weight, increment, done + 1 < problem_.length ? problem_.ess_threshold : 0);
      state.log_weight = weights.log_weight_after;
      if (!weights.resample) return step(std::move(state), done + 1, probability);
      return select(state, {}, weights.normalized, done, probability);
    }
    const std::vector<double> law = problem_.next_law(state.tokens[i]);
    const double before = state.tokens[i].empty() ? 0 : std::log(problem_.twist(state.tokens[i]));
    for (std::size_t token = 0; token < law.size(); ++token) {
      if (law[token] == 0) continue;
      State longer = state;
      longer.tokens[i].push_back(static_cast<Index>(token));
      increment[i] = std::log(problem_.twist(longer.tokens[i])) - before;
      grow(std::move(longer), i + 1, done, increment, probability * law[token]);
    }
  }
  /// Draws the next ancestor in every way.
  template <class = void>
  void select(const State& state, std::vector<Tokens> chosen, const std::vector<double>& weight, Index done,
              double probability) {
    if (chosen.size() == state.tokens.size()) return step({std::move(chosen), state.log_weight}, done + 1, probability);
    for (std::size_t i = 0; i < weight.size(); ++i) {
      if (weight[i] == 0) continue;
      std::vector<Tokens> more = chosen;
      more.push_back(state.tokens[i]);
      select(state, std::move(more), weight, done, probability * weight[i]);
    }
  }

  SmcProblem problem_;
  std::map<Tokens, double> law_;
  double estimate_ = 0;
};
}  // namespace vbon::decode
