#include "vbon/model/causal_lm.hpp"

#include "support/catch.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/score.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::test {
namespace {
using model::CausalLm;
using model::Forest;

/// A prompt with three responses, and another prompt with one.
struct Example {
  std::vector<TokenId> first = random_tokens(5, 37, 1), second = random_tokens(3, 37, 2);
  std::vector<std::vector<TokenId>> responses = {random_tokens(6, 37, 3), random_tokens(1, 37, 4), random_tokens(4, 37, 5)};
  std::vector<TokenId> last = random_tokens(7, 37, 6);

  Forest shared() const {
    Forest forest;
    const Index a = forest.add(first);
    for (const auto& response : responses) forest.add_response(a, response);
    forest.add_response(forest.add(second), last);
    return forest;
  }
  Forest separate() const {
    Forest forest;
    for (const auto& response : responses) forest.add_response(forest.add(first), response);
    forest.add_response(forest.add(second), last);
    return forest;
  }
};
}  // namespace

TEST_CASE("a prompt shared by its responses gives the bits of a prompt for each", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto precision = GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16);
  CAPTURE(kind, static_cast<int>(precision));
  auto model = tiny_model(kind);
  model.set_precision(precision);
  CHECK(log_probs(model, Example().shared()) == log_probs(model, Example().separate()));
}

TEST_CASE("a step over cached keys and values gives the bits of the whole sequence", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto precision = GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16);
  CAPTURE(kind, static_cast<int>(precision));
  auto model = tiny_model(kind);
  model.set_precision(precision);
  const std::vector<std::vector<TokenId>> rows = {random_tokens(30, 37, 1), random_tokens(35, 37, 2)};
  const Index prefix = 3;
  Forest prompts;
  for (const auto& row : rows) prompts.add(std::span(row).first(prefix));
  auto pool = model.make_pool();
  std::vector<model::KvSequence<>> cached;
  model.prefill(prompts, pool, cached);
  for (Index t = prefix; t < 30; ++t) {  // crosses several pages
    const std::vector<TokenId> token = {rows[0][static_cast<std::size_t>(t)], rows[1][static_cast<std::size_t>(t)]};
    std::vector<model::KvSequence<>*> sequences = {&cached[0], &cached[1]};
    const View<const float> step = model.step(token, sequences, pool);
    const std::vector<float> got(step.begin(), step.end());
    std::vector<float> want;
    for (const auto& row : rows) {
      Forest whole;
      whole.add(std::span(row).first(static_cast<std::size_t>(t) + 1));
      const View<const float> hidden = model.forward(whole);
      want.insert(want.end(), hidden.row(t).begin(), hidden.row(t).end());
    }
    REQUIRE(got == want);
  }
}

TEST_CASE("a copied cache goes its own way without touching the original", "[model]") {
  auto model = tiny_model("llama");
  auto pool = model.make_pool();
  Forest prompt;
  prompt.add(random_tokens(4, 37, 1));
  std::vector<model::KvSequence<>> cached;
  model.prefill(prompt, pool, cached);
  std::vector<model::KvSequence<>> both = {cached[0], cached[0]};
  cached.clear();
  const auto step = [&](std::vector<TokenId> tokens) {
    std::vector<model::KvSequence<>*> sequences = {&both[0], &both[1]};
    const View<const float> hidden = model.step(tokens, sequences, pool);
    return std::vector<float>(hidden.begin(), hidden.end());
  };
  step({5, 6});
  both[1] = both[0];  // forks inside a page that is partly filled
  const auto forked = step({7, 8});
  step({9, 9});
  Forest whole;
  std::vector<TokenId> row = random_tokens(4, 37, 1);
  for (const TokenId last : {7, 8}) {
    auto tokens = row;
    tokens.insert(tokens.end(), {5, last});
    whole.add(tokens);
  }
  const View<const float> hidden = model.forward(whole);
  const Index width = hidden.cols();
  CHECK(std::equal(forked.begin(), forked.begin() + width, hidden.row(5).begin()));
  CHECK(std::equal(forked.begin() + width, forked.end(), hidden.row(11).begin()));
}

TEST_CASE("the gradient agrees with finite differences in every parameter", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto shape = tiny_shape(kind);
  shape.vocab = 11;
  shape.width = 8;
  shape.heads = shape.kv_heads = 2;
  if (shape.family != "gpt_neox" && shape.family != "gpt2") shape.kv_heads = 1;
  shape.head_dim = 4;
  shape.inner = 10;
  shape.rope.dim = std::min<Index>(shape.rope.dim, 4);
  shape.bos = -1;
  auto model = tiny_model(shape, 5);
  Forest forest;
  const Index prompt = forest.add(std::vector<TokenId>{3, 7, 2});
  forest.add_response(prompt, std::vector<TokenId>{4, 4, 9});
  forest.add_response(prompt, std::vector<TokenId>{10, 0});
  const std::vector<double> weight = {0.7, -1.1, 0.4, 1.3, -0.6};
  const kernel::HeadOptions options{.inv_temperature = 1.25f};
  const auto loss = [&] {
    std::vector<double> values(weight.size());
    model.parameters_changed();
    model.log_prob(forest, options, values);
    double sum = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) sum += weight[i] * values[i];
    return sum;
  };
  model.parameters().zero_gradients();
  model.backward(forest, options, weight);
  const std::vector<float> gradient(model.parameters().gradients().begin(), model.parameters().gradients().end());
  double worst = 0, scale = 0;
  std::string where;
  for (const auto& p : model.parameters().list()) {
    double difference = 0, size = 0;
    for (Index k = 0; k < p.size(); k += std::max<Index>(1, p.size() / 12)) {
      float& value = model.parameters().values()[p.offset + k];
      const float kept = value;
      const float h = 1e-3f;
      value = kept + h;
      const double up = loss(), up_at = static_cast<double>(value);
      value = kept - h;
      const double slope = (up - loss()) / (up_at - static_cast<double>(value));
      value = kept;
      difference =
          std::max(difference, std::abs(slope - static_cast<double>(gradient[static_cast<std::size_t>(p.offset + k)])));
      size = std::max(size, std::abs(slope));
    }
    CAPTURE(p.name, size);
    CHECK(difference <= 2e-3 + 5e-3 * size);
    scale = std::max(scale, size);
    worst = std::max(worst, difference);
  }
  CHECK(scale > 0.1);  // the differences mean something
}

TEST_CASE("activations computed again and weights packed for each use give the same bits", "[model]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const auto precision = GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16);
  CAPTURE(kind, static_cast<int>(precision));
  auto model = tiny_model(kind);
  model.set_precision(precision);
  const Forest forest = Example().shared();
  const std::vector<double> weight(static_cast<std::size_t>(forest.reads()), 0.5);
  const auto gradient = [&](bool recompute, bool keep_packed) {
    model.memory = {.recompute = recompute, .keep_packed = keep_packed};
    model.parameters().gradients();
    model.parameters().zero_gradients();
    model.backward(forest, {}, weight);
    const auto g = model.parameters().gradients();
    return std::vector<float>(g.begin(), g.end());
  };
  const auto kept = gradient(false, true);
  CHECK(kept == gradient(true, true));
  CHECK(kept == gradient(true, false));
  CHECK(kept == gradient(false, true));
}

TEST_CASE("log-probs and gradients are the same on one thread and on three", "[model]") {
  auto model = tiny_model("llama");
  model.set_precision(GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16));
  const Forest forest = Example().shared();
  const std::vector<double> weight(static_cast<std::size_t>(forest.reads()), 0.5);
  const int threads = thread_pool().threads();
  const auto run = [&](int count) {
    set_threads(count);
    model.parameters().gradients();
    model.parameters().zero_gradients();
    std::vector<double> values(weight.size());
    model.backward(forest, {}, weight, values);
    const auto g = model.parameters().gradients();
    values.insert(values.end(), g.begin(), g.end());
    return values;
  };
  const auto one = run(1);
  CHECK(one == run(3));
  set_threads(threads);
}

TEST_CASE("KL of a model to itself is zero and to another one positive", "[model]") {
  auto model = tiny_model("llama", 1), other = tiny_model("llama", 2);
  const Forest forest = Example().shared();
  std::vector<double> same(static_cast<std::size_t>(forest.reads())), different(same.size());
  model.kl(forest, model, {}, same);
  model.kl(forest, other, {}, different);
  for (std::size_t i = 0; i < same.size(); ++i) {
    CHECK(std::abs(same[i]) < 1e-6);
    CHECK(different[i] > 0);
  }
}

TEST_CASE("the score head reads the last token that is not padding", "[model]") {
  auto shape = tiny_shape("llama");
  shape.labels = 2;
  auto model = tiny_model(shape);
  model::ScoreInput input;
  const TokenId pad = 9;
  input.add(std::vector<TokenId>{3, 4, 9, 9}, pad);
  input.add(std::vector<TokenId>{3, 4}, pad);
  input.add(std::vector<TokenId>{9, 9}, pad);
  CHECK(input.row == std::vector<Index>{1, 5, 6});
  Tensor<float> scores(3, 2);
  model.score(input.forest, input.row, scores);
  CHECK(scores(0, 0) == scores(1, 0));
  CHECK(scores(0, 1) == scores(1, 1));
  CHECK_THROWS_AS(input.add({}, pad), DomainError);
  auto tokens = tiny_model("llama");
  CHECK_THROWS_AS(tokens.score(input.forest, input.row, scores), ConfigError);
}

TEST_CASE("a sequence beyond the context, a token beyond the vocabulary and a wrong count are refused", "[model][error]") {
  auto model = tiny_model("llama");
  Forest too_long;
  too_long.add(random_tokens(65, 37, 1));
  CHECK_THROWS_AS(model.forward(too_long), DomainError);
  Forest unknown;
  unknown.add(std::vector<TokenId>{3, 37});
  CHECK_THROWS_AS(model.forward(unknown), DomainError);
  const Forest forest = Example().shared();
  CHECK_THROWS_AS(model.backward(forest, {}, std::vector<double>(2)), ShapeError);
  auto shape = tiny_shape("llama");
  shape.vocab = 40;
  auto other = tiny_model(shape);
  std::vector<double> kl(static_cast<std::size_t>(forest.reads()));
  CHECK_THROWS_AS(model.kl(forest, other, {}, kl), ShapeError);
}
}  // namespace vbon::test
