#include "vbon/policy/sampler.hpp"

#include "support/catch.hpp"

namespace vbon::test {
namespace {
std::vector<TokenId> kept(const policy::Sampler& sampler, std::vector<float> logits, std::vector<TokenId> context = {},
                          Index length = 0) {
  policy::warp(sampler, logits, context, length);
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (std::isfinite(logits[i])) ids.push_back(static_cast<TokenId>(i));
  return ids;
}
using Ids = std::vector<TokenId>;
}  // namespace

TEST_CASE("top-k keeps all that tie with the k-th", "[policy]") {
  CHECK(kept({.top_k = 2}, {1, 3, 2, 2, 0}) == Ids{1, 2, 3});
  CHECK(kept({.top_k = 1}, {1, 3, 2, 2, 0}) == Ids{1});
  CHECK(kept({.top_k = 9}, {1, 3, 2}) == Ids{0, 1, 2});
}

TEST_CASE("top-p keeps the smallest set with the mass, at least one token", "[policy]") {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  CHECK(kept({.top_p = 0.7}, logits) == Ids{0, 1});
  CHECK(kept({.top_p = 0.9}, logits) == Ids{0, 1, 2});
  CHECK(kept({.top_p = 0.0}, logits) == Ids{0});
  CHECK(kept({.top_p = 1.0}, logits) == Ids{0, 1, 2, 3});
}

TEST_CASE("min-p keeps tokens with that share of the highest probability", "[policy]") {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  CHECK(kept({.min_p = 0.29}, logits) == Ids{0, 1, 2});
  CHECK(kept({.min_p = 1.0}, logits) == Ids{0});
}

TEST_CASE("a repetition penalty weakens each token once, whatever its sign", "[policy]") {
  std::vector<float> logits = {2, -2, 1};
  policy::warp({.repetition_penalty = 2}, logits, Ids{0, 1, 0}, 0);
  CHECK(logits == std::vector<float>{1, -4, 1});
}

TEST_CASE("end tokens are impossible before the minimum length", "[policy]") {
  const policy::Sampler sampler{.min_new_tokens = 2, .eos = {0, 2}};
  CHECK(kept(sampler, {1, 1, 1}, {}, 1) == Ids{1});
  CHECK(kept(sampler, {1, 1, 1}, {}, 2) == Ids{0, 1, 2});
}

TEST_CASE("only the whole vocabulary at one temperature is the model's own law", "[policy]") {
  CHECK(policy::Sampler{.temperature = 0.5}.full_law());
  CHECK(policy::Sampler{.min_new_tokens = 3}.full_law());  // without an end token it changes nothing
  CHECK_FALSE(policy::Sampler{.top_k = 5}.full_law());
  CHECK_FALSE(policy::Sampler{.top_p = 0.9}.full_law());
  CHECK_FALSE(policy::Sampler{.min_p = 0.1}.full_law());
  CHECK_FALSE(policy::Sampler{.repetition_penalty = 1.1}.full_law());
  CHECK_FALSE((policy::Sampler{.min_new_tokens = 3, .eos = {1}}.full_law()));
  CHECK_FALSE(policy::Sampler{.temperature = 0}.full_law());
}
}  // namespace vbon::test
