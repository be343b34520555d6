// vbon/decode/treebon.hpp
//
// TreeBoN: grow n segments, keep the n/c best by a partial score, let each have c continuations, and so on
// by layers; return the best final reward. One layer is best-of-n, c = 1 is best-of-n over n chains.
// Source: Qiu et al., arXiv 2410.16033. Exact two-layer law: tree_law.hpp.
#pragma once
#include <string>

#include "vbon/decode/particles.hpp"
#include "vbon/decode/tree_law.hpp"

namespace vbon::decode {
/// Partial score: the reward of what there is so far.
struct RewardSoFar {
  // For programs: the place of a DPO policy, with which they run TreeBon<ImplicitRewardSoFar<P>> instead.
  std::string dpo = {};
  TokenWeight weight = TokenWeight::inverse_length;
  void each_option(auto&& f) {
    f("dpo", dpo, "a model trained by DPO: its implicit reward scores segments; empty: the reward does");
    f("weight", weight, "of a token in the implicit reward: inverse_length, uniform or mean");
  }
  /// @throws ConfigError for a weight without a DPO policy
  void check() const {
    require<ConfigError>(!dpo.empty() || weight == TokenWeight::inverse_length,
                         "treebon: weight is of the implicit reward of a DPO policy, which is not given; give dpo too");
  }

  template <class P, class R>
  std::vector<double> operator()(Particles<P, R>& particles) const {
    require<ConfigError>(dpo.empty(), "treebon: dpo = '", dpo,
                         "' is the name of a policy that a program opens; in code use ", "TreeBon<ImplicitRewardSoFar<P>>");
    return particles.score();
  }
};
/// Partial score: the implicit reward of a DPO policy against the policy that samples. Parents are chosen by order alone, so
/// that no beta > 0 changes them.
template <class Scorer>
struct ImplicitRewardSoFar {
  Scorer* dpo = nullptr;
  double beta = 1;
  TokenWeight weight = TokenWeight::inverse_length;

  template <class P, class R>
  std::vector<double> operator()(Particles<P, R>& particles) const {
    require<ConfigError>(dpo != nullptr, "treebon: an implicit reward needs its DPO policy");
    RolloutBatch batch;
    batch.add_prompt(particles.prompt());
    for (const policy::Draft& draft : particles.drafts()) batch.add_response(draft.token, draft.finished);
    const Array log_prob = dpo->log_prob(batch);
    std::vector<double> score;
    for (std::size_t i = 0; i < particles.drafts().size(); ++i) {
      const std::span<const double> own(log_prob.data() + batch.offset[i], particles.drafts()[i].token.size());
      score.push_back(implicit_reward(own, particles.drafts()[i].log_prob, beta, weight));
    }
    return score;
  }
};

template <class PartialScore = RewardSoFar>
struct TreeBon {
  static constexpr std::string_view name = "treebon";
  static constexpr std::string_view about = "a tree of segments: the best by the reward so far branch, layer by layer";
  static constexpr bool ranks_only = true;
  Index n = 16;
  Index children = 4;
  Index layers = 4;
  Index segment = 8;
  PartialScore partial = {};
  void each_option(auto&& f) {
    f("n", n, "width of the tree, a multiple of children");
    f("children", children, "continuations of each kept segment, >= 1");
    f("layers", layers, "layers, >= 1; the last one runs to the end");
    f("segment", segment, "tokens of a layer, >= 1");
    if constexpr (requires { partial.each_option(f); }) partial.each_option(f);
  }
  /// @throws DomainError for settings outside the ranges above, and what the partial score throws of its own
  void check() const {
    require_tree(n, children);
    require_count(static_cast<double>(layers), "layers", name);
    require_count(static_cast<double>(segment), "segment", name);
    if constexpr (requires { partial.check(); }) partial.check();
  }

  /// @throws DomainError as check(), and for a NaN score
  template <SteppedPolicy P, Reward R>
  Decoded operator()(P& policy, const R& reward, const Prompt& prompt, RngKey key) const {
    check();
    Particles<P, R> particles(policy, reward, prompt, n, key);
    Index layer = 1;
    const auto extend = [&](auto& s) { s.extend(layer == layers ? until_the_end : segment); };
    return steer(
        particles, extend, [](auto&) {},
        [&](auto& s) -> std::optional<Index> {
          if (layer == layers || s.all_ended()) return best_index(s.score());
          ++layer;
          s.keep(tree_children(partial(s), children));
          return std::nullopt;
        });
  }
};
}  // namespace vbon::decode
