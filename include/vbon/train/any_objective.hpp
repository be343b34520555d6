// vbon/train/any_objective.hpp
//
// Any objective behind one type, so that the trainer is compiled once and a program picks an objective by name.
#pragma once
#include <functional>
#include <string>
#include <utility>

#include "vbon/objective/concept.hpp"

namespace vbon::train {
struct AnyObjective {
  std::string name;
  Needs needs;
  bool streams = false;  // reads several streams at once; otherwise the one that holds responses
  std::function<StreamsResult(const Streams&)> call;

  AnyObjective() = default;
  template <class O>
  requires Objective<O> || StreamsObjective<O> AnyObjective(
      O rule)  // NOLINT(google-explicit-constructor): an objective is one
      : name(O::name), needs(O::needs), streams(StreamsObjective<O>) {
    call = [rule = std::move(rule)](const Streams& input) {
      if constexpr (StreamsObjective<O>) {
        return rule(input);
      } else {
        const bool on_policy = input.policy.responses() > 0;
        ObjectiveResult result = rule(on_policy ? input.policy : input.reference);
        StreamsResult out{.loss = result.loss, .dvalue = std::move(result.dvalue), .metrics = std::move(result.metrics)};
        (on_policy ? out.policy : out.reference) = std::move(result.dlog_prob);
        return out;
      }
    };
  }
};
}  // namespace vbon::train
