#include "vbon/kernel/sample_token.hpp"

#include <limits>

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
constexpr float inf = std::numeric_limits<float>::infinity();

Doubles probabilities(View<const float> logit, double scale) {
  Doubles p;
  double most = -1e300, total = 0;
  for (const float z : logit) most = std::max(most, static_cast<double>(z) * scale);
  for (const float z : logit) p.push_back(std::exp(static_cast<double>(z) * scale - most));
  for (const double v : p) total += v;
  for (double& v : p) v /= total;
  return p;
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("a draw is the inverse of the running sum of probabilities", "[kernel][sample]", Archs) {
  for (const Index vocabulary : {1, 2, 17, 511, 512, 513, 2000}) {
    const auto logit = random_tensor(1, vocabulary, 1, 2);
    const float scale = 0.8f;
    const auto p = probabilities(logit, static_cast<double>(scale));
    for (std::uint64_t i = 0; i < 200; ++i) {
      const double u = RngKey{3, 4}.uniform(i);
      const auto draw = sample_token<TestType>(Cpu{}, logit, u, scale);
      double below = 0;
      for (Index v = 0; v < draw.token; ++v) below += p[static_cast<std::size_t>(v)];
      CAPTURE(vocabulary, u, draw.token);
      REQUIRE(below <= u + 1e-6);
      REQUIRE(below + p[static_cast<std::size_t>(draw.token)] >= u - 1e-6);
      REQUIRE(draw.log_prob == Approx(std::log(p[static_cast<std::size_t>(draw.token)])).margin(1e-5));
    }
  }
}

TEST_CASE("frequencies of draws pass a chi-square test", "[kernel][sample]") {
  const Index vocabulary = 1200;
  const int draws = 200000;
  for (const float scale : {1.0f, 0.5f}) {
    const auto logit = random_tensor(1, vocabulary, 5);
    const auto p = probabilities(logit, static_cast<double>(scale));
    std::vector<int> count(p.size());
    for (int i = 0; i < draws; ++i)
      ++count[static_cast<std::size_t>(
          sample_token(Cpu{}, logit, RngKey{11, 12}.uniform(static_cast<std::uint64_t>(i)), scale).token)];
    double chi_square = 0;
    for (std::size_t v = 0; v < p.size(); ++v) {
      const double expected = p[v] * draws;
      chi_square += (count[v] - expected) * (count[v] - expected) / expected;
    }
    const double freedom = static_cast<double>(vocabulary - 1);
    CHECK(std::abs(chi_square - freedom) < 4 * std::sqrt(2 * freedom));
  }
}

TEST_CASE("a sampled log-prob has the bits of token_log_prob, from logits and from the head",
          "[kernel][sample][invariance]") {
  const Index rows = 33, vocabulary = 1733, cols = 48;
  const auto x = random_tensor(rows, cols, 1);
  const auto weight = random_tensor(vocabulary, cols, 2, 0.4f);
  PackedMatrix<float> head;
  pack(Cpu{}, weight, Transpose::no, head);
  for (const HeadOptions options : {HeadOptions{}, HeadOptions{0.7f, 1}, HeadOptions{1.3f, 0.25f}}) {
    std::vector<double> uniform;
    for (Index b = 0; b < rows; ++b) uniform.push_back(RngKey{1, 2}.uniform(static_cast<std::uint64_t>(b)));
    std::vector<TokenDraw> fused(uniform.size()), plain(uniform.size());
    sample_from_head(Cpu{}, x, head, options, uniform, fused);
    Tensor<float> logit(rows, vocabulary);
    matmul(Cpu{}, x, head, logit);
    sample_tokens(Cpu{}, logit, uniform, plain, options.scale());
    std::vector<TokenId> token;
    for (const auto& d : fused) token.push_back(d.token);
    std::vector<double> log_prob(token.size());
    token_log_prob(Cpu{}, x, head, token, options, log_prob);
    for (std::size_t b = 0; b < token.size(); ++b) {
      CAPTURE(b, options.inv_temperature);
      CHECK(plain[b].token == fused[b].token);
      CHECK(plain[b].log_prob == fused[b].log_prob);
      CHECK(log_prob[b] == fused[b].log_prob);
    }
  }
}

TEST_CASE("tokens cut to -inf are never drawn and the log-prob is that of the rest", "[kernel][sample]") {
  Tensor<float> logit(1, 1500);
  for (Index v = 0; v < logit.size(); ++v) logit[v] = -inf;
  logit[3] = 1;
  logit[700] = 2;
  logit[1400] = 1;
  const double rest = std::log(2 * std::exp(1.0) + std::exp(2.0));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const auto draw = sample_token(Cpu{}, logit, RngKey{1, 1}.uniform(i));
    REQUIRE((draw.token == 3 || draw.token == 700 || draw.token == 1400));
    REQUIRE(draw.log_prob == Approx(static_cast<double>(logit[draw.token]) - rest).margin(1e-6));
  }
  CHECK(sample_token(Cpu{}, logit, 0).token == 3);
  CHECK(sample_token(Cpu{}, logit, 1 - 1e-16).token == 1400);
}

TEST_CASE("draws at 49,152 tokens: the ends of [0, 1) reach the ends of the vocabulary", "[kernel][sample]") {
  const auto logit = random_tensor(1, 49152, 8, 3);
  CHECK(sample_token(Cpu{}, logit, 0).token == 0);
  const auto last = sample_token(Cpu{}, logit, std::nextafter(1.0, 0.0)).token;
  CHECK(last > 49152 - 512);
  const auto p = probabilities(logit, 1);
  double below = 0;
  for (TokenId v = 0; v < 49152; v += 997) {
    below = 0;
    for (TokenId w = 0; w < v; ++w) below += p[static_cast<std::size_t>(w)];
    if (p[static_cast<std::size_t>(v)] < 1e-6) continue;  // too narrow for float sums to hit for sure
    CHECK(sample_token(Cpu{}, logit, below + 0.5 * p[static_cast<std::size_t>(v)]).token == v);
  }
}

TEST_CASE("rows without a possible token or with NaN are refused", "[kernel][sample][error]") {
  Tensor<float> none(1, 5), bad(1, 600), endless(1, 5);
  for (Index v = 0; v < 5; ++v) none[v] = -inf;
  bad[550] = std::numeric_limits<float>::quiet_NaN();
  endless[2] = inf;
  CHECK_THROWS_AS(sample_token(Cpu{}, none, 0.5), DomainError);
  CHECK_THROWS_AS(sample_token(Cpu{}, bad, 0.5), DomainError);
  CHECK_THROWS_AS(sample_token(Cpu{}, endless, 0.5), DomainError);
  std::vector<double> uniform(2);
  std::vector<TokenDraw> draw(2);
  CHECK_THROWS_AS(sample_tokens(Cpu{}, none, uniform, draw), ShapeError);
}
}  // namespace vbon::test
