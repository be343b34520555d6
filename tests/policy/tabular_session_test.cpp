#include "support/catch.hpp"
#include "vbon/policy/tabular_policy.hpp"

using namespace vbon;

namespace {
policy::TabularPolicy table() {
  policy::TabularPolicy result({.prompts = 2, .vocabulary = 3, .length = 3, .eos = 2});
  for (Index i = 0; i < result.parameters().size(); ++i)
    result.parameters()[i] = static_cast<float>(RngKey{1, 1}.normal(static_cast<std::uint64_t>(i)));
  return result;
}
}  // namespace

TEST_CASE("a session run in pieces gives the samples of one run", "[policy]") {
  const auto policy = table();
  const auto prompts = policy.prompts();
  const RngKey key{5, 0};
  auto session = policy.open(prompts, 4);
  for (int piece = 0; piece < 3; ++piece) session.extend(1, key);
  CHECK(session.live().empty());
  const RolloutBatch whole = policy.sample(prompts, 4, key);
  for (std::size_t i = 0; i < session.drafts().size(); ++i) {
    const auto response = whole.response(static_cast<Index>(i));
    CHECK(session.drafts()[i].token == std::vector<TokenId>(response.begin(), response.end()));
  }
}

TEST_CASE("a draft kept twice goes on with draws of its own", "[policy]") {
  const auto policy = table();
  const auto prompts = policy.prompts();
  auto session = policy.open(std::span(prompts).first(1), 1);
  session.keep(std::vector<Index>(200, 0));
  session.extend(3, {.seed = 2, .stream = 0});
  std::vector<int> first(3, 0);
  for (const auto& draft : session.drafts()) ++first[static_cast<std::size_t>(draft.token[0])];
  CHECK(*std::max_element(first.begin(), first.end()) < 200);
  session.keep(std::vector<Index>{3});
  CHECK(session.drafts().size() == 1);
}

TEST_CASE("chosen tokens are appended to live drafts with their log-probs, and end them", "[policy]") {
  const auto policy = table();
  const auto prompts = policy.prompts();
  auto session = policy.open(std::span(prompts).first(1), 2);
  session.append(std::vector<TokenId>{0, 2});
  CHECK(session.live() == std::vector<Index>{0});
  const Tensor<float> next = session.next_log_probs();
  CHECK(next.rows() == 1);
  const std::vector<TokenId> prefix = {0};
  const Array want = policy.next_log_probs(0, prefix);
  for (Index k = 0; k < 3; ++k) CHECK(static_cast<double>(next(0, k)) == Approx(want[k]).margin(1e-6));
  CHECK(session.drafts()[1].log_prob[0] == Approx(policy.next_log_probs(0, {})[2]));
}

TEST_CASE("a session refuses tokens and drafts that are not there", "[policy][error]") {
  const auto policy = table();
  const auto prompts = policy.prompts();
  auto session = policy.open(prompts, 1);
  CHECK_THROWS_AS(session.append(std::vector<TokenId>{0}), ShapeError);
  CHECK_THROWS_AS(session.append(std::vector<TokenId>{0, 3}), DomainError);
  CHECK_THROWS_AS(session.keep(std::vector<Index>{2}), ShapeError);
}
