// vbon/decode/tree_law.hpp
//
// TreeBoN's choices, its partial score, and its exact law with two layers. Source: Qiu et al., "TreeBoN",
// arXiv 2410.16033; the weight of token k counts the token itself, 1/(k + 1), so that the first is finite.
#pragma once
#include <array>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "vbon/decode/pick.hpp"

namespace vbon::decode {
enum class TokenWeight { inverse_length, uniform, mean };
constexpr std::array<std::string_view, 3> option_names(TokenWeight) { return {"inverse_length", "uniform", "mean"}; }

/// beta sum_k w_k (log pi_dpo - log pi_ref)(y_k).
/// @throws ShapeError when sizes differ; DomainError for no tokens
inline double implicit_reward(std::span<const double> log_prob, std::span<const double> ref_log_prob, double beta,
                              TokenWeight weight) {
  require<DomainError>(!log_prob.empty(), ErrorCode{"empty_response"}, "treebon: at least one token expected, got none");
  require<ShapeError>(log_prob.size() == ref_log_prob.size(), "treebon: ", log_prob.size(),
                      " reference log-probs expected, got ", ref_log_prob.size());
  double sum = 0;
  for (std::size_t k = 0; k < log_prob.size(); ++k) {
    const double ratio = log_prob[k] - ref_log_prob[k];
    sum += weight == TokenWeight::inverse_length ? ratio / static_cast<double>(k + 1) : ratio;
  }
  return beta * (weight == TokenWeight::mean ? sum / static_cast<double>(log_prob.size()) : sum);
}

/// @throws DomainError unless nodes >= 1 is a multiple of children >= 1
inline void require_tree(Index nodes, Index children) {
  require<DomainError>(children >= 1, "treebon: children >= 1 expected, got ", children);
  require<DomainError>(nodes >= 1 && nodes % children == 0, "treebon: n >= 1, a multiple of children = ", children,
                       ", expected, got ", nodes);
}
/// The nodes/children best partial scores, best first, each named `children` times.
template <class = void>
std::vector<Index> tree_children(std::span<const double> score, Index children) {
  require_scores(score, "treebon");
  require_tree(static_cast<Index>(score.size()), children);
  std::vector<Index> parent;
  for (const Index best : best_indices(score, static_cast<Index>(score.size()) / children))
    parent.insert(parent.end(), static_cast<std::size_t>(children), best);
  return parent;
}

/// Law of (first segment, second segment) with n roots and c children, where the partial score depends on
/// the first segment alone. Enumerates K^n roots.
/// @param second  [K][L] law of the second segment after each first one; reward likewise
template <class = void>
std::vector<std::vector<double>> two_layer_law(std::span<const double> first, const std::vector<std::vector<double>>& second,
                                               std::span<const double> partial_score,
                                               const std::vector<std::vector<double>>& reward, Index nodes, Index children) {
  require_tree(nodes, children);
  const std::size_t outcomes = first.size();
  std::map<std::vector<Index>, double> family;  // first segments of all children in order -> probability
  std::vector<Index> root(static_cast<std::size_t>(nodes), 0);
  for (bool more = true; more;) {
    double probability = 1;
    std::vector<double> score;
    for (const Index k : root) {
      probability *= first[static_cast<std::size_t>(k)];
      score.push_back(partial_score[static_cast<std::size_t>(k)]);
    }
    std::vector<Index> segments = tree_children(score, children);
    for (Index& node : segments) node = root[static_cast<std::size_t>(node)];
    family[segments] += probability;
    std::size_t place = 0;
    while (place < root.size() && ++root[place] == static_cast<Index>(outcomes)) root[place++] = 0;
    more = place < root.size();
  }
  std::vector<std::vector<double>> law;
  for (const auto& row : second) law.emplace_back(row.size(), 0.0);
  // Child i with reward r is returned when all before it lie below r and none after it above.
  const auto mass = [&](Index segment, double r, bool strict) {
    double sum = 0;
    const auto k = static_cast<std::size_t>(segment);
    for (std::size_t l = 0; l < second[k].size(); ++l)
      sum += reward[k][l] < r || (!strict && reward[k][l] == r) ? second[k][l] : 0;
    return sum;
  };
  for (const auto& [segments, probability] : family)
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const auto k = static_cast<std::size_t>(segments[i]);
      for (std::size_t l = 0; l < second[k].size(); ++l) {
        double wins = probability * second[k][l];
        for (std::size_t j = 0; j < segments.size(); ++j)
          if (j != i) wins *= mass(segments[j], reward[k][l], j < i);
        law[k][l] += wins;
      }
    }
  return law;
}
}  // namespace vbon::decode
