// vbon/reward/callable.hpp
//
// Any C++ function as a reward: of one prompt and response, or of a whole batch.
#pragma once
#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
template <class F>
concept ResponseFunction = std::is_invocable_r_v<double, const F&, std::string_view, std::string_view>;
template <class F>
concept BatchFunction = std::is_invocable_r_v<Array, const F&, const RolloutBatch&>;

/// Callable reward([](std::string_view prompt, std::string_view response) { return double(response.size()); });
template <class F>
requires ResponseFunction<F> || BatchFunction<F>
class Callable {
 public:
  static constexpr std::string_view name = "callable";

  explicit Callable(F function) : function_(std::move(function)) {}

  /// @throws ShapeError, DomainError (nan_reward), and whatever the function throws
  Array operator()(const RolloutBatch& batch) const {
    if constexpr (BatchFunction<F>) {
      return checked(function_(batch), batch, name);
    } else {
      require_text(batch, name);
      Array rewards(batch.responses());
      for_each_response(
          batch, [&](Index i, const Prompt& prompt, const std::string& text) { rewards[i] = function_(prompt.text, text); });
      return checked(std::move(rewards), batch, name);
    }
  }

 private:
  F function_;
};
}  // namespace vbon::reward
