// vbon/reward/ensemble.hpp
//
// Several rewards as one: their weighted sum, or the least of them (a response must please all), or the
// mean less a multiple of their standard deviation (Coste et al., arXiv 2310.02743).
#pragma once
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/reward/any.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
enum class Combine { sum, least, cautious_mean };

struct EnsembleMember {
  Any reward;
  double weight = 1;  // multiplies the reward before they are combined
};

struct Ensemble {
  static constexpr std::string_view name = "ensemble";
  std::vector<EnsembleMember> members = {};
  Combine combine = Combine::sum;
  double caution = 1;  // for cautious_mean: standard deviations to subtract

  /// @throws ConfigError without members, DomainError (nan_reward), and what the members throw
  template <class Array = vbon::Array>
  Array operator()(const RolloutBatch& batch) const {
    require<ConfigError>(!members.empty(), "reward ensemble: at least one member expected");
    std::vector<Array> value;
    for (const EnsembleMember& member : members) {
      value.push_back(member.reward(batch));
      value.back() *= member.weight;
    }
    Array total = value[0];
    for (std::size_t k = 1; k < value.size(); ++k)
      total = combine == Combine::least ? total.min(value[k]).eval() : (total + value[k]).eval();
    if (combine == Combine::cautious_mean) {
      const auto count = static_cast<double>(value.size());
      total /= count;
      Array squares = Array::Zero(total.size());
      for (const Array& v : value) squares += (v - total).square();
      total -= caution * (squares / count).sqrt();
    }
    return checked(std::move(total), batch, name);
  }
};
}  // namespace vbon::reward
