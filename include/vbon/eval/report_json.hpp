// vbon/eval/report_json.hpp
//
// An evaluation as JSON: every figure of the report for programs, and the raw rewards to compute others.
#pragma once
#include <cmath>

#include "vbon/eval/evaluate.hpp"
#include "vbon/io/json.hpp"

namespace vbon::eval {
namespace detail {
inline nlohmann::ordered_json finite(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}
inline nlohmann::ordered_json to_json(const Estimate& e) {
  return {{"value", finite(e.value)}, {"low_95", finite(e.low)}, {"high_95", finite(e.high)}};
}
inline nlohmann::ordered_json to_json(const MeanError& e) {
  return {{"value", finite(e.value)}, {"standard_error", finite(e.error)}};
}
inline nlohmann::ordered_json to_json(const Arm& arm) {
  return {{"mean_reward", to_json(arm.mean_reward)},
          {"win_rate", to_json(arm.win_rate)},
          {"length", finite(arm.length)},
          {"ended", finite(arm.ended)}};
}
}  // namespace detail

inline nlohmann::ordered_json report_json(const Evaluation& e) {
  using detail::finite, detail::to_json;
  nlohmann::ordered_json out = {{"n", e.n},
                                {"prompts", e.prompts},
                                {"samples", e.samples},
                                {"reference_samples", e.reference_samples},
                                {"win_rate", to_json(e.aligned.win_rate)},
                                {"best_of_n_win_rate", to_json(e.best_win_rate)},
                                {"worst_of_n_win_rate", to_json(e.worst_win_rate)},
                                {"kl", to_json(e.kl)},
                                {"kl_k1", to_json(e.kl_k1)},
                                {"kl_k3", to_json(e.kl_k3)},
                                {"efficiency", finite(e.efficiency)},
                                {"ideal_win_rate_at_kl", finite(e.ideal_win_rate)},
                                {"theory", {{"win_rate", e.theory_win_rate}, {"kl", e.theory_kl}}},
                                {"reference", to_json(e.reference)},
                                {"aligned", to_json(e.aligned)},
                                {"best_of_n", to_json(e.best)}};
  auto& text = out["texts"] = nlohmann::ordered_json::array();
  for (const auto& t : e.text)
    text.push_back({{"prompt", t.prompt},
                    {"reference", {{"text", t.reference}, {"reward", finite(t.reference_reward)}}},
                    {"aligned", {{"text", t.aligned}, {"reward", finite(t.aligned_reward)}}},
                    {"best_of_n", {{"text", t.best}, {"reward", finite(t.best_reward)}}}});
  const auto rewards = [](const std::vector<std::vector<double>>& groups) {
    auto all = nlohmann::ordered_json::array();
    for (const auto& group : groups) {
      auto& row = all.emplace_back(nlohmann::ordered_json::array());
      for (const double reward : group) row.push_back(nlohmann::ordered_json(io::json_of(reward)));
    }
    return all;
  };
  out["rewards"] = {{"reference", rewards(e.reference.reward)}, {"aligned", rewards(e.aligned.reward)}};
  out["win_rate_per_prompt"] = {{"aligned", e.aligned.win}, {"best_of_n", e.best.win}};
  return out;
}
}  // namespace vbon::eval
