// Decoders on a language model with limits, which a table has none of: at the length limit a response ends, and prompts do
// not fit the context.
#include "support/catch.hpp"
#include "support/chi_square.hpp"
#include "support/tiny_model.hpp"
#include "vbon/decode/controlled_decoding.hpp"
#include "vbon/decode/iad.hpp"
#include "vbon/decode/smc.hpp"

using namespace vbon;
using namespace vbon::test;

namespace {
struct NoReward {
  static constexpr std::string_view name = "none";
  Array operator()(const RolloutBatch& batch) const { return Array::Zero(batch.responses()); }
};
/// A constant that writes down what it was asked about.
struct Recording {
  static constexpr std::string_view name = "recording";
  std::vector<std::vector<TokenId>>* seen;
  double value = 0;
  Array operator()(const RolloutBatch& batch) const {
    for (Index i = 0; i < batch.responses(); ++i) seen->emplace_back(batch.response(i).begin(), batch.response(i).end());
    return Array::Constant(batch.responses(), value);
  }
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

TEST_CASE("a value of its own is asked about prefixes, the reward about complete responses", "[decode]") {
  auto policy = tiny_policy("llama");
  policy.sampler.eos = {1, 4};
  policy.sampler.max_new_tokens = 3;
  const Prompt prompt = tiny_prompts(1)[0];
  bool cut = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<std::vector<TokenId>> prefixes, complete;
    const decode::ControlledDecoding<Recording> guided{.top_k = 0, .value = {&prefixes, 5}};
    const Decoded out = guided(policy, Recording{&complete, 2}, prompt, {seed, 0});
    CHECK(out.reward() == 2);  // the final score is the reward's
    const auto ends = [](const std::vector<TokenId>& tokens) { return tokens.back() == 1 || tokens.back() == 4; };
    for (const auto& tokens : prefixes) CHECK((tokens.size() < 3 && !ends(tokens)));
    for (const auto& tokens : complete) CHECK((tokens.size() == 3 || ends(tokens)));
    CHECK(prefixes.size() + complete.size() == static_cast<std::size_t>(out.counters.reward_calls));
    cut = cut || out.answer().token.size() == 3;

    prefixes.clear(), complete.clear();
    const decode::ControlledBlocks<Recording> blocks{.k = 3, .block = 1, .value = {&prefixes, 1}};
    CHECK(blocks(policy, Recording{&complete, 2}, prompt, {seed, 0}).reward() == 2);
    for (const auto& tokens : prefixes) CHECK((tokens.size() < 3 && !ends(tokens)));
    for (const auto& tokens : complete) CHECK((tokens.size() == 3 || ends(tokens)));
  }
  CHECK(cut);  // the limit was met
  // A response that ends is worth 1000 temperatures more than any prefix: it ends at once.
  std::vector<std::vector<TokenId>> unused;
  const decode::ControlledDecoding<Recording> ending{.beta = 1, .top_k = 0, .value = {&unused, 0}};
  CHECK(ending(policy, Recording{&unused, 1000}, prompt, {3, 0}).answer().token.size() == 1);
  decode::ControlledDecoding<> named;
  named.value.named = "length";
  CHECK_THROWS_AS(named(policy, NoReward{}, prompt, {3, 0}), ConfigError);
  decode::ControlledBlocks<> named_blocks;
  named_blocks.value.named = "length";
  CHECK_THROWS_WITH(named_blocks(policy, NoReward{}, prompt, {3, 0}),
                    Catch::Contains("controlled_blocks: value = 'length'"));
}

TEST_CASE("a round of IAD that no longer fits the context ends the rounds, with a note", "[decode]") {
  auto policy = tiny_policy("llama");
  policy.sampler.max_new_tokens = 4;
  const Prompt prompt = tiny_prompts(1)[0];
  const auto longer = [](std::size_t tokens) {
    return [tokens](const Prompt& first, const decode::Candidate&, const decode::Candidate&) {
      Prompt next = first;
      next.tokens.assign(tokens, 5);
      return next;
    };
  };
  const auto run = [&](const decode::Propose& propose) {
    return decode::Iad{.rounds = 4, .n = 2, .propose = propose}(policy, NoReward{}, prompt, {3, 0});
  };
  const Decoded whole = run(longer(8));
  CHECK(whole.note.empty());
  CHECK(whole.counters.sequences == 8);
  const Decoded one = run(longer(64));
  CHECK(one.counters.sequences == 2);
  CHECK(one.candidate.size() == 2);
  CHECK(one.answer().text == whole.candidate[static_cast<std::size_t>(one.best)].text);
  for (const std::string part : {"iad: round 2 of 4", "64 tokens", "context holds 64", "shorten", "shorter responses"}) {
    INFO(one.note);
    CHECK(one.note.find(part) != std::string::npos);
  }
  // The first prompt has no round before it, and another mistake is no matter of length.
  Prompt far = prompt;
  far.tokens.assign(64, 5);
  CHECK_THROWS_AS((decode::Iad{.rounds = 2, .n = 2}(policy, NoReward{}, far, {3, 0})), DomainError);
  CHECK_THROWS_AS(run(longer(0)), Error);
}
