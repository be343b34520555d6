// Sequential Monte Carlo on a language model: at the length limit a response ends, weighed with how probable that is.
#include "vbon/decode/smc.hpp"

#include "support/catch.hpp"
#include "support/chi_square.hpp"
#include "support/tiny_model.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
struct NoReward {
  static constexpr std::string_view name = "none";
  Array operator()(const RolloutBatch& batch) const { return Array::Zero(batch.responses()); }
};
}  // namespace

TEST_CASE("two particles of at most two tokens follow the law of forced ends", "[decode]") {
  auto policy = tiny_policy("llama");
  policy.sampler.eos = {1, 4};
  policy.sampler.max_new_tokens = 2;
  const Prompt prompt = tiny_prompts(1)[0];
  // p: the law of the first token; w: P(an end token behind it), 1 where it is one itself.
  auto session = policy.open(std::span(&prompt, 1), 37);
  const Tensor<float> first = session.next_log_probs();
  std::vector<TokenId> every(37);
  for (std::size_t k = 0; k < every.size(); ++k) every[k] = static_cast<TokenId>(k);
  session.append(every);
  REQUIRE(session.room() == 1);
  const Tensor<float> second = session.next_log_probs();
  std::vector<double> p(37), w(37, 1), law(37, 0);
  for (std::size_t k = 0, row = 0; k < 37; ++k) {
    p[k] = std::exp(static_cast<double>(first.row(0)[static_cast<Index>(k)]));
    if (k == 1 || k == 4) continue;
    const auto next = second.row(static_cast<Index>(row++));
    w[k] = std::exp(static_cast<double>(next[1])) + std::exp(static_cast<double>(next[4]));
  }
  for (std::size_t k = 0; k < 37; ++k)
    for (std::size_t j = 0; j < 37; ++j) law[k] += 2 * p[k] * p[j] * w[k] / (w[k] + w[j]);

  const decode::Smc smc{.particles = 2, .block = 2, .twisted = false};
  std::vector<double> count(37, 0);
  for (std::uint64_t run = 0; run < 20000; ++run) {
    const Decoded out = smc(policy, NoReward{}, prompt, RngKey{5, 0}.fold(run));
    for (const auto& candidate : out.candidate) REQUIRE(candidate.finished);
    REQUIRE(out.counters.tokens <= 4);
    ++count[static_cast<std::size_t>(out.answer().token[0])];
  }
  CHECK(follows(count, law));
}

TEST_CASE("without forced ends, or without an end token, responses are cut at the limit", "[decode]") {
  auto policy = tiny_policy("llama");
  policy.sampler.max_new_tokens = 5;
  const Prompt prompt = tiny_prompts(1)[0];
  policy.sampler.eos = {1};
  for (const auto& candidate :
       decode::Smc{.particles = 4, .block = 2, .force_end = false}(policy, NoReward{}, prompt, {3, 0}).candidate)
    CHECK((candidate.finished || candidate.token.size() == 5));
  policy.sampler.eos = {};
  for (const auto& candidate : decode::Smc{.particles = 4, .block = 2}(policy, NoReward{}, prompt, {3, 0}).candidate)
    CHECK((!candidate.finished && candidate.token.size() == 5));
}
