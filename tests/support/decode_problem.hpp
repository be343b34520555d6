// A tabular problem for decoders: run one many times, count what it returns, hold that against its law.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "support/chi_square.hpp"
#include "support/tabular_problem.hpp"
#include "vbon/decode/concept.hpp"

namespace vbon::test {
inline constexpr int runs = 100000;

/// Small settings, so that every decoder has several rounds on responses of at most 4 tokens.
template <class D>
D small(D decoder) {
  decoder.each_option([](std::string_view name, auto& value, std::string_view) {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, Index>) {
      if (name == "n" || name == "particles") value = 4;
      if (name == "children" || name == "layers") value = 2;
      if (name == "segment" || name == "block" || name == "checkpoint") value = 1;
    }
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(value)>, double>)
      if (name == "r_max") value = 10;
  });
  return decoder;
}

/// The reward of a problem as a Reward; prefixes get a value of their own.
struct TableReward {
  static constexpr std::string_view name = "table";
  const TabularProblem* problem;
  std::function<double(std::span<const TokenId>)> of_prefix = {};

  Array operator()(const RolloutBatch& batch) const {
    Array value(batch.responses());
    for (Index i = 0; i < value.size(); ++i) {
      const auto tokens = batch.response(i);
      value[i] = problem->reference.complete(tokens) ? problem->reward_of(batch.prompt[0].id, tokens) : of_prefix(tokens);
    }
    return value;
  }
};

/// A table, its reward, and what a decoder returns over many runs.
struct DecodeProblem {
  TabularProblem problem;
  TableReward reward;
  std::vector<double> probability, rewards;

  explicit DecodeProblem(policy::TabularShape shape, std::uint64_t seed, Index ties = 0)
      : problem(TabularProblem::random(shape, seed, ties)), reward{&problem, {}}, probability(), rewards(problem.reward[0]) {
    const Array weight = problem.reference.enumerate().weight;
    probability = {weight.begin(), weight.end()};
  }
  DecodeProblem(const DecodeProblem&) = delete;

  template <class D>
  std::vector<double> counts(const D& decoder) {
    std::vector<double> count(probability.size(), 0);
    const Prompt prompt = problem.reference.prompts()[0];
    for (int run = 0; run < runs; ++run) {
      const Decoded out = decoder(problem.reference, reward, prompt, RngKey{17, 0}.fold(static_cast<std::uint64_t>(run)));
      ++count[static_cast<std::size_t>(problem.reference.outcome(out.answer().token))];
    }
    return count;
  }
  double largest_reward() const { return *std::max_element(rewards.begin(), rewards.end()); }
};
}  // namespace vbon::test
