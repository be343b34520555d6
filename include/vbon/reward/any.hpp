// vbon/reward/any.hpp
//
// A reward whose type is known only at run time: what a program gets from a name on its command line.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/reward/concept.hpp"

namespace vbon::reward {
class Any {
 public:
  static constexpr std::string_view name = "any";

  Any() = default;
  template <class R>
  requires(Reward<R> && !std::same_as<R, Any>) Any(R reward)  // NOLINT(google-explicit-constructor): every reward is one
      : kind_(R::name) {
    call_ = [held = std::make_shared<const R>(std::move(reward))](const RolloutBatch& batch) { return (*held)(batch); };
  }

  /// The name of the reward inside.
  std::string_view kind() const { return kind_; }

  /// @throws ConfigError when nothing is inside, and what the reward throws
  Array operator()(const RolloutBatch& batch) const {
    require<ConfigError>(static_cast<bool>(call_), "reward::Any: it holds no reward");
    return call_(batch);
  }

 private:
  std::string kind_;
  std::function<Array(const RolloutBatch&)> call_;
};
}  // namespace vbon::reward
