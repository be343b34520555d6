// vbon/decode/controlled_law.hpp
//
// Controlled decoding on two-token problems, exactly: the next token follows softmax(log p + V/beta). With
// the soft value V = beta log E[e^(r/beta) | prefix] the whole sequence follows pi_ref e^(r/beta)/Z; the
// mean value is what trained scorers give. Blockwise: best of K blocks by V. Source: Mudgal et al.,
// arXiv 2310.17022.
#pragma once
#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/pick.hpp"

namespace vbon::decode {
enum class PrefixValue { soft, mean };
constexpr std::array<std::string_view, 2> option_names(PrefixValue) { return {"soft", "mean"}; }

/// V of a prefix from the law and the rewards of what may follow.
/// @throws DomainError for beta <= 0
template <class = void>
double prefix_value(PrefixValue kind, std::span<const double> probability, std::span<const double> reward, double beta) {
  require<DomainError>(beta > 0, "controlled_decoding: beta > 0 expected, got ", beta);
  if (kind == PrefixValue::mean) return bon::mean_under(probability, reward);
  std::vector<double> term;
  for (std::size_t k = 0; k < reward.size(); ++k) term.push_back(std::log(probability[k]) + reward[k] / beta);
  return beta * log_sum_exp(term);
}

/// First tokens [K], second tokens after each of them [K][L], rewards [K][L].
struct TwoStep {
  std::span<const double> first;
  const std::vector<std::vector<double>>& second;
  const std::vector<std::vector<double>>& reward;
};
struct TwoStepLaw {
  std::vector<double> value;  // of each first token
  bon::Law first;
  std::vector<bon::Law> second, joint;
};
namespace detail {
template <class Choose>
TwoStepLaw two_step_law(const TwoStep& problem, std::vector<double> value, const Choose& choose) {
  TwoStepLaw law{std::move(value), {}, {}, {}};
  law.first = choose(problem.first, law.value);
  for (std::size_t k = 0; k < law.first.size(); ++k) {
    law.second.push_back(choose(problem.second[k], problem.reward[k]));
    law.joint.push_back(law.second.back());
    for (double& mass : law.joint.back()) mass *= law.first[k];
  }
  return law;
}
template <class = void>
std::vector<double> first_values(const TwoStep& problem, PrefixValue kind, double beta) {
  std::vector<double> value;
  for (std::size_t k = 0; k < problem.first.size(); ++k)
    value.push_back(prefix_value(kind, problem.second[k], problem.reward[k], beta));
  return value;
}
}  // namespace detail

template <class = void>
TwoStepLaw controlled_token_law(const TwoStep& problem, PrefixValue kind, double beta) {
  return detail::two_step_law(
      problem, detail::first_values(problem, kind, beta),
      [beta](const auto& probability, const auto& score) { return bon::tilted_law(probability, score, beta); });
}
/// @throws DomainError for K < 1
template <class = void>
TwoStepLaw controlled_block_law(const TwoStep& problem, Index k) {
  require_count(static_cast<double>(k), "K", "controlled_decoding");
  return detail::two_step_law(problem, detail::first_values(problem, PrefixValue::mean, 1),
                              [k](const auto& probability, const auto& score) {
                                return bon::best_of_n_law(probability, score, static_cast<double>(k));
                              });
}
}  // namespace vbon::decode
