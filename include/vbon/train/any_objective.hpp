// vbon/train/any_objective.hpp
//
// Any objective behind one type, so that the trainer is compiled once and a program picks an objective by name.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "vbon/objective/anchor.hpp"
#include "vbon/objective/concept.hpp"

namespace vbon::train {
struct AnyObjective {
  std::string name;
  Needs needs;
  bool by_prompt = false;         // the loss of a batch is the mean over its prompts
  bool streams = false;           // reads several streams at once; otherwise the one that holds responses
  objective::Anchor anchor = {};  // how it moves, where the objective needs one
  std::optional<double> carried;  // from batch to batch, as it begins; none: each batch stands alone

  AnyObjective() = default;
  template <class O>
  requires Objective<O> || StreamsObjective<O> AnyObjective(
      O rule)  // NOLINT(google-explicit-constructor): an objective is one
      : name(O::name), needs(needs_of(rule)), by_prompt(is_by_prompt(rule)), streams(StreamsObjective<O>) {
    if constexpr (requires { O::anchor_rule; }) anchor = O::anchor_rule;
    if (const double* first = objective::carried_by(rule)) carried = *first;
    next_ = [rule](const Streams& input, double now) mutable {
      *objective::carried_by(rule) = now;
      return objective::carried_after(std::as_const(rule), input.policy);
    };
    run_ = [rule = std::move(rule)](const Streams& input, std::optional<double> now) mutable {
      if (now) *objective::carried_by(rule) = *now;
      if constexpr (StreamsObjective<O>) {
        return std::as_const(rule)(input);
      } else {
        const bool on_policy = input.policy.responses() > 0, cached = !on_policy && input.reference.responses() > 0;
        ObjectiveResult result = std::as_const(rule)(on_policy ? input.policy : cached ? input.reference : input.anchor);
        StreamsResult out{.loss = result.loss, .dvalue = std::move(result.dvalue), .metrics = std::move(result.metrics)};
        (on_policy ? out.policy : cached ? out.reference : out.anchor) = std::move(result.dlog_prob);
        return out;
      }
    };
  }

  explicit operator bool() const { return static_cast<bool>(run_); }
  /// With the number it begins with.
  StreamsResult call(const Streams& input) const { return run_(input, carried); }
  /// @param now  what it carries, as next() said after the batch before
  StreamsResult call(const Streams& input, std::optional<double> now) const { return run_(input, now); }
  /// What is carried after this batch.
  std::optional<double> next(const Streams& input, std::optional<double> now) const {
    if (!now) return now;
    return next_(input, *now);
  }

 private:
  std::function<StreamsResult(const Streams&, std::optional<double>)> run_;
  std::function<double(const Streams&, double)> next_;
};
}  // namespace vbon::train
