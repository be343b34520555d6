#include "vbon/kernel/token_log_prob.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
struct Head {
  Tensor<float> weight;
  PackedMatrix<float> packed;
  Head(Index vocabulary, Index cols, std::uint64_t seed, float scale = 0.5f)
      : weight(random_tensor(vocabulary, cols, seed, scale)) {
    pack(Cpu{}, weight, Transpose::no, packed);
  }
};
std::vector<TokenId> random_tokens(Index count, Index vocabulary, std::uint64_t seed) {
  std::vector<TokenId> tokens;
  for (Index t = 0; t < count; ++t)
    tokens.push_back(static_cast<TokenId>(RngKey{seed, 5}.below(static_cast<std::uint64_t>(t), vocabulary)));
  return tokens;
}
/// Rows of log-probabilities in double.
std::vector<Doubles> log_probs(const Doubles& x, const Doubles& w, Index rows, Index vocabulary, Index cols, double scale) {
  std::vector<Doubles> all;
  for (Index t = 0; t < rows; ++t) {
    Doubles z;
    double most = -1e300, total = 0;
    for (Index v = 0; v < vocabulary; ++v) {
      double sum = 0;
      for (Index c = 0; c < cols; ++c)
        sum += x[static_cast<std::size_t>(t * cols + c)] * w[static_cast<std::size_t>(v * cols + c)];
      z.push_back(sum * scale);
      most = std::max(most, z.back());
    }
    for (const double a : z) total += std::exp(a - most);
    for (double& a : z) a -= most + std::log(total);
    all.push_back(z);
  }
  return all;
}
struct HeadSizes {
  Index rows, vocabulary, cols;
};
const HeadSizes head_sizes[] = {{1, 3, 2}, {3, 512, 16}, {5, 513, 33}, {17, 1700, 40}, {250, 90, 8}};
}  // namespace

TEMPLATE_LIST_TEST_CASE("token log-probs, log-sum-exp and entropy agree with the definition", "[kernel][head]", Archs) {
  for (const auto& [rows, vocabulary, cols] : head_sizes)
    for (const HeadOptions options : {HeadOptions{}, HeadOptions{0.7f, 1.5f}, HeadOptions{4, 1}}) {
      CAPTURE(rows, vocabulary, cols, options.inv_temperature);
      const auto x = random_tensor(rows, cols, 1);
      const Head head(vocabulary, cols, 2);
      const auto target = random_tokens(rows, vocabulary, 3);
      std::vector<double> log_prob(target.size()), entropy(target.size());
      std::vector<double> lse(target.size());
      token_log_prob<TestType>(Cpu{}, x, head.packed, target, options, log_prob, lse, entropy);
      const auto want =
          log_probs(doubles(x), doubles(head.weight), rows, vocabulary, cols, static_cast<double>(options.scale()));
      for (std::size_t t = 0; t < target.size(); ++t) {
        const Doubles& row = want[t];
        double h = 0;
        for (const double p : row) h -= std::exp(p) * p;
        REQUIRE(log_prob[t] == Approx(row[static_cast<std::size_t>(target[t])]).margin(5e-5).epsilon(1e-6));
        REQUIRE(entropy[t] == Approx(h).margin(5e-5).epsilon(1e-5));
      }
    }
}

TEMPLATE_LIST_TEST_CASE("a row that is not a number is not hidden", "[kernel][head]", Archs) {
  const Index rows = 3, vocabulary = 700, cols = 8;
  const auto x = random_tensor(rows, cols, 1);
  const Head head(vocabulary, cols, 2);
  const auto target = random_tokens(rows, vocabulary, 3);
  const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity());
  auto damaged = random_tensor(rows, cols, 1);
  damaged(1, 5) = bad;
  std::vector<double> log_prob(target.size()), entropy(target.size()), lse(target.size()), kl(target.size());
  token_log_prob<TestType>(Cpu{}, damaged, head.packed, target, {}, log_prob, lse, entropy);
  const auto whole = [](const std::vector<double>& values) {
    return std::isfinite(values[0]) && !std::isfinite(values[1]) && std::isfinite(values[2]);
  };
  CHECK(whole(log_prob));
  CHECK(whole(lse));
  CHECK(whole(entropy));
  token_kl<TestType>(Cpu{}, damaged, head.packed, x, head.packed, {}, kl);
  CHECK(whole(kl));
  token_kl<TestType>(Cpu{}, x, head.packed, damaged, head.packed, {}, kl);
  CHECK(whole(kl));
}

TEST_CASE("a row's log-prob has the same bits in any batch and from the full logits", "[kernel][head][invariance]") {
  const Index rows = 130, vocabulary = 1301, cols = 64;
  const auto x = random_tensor(rows, cols, 1);
  const Head head(vocabulary, cols, 2);
  const auto target = random_tokens(rows, vocabulary, 3);
  const HeadOptions options{0.8f, 1};
  std::vector<double> log_prob(target.size());
  token_log_prob(Cpu{}, x, head.packed, target, options, log_prob);
  Tensor<float> logit(rows, vocabulary);
  matmul(Cpu{}, x, head.packed, logit);
  for (Index t = 0; t < rows; ++t) {
    const auto i = static_cast<std::size_t>(t);
    double alone = 0;
    token_log_prob(Cpu{}, x.row(t), head.packed, std::span(target).subspan(i, 1), options, {&alone, 1});
    REQUIRE(alone == log_prob[i]);
    const float z = logit(t, target[i]) * options.scale();
    REQUIRE(static_cast<double>(z) - log_sum_exp(Cpu{}, logit.row(t), options.scale()) == log_prob[i]);
  }
}

TEMPLATE_LIST_TEST_CASE("the gradient of the fused head agrees with finite differences", "[kernel][head][gradient]", Archs) {
  for (const auto& [rows, vocabulary, cols] : {HeadSizes{1, 3, 2}, HeadSizes{4, 37, 5}, HeadSizes{3, 530, 3}}) {
    CAPTURE(rows, vocabulary, cols);
    const auto x = random_tensor(rows, cols, 1);
    const Head head(vocabulary, cols, 2);
    const auto target = random_tokens(rows, vocabulary, 3);
    const HeadOptions options{1.3f, 0.9f};
    std::vector<double> log_prob(target.size()), gradient;
    for (Index t = 0; t < rows; ++t) gradient.push_back(RngKey{9, 9}.normal(static_cast<std::uint64_t>(t)));
    std::vector<double> lse(target.size());
    token_log_prob<TestType>(Cpu{}, x, head.packed, target, options, log_prob, lse);
    Tensor<float> dx = random_tensor(rows, cols, 4), dw(vocabulary, cols);
    token_log_prob_backward<TestType>(Cpu{}, x, head.packed, head.weight, target, options, lse, gradient, dx, dw);
    const Doubles x0 = doubles(x), w0 = doubles(head.weight);
    const auto loss = [&](const Doubles& a, const Doubles& b) {
      const auto rows_of = log_probs(a, b, rows, vocabulary, cols, static_cast<double>(options.scale()));
      double total = 0;
      for (std::size_t t = 0; t < target.size(); ++t) total += gradient[t] * rows_of[t][static_cast<std::size_t>(target[t])];
      return total;
    };
    CHECK(distance(dx, numeric_gradient([&](const Doubles& a) { return loss(a, w0); }, x0)) < 1e-5);
    CHECK(distance(dw, numeric_gradient([&](const Doubles& b) { return loss(x0, b); }, w0)) < 1e-5);
  }
}

TEST_CASE("the head's gradient agrees with the products over materialised logits", "[kernel][head][gradient]") {
  const Index rows = 1100, vocabulary = 9001, cols = 20;  // several slices of rows, tiles and groups of tiles
  const auto x = random_tensor(rows, cols, 1);
  const Head head(vocabulary, cols, 2);
  const auto target = random_tokens(rows, vocabulary, 3);
  std::vector<double> log_prob(target.size()), gradient;
  std::vector<double> lse(target.size());
  for (Index t = 0; t < rows; ++t) gradient.push_back(RngKey{9, 9}.normal(static_cast<std::uint64_t>(t)));
  token_log_prob(Cpu{}, x, head.packed, target, {}, log_prob, lse);
  Tensor<float> p(rows, vocabulary);
  matmul(Cpu{}, x, head.packed, p);
  softmax(Cpu{}, p, p);
  for (Index t = 0; t < rows; ++t)
    for (Index v = 0; v < vocabulary; ++v)
      p(t, v) = static_cast<float>(gradient[static_cast<std::size_t>(t)]) *
                ((v == target[static_cast<std::size_t>(t)] ? 1.0f : 0.0f) - p(t, v));
  Tensor<float> want_dx(rows, cols), want_dw(vocabulary, cols);
  matmul_grad_input(Cpu{}, p, head.weight, want_dx);
  matmul_grad_weight(Cpu{}, p, x, want_dw);
  Tensor<float> dx(rows, cols), dw(vocabulary, cols);
  token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, dx, dw);
  CHECK(distance(dx, doubles(want_dx)) < 2e-5);
  CHECK(distance(dw, doubles(want_dw)) < 2e-5);

  SECTION("either gradient may be left out") {
    Tensor<float> only(rows, cols);
    token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, only, {});
    CHECK(same_bits(only, dx));
    Tensor<float> weight_only(vocabulary, cols);
    token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, {}, weight_only);
    CHECK(same_bits(weight_only, dw));
  }
  SECTION("the gradient of the weight may be written instead of added to") {
    Tensor<float> again(rows, cols), written = full_of_nan(vocabulary, cols);
    token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, again, written, {}, false);
    CHECK(same_bits(written, dw));
    token_log_prob_backward(Cpu{}, x.view().middle_rows(0, 0), head.packed, head.weight, {}, {}, {}, {}, {}, written, {},
                            false);
    CHECK(written.view().array().abs().maxCoeff() == 0);
  }
  SECTION("kept logits, all or some of them, do not change it") {
    const Index all = kept_logits(rows, vocabulary, std::numeric_limits<Index>::max());
    const Index some = kept_logits(rows, vocabulary, all - 1);
    CHECK(some < all);
    CHECK(some > 0);
    CHECK(kept_logits(rows, vocabulary, 0) == 0);
    CHECK(kept_logits(0, vocabulary, all) == 0);
    token_log_prob_backward(Cpu{}, x.view().middle_rows(0, 0), head.packed, head.weight, {}, {}, {}, {}, {}, dw);
    for (const Index count : {some, all}) {
      std::vector<float> kept(static_cast<std::size_t>(count));
      std::vector<double> again(target.size()), sums(lse.size());
      token_log_prob(Cpu{}, x, head.packed, target, {}, again, sums, {}, kept);
      CHECK(again == log_prob);
      CHECK(sums == lse);
      Tensor<float> a(rows, cols), b(vocabulary, cols);
      token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, a, b, kept);
      CHECK(same_bits(a, dx));
      CHECK(same_bits(b, dw));
    }
    std::vector<float> odd(static_cast<std::size_t>(all + 1));
    CHECK_THROWS_AS(token_log_prob(Cpu{}, x, head.packed, target, {}, log_prob, lse, {}, odd), ShapeError);
  }
  SECTION("threads do not change it") {
    CHECK(same_on_any_threads([&] {
      Tensor<float> a(rows, cols), b(vocabulary, cols);
      token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, a, b);
      Tensor<float> both(rows + vocabulary, cols);
      std::copy(a.view().begin(), a.view().end(), both.data());
      std::copy(b.view().begin(), b.view().end(), both.data() + a.size());
      return both;
    }));
  }
}

TEMPLATE_LIST_TEST_CASE("the KL of two heads agrees with the sum over the vocabulary", "[kernel][head]", Archs) {
  for (const auto& [rows, vocabulary, cols] : head_sizes) {
    CAPTURE(rows, vocabulary, cols);
    const auto xp = random_tensor(rows, cols, 1), xq = random_tensor(rows, cols + 3, 2);
    const Head p(vocabulary, cols, 3), q(vocabulary, cols + 3, 4);
    std::vector<double> kl(static_cast<std::size_t>(rows)), self(kl);
    token_kl<TestType>(Cpu{}, xp, p.packed, xq, q.packed, {0.9f, 1}, kl);
    token_kl<TestType>(Cpu{}, xp, p.packed, xp, p.packed, {0.9f, 1}, self);
    const double scale = static_cast<double>(0.9f);
    const auto log_p = log_probs(doubles(xp), doubles(p.weight), rows, vocabulary, cols, scale);
    const auto log_q = log_probs(doubles(xq), doubles(q.weight), rows, vocabulary, cols + 3, scale);
    for (std::size_t t = 0; t < kl.size(); ++t) {
      double want = 0;
      for (std::size_t v = 0; v < log_p[t].size(); ++v) want += std::exp(log_p[t][v]) * (log_p[t][v] - log_q[t][v]);
      REQUIRE(kl[t] == Approx(want).margin(2e-5).epsilon(1e-5));
      REQUIRE(self[t] == 0);
    }
  }
}

TEST_CASE("a real vocabulary of 49,152 keeps its precision", "[kernel][head]") {
  const Index rows = 2, vocabulary = 49152, cols = 24;
  const auto x = random_tensor(rows, cols, 1, 2);
  const Head head(vocabulary, cols, 2);
  const auto target = random_tokens(rows, vocabulary, 3);
  std::vector<double> log_prob(2);
  token_log_prob(Cpu{}, x, head.packed, target, {}, log_prob);
  const auto want = log_probs(doubles(x), doubles(head.weight), rows, vocabulary, cols, 1);
  for (std::size_t t = 0; t < 2; ++t)
    CHECK(log_prob[t] == Approx(want[t][static_cast<std::size_t>(target[t])]).epsilon(1e-6));
}

TEST_CASE("shapes and tokens that do not fit the head are refused", "[kernel][head][error]") {
  const Head head(10, 4, 1);
  const auto x = random_tensor(2, 4, 2);
  std::vector<double> out(2);
  const std::vector<TokenId> good = {0, 9}, late = {0, 10}, negative = {-1, 0}, few = {0};
  CHECK_NOTHROW(token_log_prob(Cpu{}, x, head.packed, good, {}, out));
  CHECK_THROWS_AS(token_log_prob(Cpu{}, x, head.packed, late, {}, out), DomainError);
  CHECK_THROWS_AS(token_log_prob(Cpu{}, x, head.packed, negative, {}, out), DomainError);
  CHECK_THROWS_AS(token_log_prob(Cpu{}, x, head.packed, few, {}, out), ShapeError);
  CHECK_THROWS_AS(token_log_prob(Cpu{}, random_tensor(2, 5, 1), head.packed, good, {}, out), ShapeError);
  CHECK_THROWS_AS(token_kl(Cpu{}, x, head.packed, x, Head(11, 4, 1).packed, {}, out), ShapeError);
  Tensor<float> dx(2, 4), dweight(10, 4);
  const auto gradient = [&](const std::vector<TokenId>& target) {
    token_log_prob_backward(Cpu{}, x, head.packed, head.weight, target, {}, out, out, dx, dweight);
  };
  CHECK_NOTHROW(gradient(good));
  CHECK_THROWS_AS(gradient(late), DomainError);
  CHECK_THROWS_AS(gradient(negative), DomainError);
}
}  // namespace vbon::test
