#include "vbon/policy/causal_lm_policy.hpp"

#include <limits>
#include <map>

#include "support/catch.hpp"
#include "support/tiny_model.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::test {
static_assert(TrainablePolicy<policy::CausalLmPolicy<>> && SteppedPolicy<policy::CausalLmPolicy<>>);

namespace {
/// Text of a batch's tokens, for comparison.
std::vector<std::vector<TokenId>> responses_of(const RolloutBatch& batch, Index prompt) {
  std::vector<std::vector<TokenId>> all;
  for (Index i = batch.group_offset[static_cast<std::size_t>(prompt)];
       i < batch.group_offset[static_cast<std::size_t>(prompt) + 1]; ++i)
    all.emplace_back(batch.response(i).begin(), batch.response(i).end());
  return all;
}
bool equal_bits(const Array& a, const Array& b) { return a.size() == b.size() && (a == b).all(); }
}  // namespace

TEST_CASE("log-probs kept from sampling are those of the training forward, to the bit", "[policy]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto temperature = GENERATE(1.0, 0.7);
  const auto precision = GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16);
  CAPTURE(kind, temperature, static_cast<int>(precision));
  auto policy = tiny_policy(kind);
  policy.model().set_precision(precision);
  policy.sampler.temperature = temperature;
  policy.sampler.max_new_tokens = 20;
  const auto batch = policy.sample(tiny_prompts(3), 5, {1, 2});
  REQUIRE(batch.responses() == 15);
  CHECK(equal_bits(policy.log_prob(batch), batch.old_log_prob));
  policy.passes.forward_rows = 16;  // many small passes
  CHECK(equal_bits(policy.log_prob(batch), batch.old_log_prob));
}

TEST_CASE("what is drawn for a prompt does not depend on its company, on pieces or on threads", "[policy]") {
  auto policy = tiny_policy();
  policy.model().set_precision(GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16));
  policy.sampler.max_new_tokens = 12;
  const auto prompts = tiny_prompts(4);
  const RngKey key{7, 8};
  const auto together = policy.sample(prompts, 6, key);
  for (const Index rows : {6, 4, 1}) {  // whole groups; parts of a group; one by one
    CAPTURE(rows);
    policy.passes.sampled_rows = rows;
    const auto pieces = policy.sample(prompts, 6, key);
    CHECK(together.token == pieces.token);
    CHECK(together.group_offset == pieces.group_offset);
    CHECK(together.prompt.size() == pieces.prompt.size());
    CHECK(equal_bits(together.old_log_prob, pieces.old_log_prob));
  }
  const auto alone = policy.sample(std::span(prompts).subspan(2, 1), 3, key);
  const auto in_company = responses_of(together, 2);
  CHECK(responses_of(alone, 0) == std::vector(in_company.begin(), in_company.begin() + 3));
  const int threads = thread_pool().threads();
  set_threads(1);
  CHECK(policy.sample(prompts, 6, key).token == together.token);
  set_threads(3);
  CHECK(policy.sample(prompts, 6, key).token == together.token);
  set_threads(threads);
  CHECK(policy.sample(prompts, 6, {7, 9}).token != together.token);
}

TEST_CASE("sampled pairs of tokens follow the law of the model (chi-square)", "[policy]") {
  auto shape = tiny_shape("llama");
  shape.vocab = 6;
  shape.eos = {};
  shape.bos = -1;
  policy::CausalLmPolicy<> policy(tiny_model(shape, 3), nullptr);
  policy.sampler.max_new_tokens = 2;
  policy.sampler.temperature = 1.3;
  const std::vector<Prompt> prompt = {{.id = 1, .text = {}, .tokens = {2, 5}}};
  RolloutBatch every;  // all 36 responses
  every.add_prompt(prompt[0]);
  for (TokenId a = 0; a < 6; ++a)
    for (TokenId b = 0; b < 6; ++b) every.add_response(std::vector<TokenId>{a, b}, false);
  const Array probability = per_response(every, policy.log_prob(every)).exp();
  CHECK(probability.sum() == Approx(1).epsilon(1e-6));
  const Index draws = 20000;
  const auto batch = policy.sample(prompt, draws, {11, 12});
  Array count = Array::Zero(36);
  for (Index i = 0; i < draws; ++i) count[batch.response(i)[0] * 6 + batch.response(i)[1]] += 1;
  double chi_square = 0;
  int cells = 0;
  for (Index k = 0; k < 36; ++k) {
    const double expected = probability[k] * static_cast<double>(draws);
    if (expected < 5) continue;
    chi_square += (count[k] - expected) * (count[k] - expected) / expected;
    ++cells;
  }
  CAPTURE(chi_square, cells);
  REQUIRE(cells > 15);
  CHECK(chi_square < cells + 4 * std::sqrt(2.0 * cells));  // four standard deviations above the mean
}

TEST_CASE("an end token ends a response and belongs to it; none comes before the minimum", "[policy]") {
  auto policy = tiny_policy("llama", 4);
  policy.sampler = {.max_new_tokens = 30, .eos = {1, 2, 3, 4}};
  const auto batch = policy.sample(tiny_prompts(3), 20, {5, 5});
  int ended = 0;
  for (Index i = 0; i < batch.responses(); ++i) {
    const auto response = batch.response(i);
    for (std::size_t t = 0; t < response.size(); ++t)
      CHECK(policy.sampler.ends(response[t]) ==
            (t + 1 == response.size() && batch.finished[static_cast<std::size_t>(i)] == 1));
    CHECK((batch.finished[static_cast<std::size_t>(i)] == 1 || response.size() == 30));
    ended += batch.finished[static_cast<std::size_t>(i)];
  }
  CHECK(ended > 20);
  policy.sampler.min_new_tokens = 8;
  const auto longer = policy.sample(tiny_prompts(3), 20, {5, 5});
  for (Index i = 0; i < longer.responses(); ++i) CHECK(longer.length(i) > 8);
}

TEST_CASE("log-probs under truncation are those of the law really sampled", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler = {
      .temperature = 0.8, .top_k = 5, .top_p = 0.9, .min_p = 0.05, .repetition_penalty = 1.2, .max_new_tokens = 6};
  const auto batch = policy.sample(tiny_prompts(1), 8, {1, 1});
  for (Index i = 0; i < batch.responses(); ++i) {
    std::vector<TokenId> row = batch.prompt[0].tokens;
    for (Index t = 0; t < batch.length(i); ++t) {
      model::Forest forest;
      forest.add(row);
      const View<const float> hidden = policy.model().forward(forest);
      Tensor<float> logits(1, 37);
      policy.model().head(hidden.row(hidden.rows() - 1), logits);
      policy::warp(policy.sampler, logits.view().span(), row, t);
      const TokenId token = batch.response(i)[static_cast<std::size_t>(t)];
      const double expected = static_cast<double>(logits[token]) - kernel::log_sum_exp(Cpu{}, logits);
      CHECK(batch.old_log_prob[batch.offset[static_cast<std::size_t>(i)] + t] == Approx(expected).margin(1e-9));
      row.push_back(token);
    }
  }
}

TEST_CASE("a session in pieces gives the responses of one run", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler.max_new_tokens = 15;
  const auto prompts = tiny_prompts(2);
  const RngKey key{3, 1};
  const auto whole = policy.sample(prompts, 4, key);
  auto session = policy.open(prompts, 4);
  for (const Index tokens : {1, 3, 0, 7, 100}) session.extend(tokens, key);
  REQUIRE(session.drafts().size() == 8);
  for (Index i = 0; i < 8; ++i) {
    const auto response = whole.response(i);
    CHECK(session.drafts()[static_cast<std::size_t>(i)].token == std::vector<TokenId>(response.begin(), response.end()));
  }
  CHECK(session.live().empty());
}

TEST_CASE("keeping some drafts leaves their draws as they were; copies get draws of their own", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler = {.max_new_tokens = 14};
  const auto prompts = tiny_prompts(2);
  const RngKey key{3, 4};
  const auto whole = policy.sample(prompts, 4, key);
  auto session = policy.open(prompts, 4);
  session.extend(4, key);
  session.keep(std::vector<Index>{5, 2, 2});
  session.extend(10, key);
  const auto tokens = [&](Index i) { return std::vector<TokenId>(whole.response(i).begin(), whole.response(i).end()); };
  CHECK(session.drafts()[0].token == tokens(5));
  CHECK(session.drafts()[1].token == tokens(2));
  const auto& copy = session.drafts()[2].token;
  CHECK(std::equal(copy.begin(), copy.begin() + 4, tokens(2).begin()));
  CHECK(copy != tokens(2));
  CHECK(session.drafts()[2].sample == 4);
  CHECK_THROWS_AS(session.keep(std::vector<Index>{3}), ShapeError);
}

TEST_CASE("next log-probs are normalised and say what an appended token gets", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler = {.temperature = 0.9, .max_new_tokens = 5};
  auto session = policy.open(tiny_prompts(2), 2);
  for (int round = 0; round < 3; ++round) {
    const auto next = session.next_log_probs();
    REQUIRE(next.rows() == 4);
    std::vector<TokenId> chosen;
    for (Index row = 0; row < 4; ++row) {
      double total = 0;
      for (Index v = 0; v < 37; ++v) total += std::exp(static_cast<double>(next(row, v)));
      CHECK(total == Approx(1).epsilon(1e-5));
      chosen.push_back(static_cast<TokenId>(5 + row + round));
    }
    session.append(chosen);
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(session.drafts()[i].log_prob.back() ==
            Approx(static_cast<double>(next(static_cast<Index>(i), chosen[i]))).margin(1e-5));
  }
  CHECK_THROWS_AS(session.append(std::vector<TokenId>{1}), ShapeError);
}

TEST_CASE("at temperature 0 the next token is certain", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler = {.temperature = 0, .max_new_tokens = 4};
  auto greedy = policy.open(tiny_prompts(2), 1), looked_at = policy.open(tiny_prompts(2), 1);
  greedy.extend(4, {1, 2});
  for (std::size_t t = 0; t < 4; ++t) {
    const auto next = looked_at.next_log_probs();
    std::vector<TokenId> chosen;
    for (Index row = 0; row < 2; ++row) {
      const TokenId token = greedy.drafts()[static_cast<std::size_t>(row)].token[t];
      CHECK(next(row, token) == 0);
      for (Index v = 0; v < 37; ++v) CHECK((v == token || next(row, v) == -std::numeric_limits<float>::infinity()));
      chosen.push_back(token);
    }
    looked_at.append(chosen);
  }
}

TEST_CASE("log-probs and gradient come from one forward pass where one follows from the other", "[policy]") {
  auto policy = tiny_policy("qwen3");
  policy.sampler.max_new_tokens = 9;
  const auto batch = policy.sample(tiny_prompts(5), 4, {1, 2});
  const auto gradient_of = [](const Array& log_prob) -> Array { return 0.3 * log_prob + 0.1; };
  const Array log_prob = policy.log_prob(batch);
  policy.zero_gradients();
  policy.backward(batch, gradient_of(log_prob));
  const std::vector<float> two_passes(policy.gradients().begin(), policy.gradients().end());

  std::vector<std::size_t> ranges;
  const Index one_prompt = 40 * model::kept_bytes_per_row(policy.shape(), policy.model().memory);
  for (const Index bytes : {policy.passes.activation_bytes, 3 * one_prompt, one_prompt}) {
    policy.passes.activation_bytes = bytes;
    const auto cuts = policy.cuts_for_backward(batch, 64);
    REQUIRE(cuts.size() >= 2);
    CHECK(cuts.front() == 0);
    CHECK(cuts.back() == 5);
    ranges.push_back(cuts.size() - 1);
    policy.zero_gradients();
    for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
      const auto part = rollout::slice(batch, cuts[k], cuts[k + 1] - cuts[k]);
      policy.backward_through(part, [&](const Array& made) {
        const Index begin = batch.offset[static_cast<std::size_t>(batch.group_offset[static_cast<std::size_t>(cuts[k])])];
        CHECK((made - log_prob.segment(begin, made.size())).abs().maxCoeff() < 1e-5);
        return gradient_of(made);
      });
    }
    double furthest = 0, largest = 0;
    for (std::size_t i = 0; i < two_passes.size(); ++i) {
      const auto now = static_cast<double>(policy.gradients().data()[i]), then = static_cast<double>(two_passes[i]);
      furthest = std::max(furthest, std::abs(now - then));
      largest = std::max(largest, std::abs(then));
    }
    CHECK(furthest < 1e-5 * largest);
  }
  CHECK(ranges.front() == 1);
  CHECK(ranges[1] < ranges[2]);
  policy.sampler.max_new_tokens = 2;
  const auto few = policy.sample(tiny_prompts(1), 2, {1, 2});  // a batch that is hardly longer than a response
  const Array few_log_prob = policy.log_prob(few);
  policy.backward_through(few, [&](const Array& made) {
    CHECK((made - few_log_prob).abs().maxCoeff() < 1e-5);
    return gradient_of(made);
  });
  policy.passes.activation_bytes = 1;
  CHECK(policy.cuts_for_backward(batch, 64).empty());
  policy.passes = {};
  CHECK(policy.cuts_for_backward(batch, 8) == std::vector<Index>{0, 2, 4, 5});
  CHECK(policy.cuts_for_backward(batch, 3).size() == 6);
}

TEST_CASE("a sum of passes gives the gradient of one pass", "[policy]") {
  auto policy = tiny_policy("qwen3");
  policy.sampler.max_new_tokens = 9;
  const auto batch = policy.sample(tiny_prompts(3), 4, {1, 2});
  Array weight(batch.tokens());
  for (Index t = 0; t < weight.size(); ++t) weight[t] = std::sin(static_cast<double>(t));
  policy.zero_gradients();
  Array values;
  policy.backward(batch, weight, &values);
  CHECK(equal_bits(values, batch.old_log_prob));
  const std::vector<float> once(policy.gradients().begin(), policy.gradients().end());
  policy.zero_gradients();
  policy.passes.activation_bytes = 12 * model::kept_bytes_per_row(policy.shape(), {});
  policy.backward(batch, weight);
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < once.size(); ++i) {
    off += std::pow(static_cast<double>(once[i]) - static_cast<double>(policy.gradients()[static_cast<Index>(i)]), 2);
    norm += std::pow(static_cast<double>(once[i]), 2);
  }
  CHECK(std::sqrt(off / norm) < 1e-5);
  CHECK(norm > 0);
}

TEST_CASE("a clone starts equal and moves alone", "[policy]") {
  auto policy = tiny_policy();
  policy.sampler.max_new_tokens = 6;
  auto copy = policy.clone();
  const auto batch = policy.sample(tiny_prompts(2), 3, {9, 9});
  CHECK(equal_bits(copy.log_prob(batch), batch.old_log_prob));
  Array of_copy;
  CHECK(policy.kl(batch, copy, &of_copy).abs().maxCoeff() < 1e-6);
  CHECK((of_copy == copy.log_prob(batch)).all());
  copy.parameters()[3] += 0.5f;
  copy.parameters()[5000 % copy.parameters().size()] += 0.5f;
  copy.parameters_changed();
  CHECK_FALSE(equal_bits(copy.log_prob(batch), batch.old_log_prob));
  CHECK(equal_bits(policy.log_prob(batch), batch.old_log_prob));
}

TEST_CASE("a prompt that does not fit is named with its length, the limit and a remedy", "[policy][error]") {
  auto policy = tiny_policy();
  const std::vector<Prompt> prompts = {{.id = 42, .text = "a long story", .tokens = random_tokens(64, 37, 1)}};
  try {
    policy.sample(prompts, 1, {});
    FAIL("an error was expected");
  } catch (const DomainError& error) {
    const std::string text = error.what();
    CHECK(error.code() == "prompt_too_long");
    for (const char* part : {"42", "a long story", "64", "shorten"}) CHECK(text.find(part) != text.npos);
  }
  std::vector<Prompt> fits = {{.id = 1, .text = {}, .tokens = random_tokens(60, 37, 1)}};
  policy.sampler = {.max_new_tokens = 30};
  const auto batch = policy.sample(fits, 2, {});
  for (Index i = 0; i < 2; ++i) CHECK(batch.length(i) == 4);  // the context is full
  CHECK(equal_bits(policy.log_prob(batch), batch.old_log_prob));
  CHECK_THROWS_AS(policy.tokenizer(), ConfigError);
  fits[0].tokens.clear();
  CHECK_THROWS_AS(policy.sample(fits, 1, {}), ConfigError);
}

TEST_CASE("impossible sampler options are named", "[policy][error]") {
  auto policy = tiny_policy();
  const auto refuses = [&](policy::Sampler sampler) {
    policy.sampler = std::move(sampler);
    CHECK_THROWS_AS(policy.sample(tiny_prompts(1), 1, {}), ConfigError);
  };
  refuses({.temperature = -1});
  refuses({.top_k = -1});
  refuses({.top_p = 1.5});
  refuses({.min_p = std::nan("")});
  refuses({.min_new_tokens = 9, .max_new_tokens = 8});
  refuses({.max_new_tokens = 0});
}

TEST_CASE("greedy takes the most probable token, with the model's log-prob of it", "[policy]") {
  auto policy = tiny_policy(), at_one = tiny_policy();
  policy.sampler = {.temperature = 0, .max_new_tokens = 5};
  at_one.sampler = {.temperature = 1, .max_new_tokens = 5};
  auto session = policy.open(tiny_prompts(1), 1), model = at_one.open(tiny_prompts(1), 1);
  for (int round = 0; round < 5; ++round) {
    const auto next = model.next_log_probs();
    const auto best = std::max_element(next.data(), next.data() + 37) - next.data();
    session.extend(1, {});
    model.append(std::vector<TokenId>{session.drafts()[0].token.back()});
    CHECK(session.drafts()[0].token.back() == best);
    CHECK(session.drafts()[0].log_prob.back() == Approx(static_cast<double>(next[best])).margin(1e-5));
  }
}
}  // namespace vbon::test
