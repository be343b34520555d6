// vbon/eval/report_json.hpp
//
// An evaluation as JSON: every figure of the report for programs, and the raw rewards to compute others.
#pragma once
#include <cmath>

#include "vbon/eval/evaluate.hpp"
#include "vbon/io/json.hpp"

namespace vbon::eval {
namespace detail {
template <class Json>
Json finite(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}
template <class Json>
Json to_json(const Estimate& e) {
  return {{"value", finite<Json>(e.value)}, {"low_95", finite<Json>(e.low)}, {"high_95", finite<Json>(e.high)}};
}
template <class Json>
Json to_json(const MeanError& e) {
  return {{"value", finite<Json>(e.value)}, {"standard_error", finite<Json>(e.error)}};
}
template <class Json>
Json to_json(const Arm& arm) {
  return {{"mean_reward", to_json<Json>(arm.mean_reward)},
          {"win_rate", to_json<Json>(arm.win_rate)},
          {"length", finite<Json>(arm.length)},
          {"ended", finite<Json>(arm.ended)}};
}
}  // namespace detail

template <class Json = nlohmann::ordered_json>
Json report_json(const Evaluation& e) {
  Json out = {{"n", e.n},
              {"prompts", e.prompts},
              {"samples", e.samples},
              {"reference_samples", e.reference_samples},
              {"win_rate", detail::to_json<Json>(e.aligned.win_rate)},
              {"best_of_n_win_rate", detail::to_json<Json>(e.best_win_rate)},
              {"worst_of_n_win_rate", detail::to_json<Json>(e.worst_win_rate)},
              {"kl", detail::to_json<Json>(e.kl)},
              {"kl_k1", detail::to_json<Json>(e.kl_k1)},
              {"kl_k3", detail::to_json<Json>(e.kl_k3)},
              {"efficiency", detail::finite<Json>(e.efficiency)},
              {"ideal_win_rate_at_kl", detail::finite<Json>(e.ideal_win_rate)},
              {"theory", {{"win_rate", e.theory_win_rate}, {"kl", e.theory_kl}}},
              {"reference", detail::to_json<Json>(e.reference)},
              {"aligned", detail::to_json<Json>(e.aligned)},
              {"best_of_n", detail::to_json<Json>(e.best)}};
  auto& text = out["texts"] = Json::array();
  for (const auto& t : e.text)
    text.push_back({{"prompt", t.prompt},
                    {"reference", {{"text", t.reference}, {"reward", detail::finite<Json>(t.reference_reward)}}},
                    {"aligned", {{"text", t.aligned}, {"reward", detail::finite<Json>(t.aligned_reward)}}},
                    {"best_of_n", {{"text", t.best}, {"reward", detail::finite<Json>(t.best_reward)}}}});
  const auto rewards = [](const std::vector<std::vector<double>>& groups) {
    auto all = Json::array();
    for (const auto& group : groups) {
      auto& row = all.emplace_back(Json::array());
      for (const double reward : group) row.push_back(Json(io::json_of(reward)));
    }
    return all;
  };
  out["rewards"] = {{"reference", rewards(e.reference.reward)}, {"aligned", rewards(e.aligned.reward)}};
  out["win_rate_per_prompt"] = {{"aligned", e.aligned.win}, {"best_of_n", e.best.win}};
  return out;
}
}  // namespace vbon::eval
