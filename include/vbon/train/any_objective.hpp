// vbon/train/any_objective.hpp
//
// Any objective behind one type, so that the trainer is compiled once and a program picks an objective by name.
#pragma once
#include <functional>
#include <string>
#include <utility>

#include "vbon/objective/anchor.hpp"
#include "vbon/objective/concept.hpp"

namespace vbon::train {
struct AnyObjective {
  std::string name;
  Needs needs;
  bool streams = false;           // reads several streams at once; otherwise the one that holds responses
  objective::Anchor anchor = {};  // how it moves, where the objective needs one
  std::function<StreamsResult(const Streams&)> call;

  AnyObjective() = default;
  template <class O>
  requires Objective<O> || StreamsObjective<O> AnyObjective(
      O rule)  // NOLINT(google-explicit-constructor): an objective is one
      : name(O::name), needs(needs_of(rule)), streams(StreamsObjective<O>) {
    if constexpr (requires { O::anchor_rule; }) anchor = O::anchor_rule;
    call = [rule = std::move(rule)](const Streams& input) {
      if constexpr (StreamsObjective<O>) {
        return rule(input);
      } else {
        const bool on_policy = input.policy.responses() > 0, cached = !on_policy && input.reference.responses() > 0;
        ObjectiveResult result = rule(on_policy ? input.policy : cached ? input.reference : input.anchor);
        StreamsResult out{.loss = result.loss, .dvalue = std::move(result.dvalue), .metrics = std::move(result.metrics)};
        (on_policy ? out.policy : cached ? out.reference : out.anchor) = std::move(result.dlog_prob);
        return out;
      }
    };
  }
};
}  // namespace vbon::train
