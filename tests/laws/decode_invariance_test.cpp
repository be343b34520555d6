// Runs over the registry: which decoders see more of a reward than its order. `ranks_only` is their word for it.
#include "support/catch.hpp"
#include "support/decode_problem.hpp"
#include "support/increasing_maps.hpp"
#include "support/options.hpp"
#include "support/toy_decoder.hpp"
#include "vbon/bon/finite_law.hpp"
#include "vbon/decode/soft_bon_law.hpp"
#include "vbon/objective/wind_game.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
struct MappedReward {
  static constexpr std::string_view name = "mapped";
  const TableReward& reward;
  Map map;
  Array operator()(const RolloutBatch& batch) const { return reward(batch).unaryExpr(map); }
};

struct RankProblem : DecodeProblem {
  explicit RankProblem(Index ties = 0) : DecodeProblem({.prompts = 3, .vocabulary = 3, .length = 4, .eos = 0}, 43, ties) {
    // Differs between prefixes of one length: those are what is dropped or kept.
    reward.of_prefix = [](std::span<const TokenId> tokens) {
      return RngKey{31, tokens.size()}.normal(static_cast<std::uint64_t>(tokens.back()));
    };
  }
  template <class D>
  Decoded run(const D& decoder, std::uint64_t seed, const auto& scored_by) {
    return decoder(problem.reference, scored_by, problem.reference.prompts()[0], {.seed = seed, .stream = 0});
  }
  /// True when the map changes what the decoder returns under this key.
  template <class D>
  bool moved(const D& decoder, std::uint64_t seed, Map map) {
    const Decoded plain = run(decoder, seed, reward), mapped = run(decoder, seed, MappedReward{reward, map});
    return plain.best != mapped.best || plain.answer().token != mapped.answer().token;
  }
};

/// Small, and with feedback that the next round depends on where there is any.
template <class D>
D attentive(const D& entry) {
  D decoder = small(entry);
  if constexpr (requires { decoder.propose; })
    decoder.propose = [](const Prompt&, const decode::Candidate& best, const decode::Candidate& worst) {
      return Prompt{.id = (best.token.size() + 2 * worst.token.size()) % 3, .text = {}, .tokens = {}};
    };
  return decoder;
}
}  // namespace

TEST_CASE("a decoder that only ranks returns the same response under every strictly increasing map", "[decode][laws]") {
  const Index ties = GENERATE(0, 4);
  const bool worst = GENERATE(false, true);
  for_each_entry<Decoders>([&]<class D>(const D& entry) {
    if constexpr (D::ranks_only) {
      D decoder = attentive(entry);
      if (worst && !set_option(decoder, "worst", true)) return;
      DYNAMIC_SECTION(D::name) {
        RankProblem s(ties);
        for (std::uint64_t seed = 1; seed <= 25; ++seed)
          for (const Map map : increasing_maps) CHECK_FALSE(s.moved(decoder, seed, map));
      }
    }
  });
}

TEST_CASE("of every other decoder some increasing map changes the response", "[decode][laws]") {
  for_each_entry<Decoders>([]<class D>(const D& entry) {
    if constexpr (!D::ranks_only) DYNAMIC_SECTION(D::name) {
        RankProblem s;
        bool moved = false;
        for (std::uint64_t seed = 1; seed <= 100 && !moved; ++seed)
          for (const Map map : increasing_maps) moved = moved || s.moved(attentive(entry), seed, map);
        CHECK(moved);
      }
  });
}

TEST_CASE("the exact laws of ranks do not change by a bit either, those of tilted rewards do", "[decode][laws]") {
  const Index ties = GENERATE(0, 3);
  const DecodeProblem s({.vocabulary = 6}, 47, ties);
  const auto& p = s.probability;
  using Rewards = std::vector<double>;
  for (const Map map : increasing_maps) {
    Rewards mapped = s.rewards;
    std::transform(mapped.begin(), mapped.end(), mapped.begin(), map);
    const auto kept = [&](const auto& law) { return law(mapped) == law(s.rewards); };
    CHECK(kept([&](const Rewards& r) { return bon::best_of_n_law(p, r, 3.5); }));
    CHECK(kept([&](const Rewards& r) { return bon::worst_of_n_law(p, r, 4); }));
    CHECK(kept([&](const Rewards& r) { return bon::best_of_poisson_law(p, r, 2); }));
    const auto wind = [&](objective::PreferenceRule rule) {
      return [&p, rule](const Rewards& r) { return objective::WindGame::from_rewards(p, r, rule).step(p, 0.3, 0.2); };
    };
    CHECK(kept(wind(objective::PreferenceRule::step)));
    CHECK_FALSE(kept(wind(objective::PreferenceRule::bt)));
    CHECK_FALSE(kept([&](const Rewards& r) { return decode::soft_best_of_n_law(p, r, 4, 0.5); }));
    CHECK_FALSE(kept([&](const Rewards& r) { return bon::tilted_law(p, r, 0.5); }));
  }
}
