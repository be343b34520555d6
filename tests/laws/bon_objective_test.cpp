// Identities of the objective J(p) = -KL(p || bon), its bounds and its gradients.
#include "support/random_law.hpp"
#include "support/softmax_tree.hpp"
#include "vbon/bon.hpp"
#include "vbon/eval/kl.hpp"

namespace vbon::test {
using namespace bon;

TEST_CASE("log N + L_F <= J <= log N + L_F<=, and L_mid is the tighter bound from N = 2 on", "[laws][objective]") {
  const Index outcomes = 12, levels = GENERATE(Index{2}, Index{5}, Index{12});
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{8}));
  const double n = GENERATE(1.0, 1.5, 2.0, 4.0, 64.0);
  const auto problem = random_law(outcomes, levels, seed);
  const auto log_p = GENERATE(0, 1) ? random_log_policy(outcomes, seed) : best_of_n(problem.law, n);
  const double j = exact_objective(log_p, problem.law, n), slack = 1e-11 * (1 + std::abs(j));
  const auto bound = [&](Side side) { return std::log(n) + surrogate(log_p, problem.law, n, side); };
  CAPTURE(levels, seed, n);
  CHECK(bound(Side::strict) <= j + slack);
  CHECK(j <= bound(Side::weak) + slack);
  CHECK(bound(Side::strict) <= bound(Side::mid) + slack);
  if (n >= 2 || n == 1) CHECK(bound(Side::mid) <= j + slack);
  if (n == 1.5) CHECK(bound(Side::mid) >= j - slack);
  CHECK(j <= slack);
}

TEST_CASE("the best surrogate value is log Z, at ref G^(N-1) / Z; Z_F <= 1/N <= Z_F<=", "[laws][objective]") {
  const auto problem = random_law(9, GENERATE(Index{3}, Index{9}), GENERATE(1u, 2u, 3u));
  const double n = GENERATE(1.5, 2.0, 6.0, 30.0);
  const auto side = GENERATE(Side::strict, Side::mid, Side::weak);
  const double log_z = log_normaliser(problem.law, n, side);
  const auto best = surrogate_optimum(problem.law, n, side);
  CHECK(log_sum_exp(best) == Approx(0).margin(1e-12));
  CHECK(surrogate(best, problem.law, n, side) == Approx(log_z).margin(1e-11));
  for (std::uint64_t seed = 50; seed < 60; ++seed) {
    const double other = surrogate(random_log_policy(9, seed), problem.law, n, side);
    CHECK(other <= log_z + 1e-12);
  }
  if (side == Side::strict) CHECK(log_z <= -std::log(n) + 1e-12);
  if (side == Side::weak) CHECK(log_z >= -std::log(n) - 1e-12);
  if (side == Side::mid && n >= 2) CHECK(log_z <= -std::log(n) + 1e-12);
}

TEST_CASE("the published exact mode aims at best-of-N_eff", "[laws][objective]") {
  // Reward (log bon - log ref) / N with KL coefficient 1/(N-1): optimum ref (bon/ref)^((N-1)/N). On a fine
  // grid of rewards this is best-of-N_eff.
  const Index outcomes = 4000;
  const std::vector<double> weight(static_cast<std::size_t>(outcomes), 1.0);
  std::vector<double> reward;
  for (Index y = 0; y < outcomes; ++y) reward.push_back(static_cast<double>(y));
  const double n = GENERATE(2.0, 4.0, 11.0);
  const auto law = reference_law_from_weights(weight, reward);
  const auto log_bon = best_of_n(law, n), target = best_of_n(law, published_effective_n(n));
  std::vector<double> optimum;
  for (std::size_t y = 0; y < reward.size(); ++y) optimum.push_back(law.log_ref[y] + (n - 1) / n * (log_bon[y] - law.log_ref[y]));
  const double log_z = log_sum_exp(optimum);
  for (double& value : optimum) value -= log_z;
  CHECK(categorical_kl(optimum, target) < 1e-4);
  CHECK(categorical_kl(optimum, log_bon) > 1e-3);
}

/// R = log bon - log p of every outcome.
std::vector<double> exact_score(const std::vector<double>& log_p, const ReferenceLaw& law, double n) {
  auto score = best_of_n(law, n);
  for (std::size_t y = 0; y < score.size(); ++y) score[y] -= log_p[y];
  return score;
}

TEST_CASE("the gradient of J sums to 0, vanishes at p = bon and meets finite differences", "[laws][objective]") {
  const Index outcomes = 6;
  const auto problem = random_law(outcomes, GENERATE(Index{2}, Index{6}), GENERATE(1u, 2u, 3u));
  const double n = GENERATE(1.0, 2.5, 16.0);
  std::vector<double> logits = random_log_policy(outcomes, 9);
  const auto log_p = log_softmax(logits);
  const auto gradient = score_gradient(log_p, exact_score(log_p, problem.law, n));
  double sum = 0;
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    sum += gradient[k];
    const double h = 1e-5;
    auto up = logits, down = logits;
    up[k] += h, down[k] -= h;
    const double slope = (exact_objective(log_softmax(up), problem.law, n) - exact_objective(log_softmax(down), problem.law, n)) / (2 * h);
    CHECK(slope == Approx(gradient[k]).margin(1e-6));
  }
  CHECK(sum == Approx(0).margin(1e-13));
  const auto log_bon = best_of_n(problem.law, n);
  for (const double g : score_gradient(log_bon, exact_score(log_bon, problem.law, n))) CHECK(std::abs(g) < 1e-13);
}

TEST_CASE("leave-one-out advantages sum to 0 and ignore a constant", "[laws][objective]") {
  const std::size_t size = GENERATE(std::size_t{2}, std::size_t{5}, std::size_t{64});
  std::vector<double> score, shifted;
  for (std::size_t i = 0; i < size; ++i) score.push_back(RngKey{2, 2}.normal(i));
  for (const double r : score) shifted.push_back(r + 12.5);
  const auto advantage = leave_one_out_advantages(score), other = leave_one_out_advantages(shifted);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    sum += advantage[i];
    double rest = 0;
    for (std::size_t j = 0; j < size; ++j)
      if (j != i) rest += score[j] / static_cast<double>(size - 1);
    CHECK(advantage[i] == Approx(score[i] - rest).margin(1e-13));
    CHECK(other[i] == Approx(advantage[i]).margin(1e-12));
  }
  CHECK(sum == Approx(0).margin(1e-12));
  for (const double a : leave_one_out_advantages(std::vector<double>(size, 0.1))) CHECK(a == 0);
}

TEST_CASE("the leave-one-out gradient is unbiased over all pairs of samples", "[laws][objective]") {
  const auto problem = random_law(3, 3, 4);
  const auto log_p = random_log_policy(3, 5);
  const auto score = exact_score(log_p, problem.law, 4);
  std::vector<double> mean(3, 0.0);
  for (std::size_t a = 0; a < 3; ++a)
    for (std::size_t b = 0; b < 3; ++b) {
      auto advantage = leave_one_out_advantages(std::vector<double>{score[a], score[b]});
      for (double& value : advantage) value /= 2;
      const auto g = sampled_gradient(log_p, std::vector<Index>{static_cast<Index>(a), static_cast<Index>(b)}, advantage);
      for (std::size_t k = 0; k < 3; ++k) mean[k] += std::exp(log_p[a] + log_p[b]) * g[k];
    }
  const auto exact = score_gradient(log_p, score);
  for (std::size_t k = 0; k < 3; ++k) CHECK(mean[k] == Approx(exact[k]).margin(1e-13));
}

SoftmaxTree random_tree(Index v, Index t, std::uint64_t seed) {
  std::size_t contexts = 0, width = 1;
  for (Index i = 0; i < t; ++i) contexts += width, width *= static_cast<std::size_t>(v);
  std::vector<std::vector<double>> logits;
  for (std::size_t c = 0; c < contexts; ++c) logits.push_back(random_log_policy(v, seed * 100 + c));
  return SoftmaxTree(v, t, logits);
}

TEST_CASE("sequence, token and Rao-Blackwell gradients agree in expectation", "[laws][objective]") {
  // V = 2, T = 3, enumerated: every estimator weighted by p(y) is the exact gradient.
  const auto policy = random_tree(2, 3, 1), ref = random_tree(2, 3, 2);
  std::vector<double> reward;
  for (std::size_t y = 0; y < 8; ++y) reward.push_back(RngKey{8, 8}.normal(y));
  const auto law = reference_law(ref.log_probs(), reward);
  const double n = 5;
  const auto log_p = policy.log_probs(), log_bon = best_of_n(law, n);
  const auto exact = policy.score_gradient(exact_score(log_p, law, n));

  auto sequence = policy.zero_gradient(), token = policy.zero_gradient(), rao_blackwell = policy.zero_gradient();
  const auto ratio = [&](Index y, Index t) { return policy.token_log_prob(y, t) - ref.token_log_prob(y, t); };
  const auto step_kl = [&](Index y, Index t) { return categorical_kl(policy.log_p_row(y, t), ref.log_p_row(y, t)); };
  for (Index y = 0; y < 8; ++y) {
    const std::size_t i = static_cast<std::size_t>(y);
    const double p = std::exp(log_p[i]), terminal = log_bon[i] - law.log_ref[i];
    for (Index t = 0; t < 3; ++t) {
      policy.add_token_gradient(y, t, p * (log_bon[i] - log_p[i]), sequence);
      double to_go = terminal, exact_to_go = terminal;
      for (Index s = t; s < 3; ++s) to_go -= ratio(y, s);
      for (Index s = t + 1; s < 3; ++s) exact_to_go -= step_kl(y, s);
      policy.add_token_gradient(y, t, p * to_go, token);
      policy.add_token_gradient(y, t, p * exact_to_go, rao_blackwell);
      // The direct term - grad KL_t: p_k (log-ratio - KL) in the logits of this context.
      std::vector<double> log_ratio;
      for (std::size_t k = 0; k < 2; ++k) log_ratio.push_back(policy.log_p_row(y, t)[k] - ref.log_p_row(y, t)[k]);
      const auto direct = score_gradient(policy.log_p_row(y, t), log_ratio);
      for (std::size_t k = 0; k < 2; ++k) rao_blackwell[policy.context(y, t)][k] -= p * direct[k];
    }
  }
  for (std::size_t c = 0; c < exact.size(); ++c)
    for (std::size_t k = 0; k < 2; ++k) {
      CHECK(sequence[c][k] == Approx(exact[c][k]).margin(1e-13));
      CHECK(token[c][k] == Approx(exact[c][k]).margin(1e-13));
      CHECK(rao_blackwell[c][k] == Approx(exact[c][k]).margin(1e-13));
    }
}

TEST_CASE("the sequence KL is the expected sum of step KLs; k1 and k3 by token are unbiased", "[laws][objective]") {
  const auto policy = random_tree(3, 3, GENERATE(3u, 4u)), ref = random_tree(3, 3, 5);
  const auto log_p = policy.log_probs(), log_ref = ref.log_probs();
  double steps = 0, k1 = 0, k3 = 0;
  for (Index y = 0; y < policy.sequences(); ++y) {
    const double p = std::exp(log_p[static_cast<std::size_t>(y)]);
    for (Index t = 0; t < 3; ++t) {
      const double l = policy.token_log_prob(y, t) - ref.token_log_prob(y, t);
      steps += p * categorical_kl(policy.log_p_row(y, t), ref.log_p_row(y, t));
      k1 += p * l;
      k3 += p * eval::k3_term(l);
      CHECK(eval::k3_term(l) >= 0);
    }
  }
  const double exact = categorical_kl(log_p, log_ref);
  CHECK(steps == Approx(exact).epsilon(1e-12));
  CHECK(k1 == Approx(exact).epsilon(1e-12));
  CHECK(k3 == Approx(exact).epsilon(1e-12));
}

TEST_CASE("pool weights are 1/M without rollouts and 1/(M+B) where the laws agree", "[laws][objective]") {
  // Seen through the upper tail: one reward above the query counts exactly its weight.
  std::vector<double> cache = {1, 2, 3, 4, 5, 6, 7}, rollouts = {0.5, 1.5, 2.5};
  const std::vector<double> any = {0.3, -2, 5, 0, 1, -7, 2}, zero(7, 0.0), none(3, 0.0);
  CHECK(-std::expm1(PooledCdf({cache, any}, {})(6.5).log_cdf) == Approx(1.0 / 7).epsilon(1e-14));
  CHECK(-std::expm1(PooledCdf({cache, zero}, {rollouts, none})(6.5).log_cdf) == Approx(1.0 / 10).epsilon(1e-14));
}
}  // namespace vbon::test
