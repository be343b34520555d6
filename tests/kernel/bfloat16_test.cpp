// Products in bfloat16: the products of the rounded factors, added in float, in either layout of the operands.
#include "vbon/kernel/bfloat16.hpp"

#include <limits>

#include "kernel/support.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/sample_token.hpp"
#include "vbon/kernel/token_log_prob.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
constexpr Precision bf16 = Precision::bfloat16;

template <class Arch_, class Low_>
struct Layout {
  using Arch = Arch_;
  using Low = Low_;
};
template <class... Arch>
auto layouts_of(std::tuple<Arch...>)
    -> std::tuple<Layout<Arch, kernel::detail::WidenedSlots<Arch>>..., Layout<Arch, kernel::detail::PairSlots<Arch>>...>;
using Layouts = decltype(layouts_of(Archs{}));

struct ProductSizes {
  Index rows, outputs, depth;
};
const ProductSizes product_sizes[] = {{1, 1, 1},     {1, 200, 37},  {2, 33, 5},   {3, 64, 16},    {4, 95, 31},
                                      {14, 32, 7},   {15, 65, 1},   {29, 96, 50}, {100, 40, 129}, {301, 70, 300},
                                      {61, 70, 999}, {5, 700, 601}, {2, 1, 2048}, {17, 1024, 66}, {20, 40, 2048}};

Tensor<float> rounded(View<const float> values) {
  Tensor<float> out(values.rows(), values.cols());
  for (Index i = 0; i < values.size(); ++i) out[i] = bfloat16_to_float(float_to_bfloat16(values[i]));
  return out;
}
Tensor<float> turned(View<const float> w) {
  Tensor<float> out(w.cols(), w.rows());
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) out(j, i) = w(i, j);
  return out;
}
/// a b^T of the rounded factors, plus `start`, in double.
Doubles rounded_product(View<const float> a, View<const float> b, View<const float> start = {}) {
  const auto x = rounded(a), w = rounded(b);
  Doubles y;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index n = 0; n < w.rows(); ++n) {
      double total = start.empty() ? 0 : static_cast<double>(start(start.rows() == 1 ? 0 : t, n));
      for (Index k = 0; k < x.cols(); ++k) total += static_cast<double>(x(t, k)) * static_cast<double>(w(n, k));
      y.push_back(total);
    }
  return y;
}
PackedMatrix<float> pairs_of(View<const float> w, Transpose transpose = Transpose::no) {
  PackedMatrix<float> out;
  out.set_precision(bf16);
  pack(Cpu{}, w, transpose, out);
  return out;
}
bool same_panels(const PackedMatrix<float>& a, const PackedMatrix<float>& b) {
  bool same = a.rows() == b.rows() && a.cols() == b.cols() && a.panel_size() == b.panel_size();
  for (Index p = 0; same && p < a.panels(); ++p)
    same = same_bits({a.panel(p), 1, a.panel_size()}, {b.panel(p), 1, b.panel_size()});
  return same;
}
/// What float adds up to over so many products that are exact.
double close(Index depth) { return 2e-6 * std::sqrt(static_cast<double>(depth)); }
}  // namespace

TEMPLATE_LIST_TEST_CASE("registers round to bfloat16 as single numbers do: to nearest, ties to even", "[kernel][bfloat16]",
                        Archs) {
  using Arch = TestType;
  std::vector<std::uint32_t> bits = {0x00000000, 0x80000000, 0x00000001, 0x00007fff, 0x00008000, 0x00008001,
                                     0x00018000, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x7f7f7fff,
                                     0x7f7f8000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000,
                                     0x7fffffff, 0xff800001, 0xffffffff, 0x007fffff, 0x00800000, 0x807f8000};
  for (std::uint64_t i = 0; i < 100000; ++i)
    bits.push_back(static_cast<std::uint32_t>(RngKey{3, 4}.uniform(i) * 4294967296.0));
  Index wrong = 0;
  for (const std::uint32_t pattern : bits) {
    const auto value = std::bit_cast<float>(pattern);
    const std::uint32_t got = kernel::detail::bfloat16_bits<Arch>(kernel::detail::Batch<Arch>(value)).get(0);
    wrong += got != static_cast<std::uint32_t>(float_to_bfloat16(value)) << 16 ? 1 : 0;
  }
  CHECK(wrong == 0);
  const auto rounds_to = [](std::uint32_t pattern) { return float_to_bfloat16(std::bit_cast<float>(pattern)); };
  CHECK(rounds_to(0x3f808000) == 0x3f80);  // a tie goes to the even one, below
  CHECK(rounds_to(0x3f818000) == 0x3f82);  // and above
  CHECK(rounds_to(0x7f7fffff) == 0x7f80);  // beyond the largest number: infinity
  CHECK(rounds_to(0x00008001) == 0x0001);  // a subnormal number
  CHECK(std::isnan(bfloat16_to_float(rounds_to(0x7f800001))));
}

TEMPLATE_LIST_TEST_CASE("the three products in bfloat16 are those of the rounded factors", "[kernel][bfloat16]", Layouts) {
  using Arch = typename TestType::Arch;
  using Low = typename TestType::Low;
  for (const auto& [rows, outputs, depth] : product_sizes) {
    CAPTURE(rows, outputs, depth);
    const auto x = random_tensor(rows, depth, 1), w = random_tensor(outputs, depth, 2), bias = random_tensor(1, outputs, 3),
               dy = random_tensor(rows, outputs, 4);
    Tensor<float> y(rows, outputs);
    matmul<Arch, Low>(Cpu{}, x, pairs_of(w), y);
    CHECK(distance(y, rounded_product(x, w)) < close(depth));
    matmul<Arch, Low>(Cpu{}, x, pairs_of(turned(w), Transpose::yes), y, bias);
    CHECK(distance(y, rounded_product(x, w, bias)) < close(depth));
    const auto before = y;
    matmul<Arch, Low>(Cpu{}, x, pairs_of(w), y, {}, true);
    CHECK(distance(y, rounded_product(x, w, before)) < close(depth));

    Tensor<float> dx(rows, depth), by_pack(rows, depth);
    matmul_grad_input<Arch, Low>(Cpu{}, dy, w, dx, false, bf16);
    CHECK(distance(dx, rounded_product(dy, turned(w))) < close(outputs));
    matmul<Arch, Low>(Cpu{}, dy, pairs_of(w, Transpose::yes), by_pack);
    CHECK(same_bits(dx, by_pack));
    const auto start = random_tensor(outputs, depth, 5);
    Tensor<float> dw = start;
    matmul_grad_weight<Arch, Low>(Cpu{}, dy, x, dw, bf16);
    CHECK(distance(dw, rounded_product(turned(dy), turned(x), start)) < 1.5 * close(rows));
  }
}

TEMPLATE_LIST_TEST_CASE("where no instruction multiplies pairs, both layouts have the same bits", "[kernel][bfloat16]",
                        Archs) {
  using Widened = kernel::detail::WidenedSlots<TestType>;
  using Pairs = kernel::detail::PairSlots<TestType>;
  if (kernel::detail::PairInstruction<TestType>::exists) return;
  for (const auto& [rows, outputs, depth] : product_sizes) {
    CAPTURE(rows, outputs, depth);
    const auto x = random_tensor(rows, depth, 1), w = random_tensor(outputs, depth, 2), dy = random_tensor(rows, outputs, 3);
    Tensor<float> a(rows, outputs), b(rows, outputs);
    matmul<TestType, Widened>(Cpu{}, x, pairs_of(w), a);
    matmul<TestType, Pairs>(Cpu{}, x, pairs_of(w), b);
    CHECK(same_bits(a, b));
    Tensor<float> c(rows, depth), d(rows, depth);
    matmul_grad_input<TestType, Widened>(Cpu{}, dy, w, c, false, bf16);
    matmul_grad_input<TestType, Pairs>(Cpu{}, dy, w, d, false, bf16);
    CHECK(same_bits(c, d));
    Tensor<float> e(outputs, depth), f(outputs, depth);
    matmul_grad_weight<TestType, Widened>(Cpu{}, dy, x, e, bf16);
    matmul_grad_weight<TestType, Pairs>(Cpu{}, dy, x, f, bf16);
    CHECK(same_bits(e, f));
  }
}

TEMPLATE_LIST_TEST_CASE("in bfloat16 too a row has the same bits alone and at any place of any batch",
                        "[kernel][bfloat16][invariance]", Layouts) {
  using Arch = typename TestType::Arch;
  using Low = typename TestType::Low;
  for (const Index depth : {Index{1}, Index{63}, Index{576}, Index{1001}, Index{2048}}) {
    const auto x = random_tensor(61, depth, 1), w = random_tensor(197, depth, 2), bias = random_tensor(1, 197, 3);
    const auto panels = pairs_of(w);
    Tensor<float> all(61, 197);
    matmul<Arch, Low>(Cpu{}, x, panels, all, bias);
    for (const Index count : {1, 2, 3, 4, 7, 14, 15, 17, 30})
      for (Index first = 0; first + count <= 61; first += 11) {
        Tensor<float> some(count, 197);
        matmul<Arch, Low>(Cpu{}, x.view().middle_rows(first, count), panels, some, bias);
        CAPTURE(depth, count, first);
        REQUIRE(same_bits(some, all.view().middle_rows(first, count)));
      }
  }
}

TEST_CASE("products in bfloat16 have the same bits on 1, 2, 3 and 8 threads", "[kernel][bfloat16][invariance]") {
  const auto x = random_tensor(301, 131, 1), w = random_tensor(450, 131, 2), dy = random_tensor(301, 450, 3);
  const auto panels = pairs_of(w);
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(301, 450);
    matmul(Cpu{}, x, panels, y);
    return y;
  }));
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(301, 131);
    matmul_grad_input(Cpu{}, dy, w, y, false, bf16);
    return y;
  }));
  CHECK(same_on_any_threads([&] {
    Tensor<float> y(450, 131);
    matmul_grad_weight(Cpu{}, dy, x, y, bf16);
    return y;
  }));
}

TEST_CASE("a weight is packed as pairs of bfloat16 from wherever it comes, in half the memory", "[kernel][bfloat16]") {
  for (const auto& [rows, outputs, depth] : product_sizes) {
    CAPTURE(outputs, depth);
    const auto w = random_tensor(outputs, depth, 2);
    const auto want = pairs_of(w);
    CHECK(want.format() == bfloat16_format);
    CHECK(want.panel_size() == (depth + 1) / 2 * panel_width);
    CHECK(same_panels(pairs_of(turned(w), Transpose::yes), want));
    PackedMatrix<float> got;
    got.set_precision(bf16);
    pack_from(
        Cpu{}, outputs, depth,
        [&](Index first, Index count, float* out) { std::copy_n(w.row(first).data(), count * depth, out); }, got);
    CHECK(same_panels(got, want));
    if (depth % 2 != 0) continue;
    std::vector<std::uint16_t> stored;  // rows of a checkpoint: the numbers themselves
    for (const float value : w.view()) stored.push_back(float_to_bfloat16(value));
    pack_stored(
        Cpu{}, outputs, depth, *bfloat16_format,
        [&](Index i) { return reinterpret_cast<const std::byte*>(stored.data() + i * depth); }, got);
    CHECK(same_panels(got, want));
  }
  PackedMatrix<float> other = pairs_of(random_tensor(40, 32, 1));
  const std::vector<std::byte> bytes(4096);
  CHECK_THROWS_WITH(pack_stored(
                        Cpu{}, 40, 32, *find_packed_format(BlockType::q8_0, 32), [&](Index) { return bytes.data(); }, other),
                    Catch::Contains("Q8_0") && Catch::Contains("bfloat16"));
  other.set_precision(bf16);
  CHECK_FALSE(other.empty());
  other.set_precision(Precision::float32);
  CHECK(other.empty());
}

TEST_CASE("infinities and NaN go through a product in bfloat16", "[kernel][bfloat16][bad_input]") {
  const float infinity = std::numeric_limits<float>::infinity();
  Tensor<float> x(3, 5), w(1, 5), y(3, 1);
  for (float& value : w.view()) value = 1;
  x(0, 2) = infinity;
  x(1, 4) = std::bit_cast<float>(0x7f800001u);  // a NaN of which rounding would make infinity
  x(2, 0) = 3.4e38f;                            // above the largest bfloat16
  matmul(Cpu{}, x, pairs_of(w), y);
  CHECK(y[0] == infinity);
  CHECK(std::isnan(y[1]));
  CHECK(y[2] == infinity);
}

TEST_CASE("sums of nothing and empty batches are allowed in bfloat16", "[kernel][bfloat16]") {
  const auto bias = random_tensor(1, 40, 1);
  Tensor<float> y(3, 40);
  matmul(Cpu{}, Tensor<float>(3, 0), pairs_of(Tensor<float>(40, 0)), y, bias);
  for (Index t = 0; t < 3; ++t) CHECK(same_bits(y.row(t), bias));
  const auto w = random_tensor(8, 5, 1);
  Tensor<float> none(0, 5), no_rows(0, 8), dw(8, 5);
  matmul(Cpu{}, none, pairs_of(w), no_rows);
  matmul_grad_input(Cpu{}, no_rows, w, none, false, bf16);
  matmul_grad_weight(Cpu{}, no_rows, none, dw, bf16);
  CHECK(distance(dw, Doubles(40)) == 0);
}

namespace {
struct LowHead {
  Tensor<float> weight;
  PackedMatrix<float> packed;
  LowHead(Index vocabulary, Index cols, std::uint64_t seed)
      : weight(random_tensor(vocabulary, cols, seed, 0.5f)), packed(pairs_of(weight)) {}
};
std::vector<TokenId> some_tokens(Index count, Index vocabulary) {
  std::vector<TokenId> tokens;
  for (Index t = 0; t < count; ++t)
    tokens.push_back(static_cast<TokenId>(RngKey{3, 5}.below(static_cast<std::uint64_t>(t), vocabulary)));
  return tokens;
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("the head in bfloat16: log-probs, draws and KL are those of its logits", "[kernel][bfloat16][head]",
                        Layouts) {
  using Arch = typename TestType::Arch;
  using Low = typename TestType::Low;
  const Index rows = 30, vocabulary = 1301, cols = 63;
  const auto x = random_tensor(rows, cols, 1), other_x = random_tensor(rows, cols, 6);
  const LowHead head(vocabulary, cols, 2), other(vocabulary, cols, 7);
  const auto target = some_tokens(rows, vocabulary);
  const HeadOptions options{0.8f, 1};
  Tensor<float> logit(rows, vocabulary), other_logit(rows, vocabulary);
  matmul<Arch, Low>(Cpu{}, x, head.packed, logit);
  matmul<Arch, Low>(Cpu{}, other_x, other.packed, other_logit);
  std::vector<double> log_prob(target.size()), kl(target.size()), uniform;
  for (std::size_t t = 0; t < target.size(); ++t) uniform.push_back(RngKey{8, 9}.uniform(t));
  std::vector<TokenDraw> draw(target.size());
  token_log_prob<Arch, Low>(Cpu{}, x, head.packed, target, options, log_prob);
  sample_from_head<Arch, Low>(Cpu{}, x, head.packed, options, uniform, draw);
  token_kl<Arch, Low>(Cpu{}, x, head.packed, other_x, other.packed, options, kl);
  for (Index t = 0; t < rows; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const double norm = log_sum_exp<Arch>(Cpu{}, logit.row(t), options.scale());
    REQUIRE(log_prob[i] == static_cast<double>(logit(t, target[i]) * options.scale()) - norm);
    const TokenDraw want = sample_token<Arch>(Cpu{}, logit.row(t), uniform[i], options.scale());
    REQUIRE(draw[i].token == want.token);
    REQUIRE(draw[i].log_prob == want.log_prob);
    const double other_norm = log_sum_exp<Arch>(Cpu{}, other_logit.row(t), options.scale());
    double sum = 0;
    for (Index v = 0; v < vocabulary; ++v) {
      const double p = static_cast<double>(logit(t, v) * options.scale()) - norm;
      sum += std::exp(p) * (p - static_cast<double>(other_logit(t, v) * options.scale()) + other_norm);
    }
    REQUIRE(kl[i] == Approx(sum).epsilon(1e-5));
  }
}

TEMPLATE_LIST_TEST_CASE("the head's gradient in bfloat16 agrees with the products over materialised logits",
                        "[kernel][bfloat16][head][gradient]", Layouts) {
  using Arch = typename TestType::Arch;
  using Low = typename TestType::Low;
  const Index rows = 1100, vocabulary = 1701, cols = 21;  // several slices of rows, a last tile of odd width
  const auto x = random_tensor(rows, cols, 1);
  const LowHead head(vocabulary, cols, 2);
  const auto target = some_tokens(rows, vocabulary);
  std::vector<double> log_prob(target.size()), gradient;
  std::vector<double> lse(target.size());
  for (Index t = 0; t < rows; ++t) gradient.push_back(RngKey{9, 9}.normal(static_cast<std::uint64_t>(t)));
  token_log_prob<Arch, Low>(Cpu{}, x, head.packed, target, {}, log_prob, lse);
  Tensor<float> d(rows, vocabulary);
  matmul<Arch, Low>(Cpu{}, x, head.packed, d);
  softmax<Arch>(Cpu{}, d, d);
  for (Index t = 0; t < rows; ++t) {
    // In the head's order: a last bit that differs may round to the other neighbour, 2^-8 of the value away.
    const auto slope = static_cast<float>(gradient[static_cast<std::size_t>(t)]);
    for (Index v = 0; v < vocabulary; ++v) d(t, v) *= -slope;
    d(t, target[static_cast<std::size_t>(t)]) += slope;
  }
  Tensor<float> dx(rows, cols), dw(vocabulary, cols), want_dx(rows, cols), want_dw(vocabulary, cols);
  matmul_grad_input<Arch, Low>(Cpu{}, d, head.weight, want_dx, false, bf16);
  matmul_grad_weight<Arch, Low>(Cpu{}, d, x, want_dw, bf16);
  token_log_prob_backward<Arch, Low>(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, dx, dw);
  CHECK(distance(dx, doubles(want_dx)) < 1e-5);
  CHECK(distance(dw, doubles(want_dw)) < 1e-5);
  const Index all = kept_logits(rows, vocabulary, std::numeric_limits<Index>::max());
  for (const Index count : {kept_logits(rows, vocabulary, all - 1), all}) {
    std::vector<float> kept(static_cast<std::size_t>(count));
    token_log_prob<Arch, Low>(Cpu{}, x, head.packed, target, {}, log_prob, lse, {}, kept);
    Tensor<float> a(rows, cols), b(vocabulary, cols);
    token_log_prob_backward<Arch, Low>(Cpu{}, x, head.packed, head.weight, target, {}, lse, gradient, a, b, kept);
    CHECK(same_bits(a, dx));
    CHECK(same_bits(b, dw));
  }
}
}  // namespace vbon::test
