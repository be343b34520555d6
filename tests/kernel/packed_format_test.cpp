// Weights packed in the bits of a checkpoint: every product has the bits of the same weights decoded to floats.
#include "vbon/kernel/packed_format.hpp"

#include <limits>

#include "kernel/support.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/sample_token.hpp"

namespace vbon::test {
using namespace kernel;

namespace {
/// Rows as a file stores them.
struct Stored {
  const PackedFormat& format;
  Index rows, cols;
  std::vector<std::byte> bytes;

  const BlockFormat& block() const { return block_format(format.type); }
  Index row_bytes() const { return cols / static_cast<Index>(block().elements) * static_cast<Index>(block().bytes); }
  const std::byte* row(Index i) const { return bytes.data() + i * row_bytes(); }
};
/// Any bits but the exponents of large numbers, infinities and NaN, in the scales too: each 16-bit number is below 2.
Stored random_stored(const PackedFormat& format, Index rows, Index cols, std::uint64_t seed) {
  Stored out{format, rows, cols, {}};
  out.bytes.resize(static_cast<std::size_t>(rows * out.row_bytes()));
  const RngKey key{seed, 5};
  for (std::size_t i = 0; i < out.bytes.size(); ++i)
    out.bytes[i] = static_cast<std::byte>(static_cast<int>(key.uniform(i) * 256));
  const std::size_t step = format.depth == 32 ? out.block().bytes : 2;
  const std::size_t halves = format.type == BlockType::q4_1 ? 2 : 1;
  for (std::size_t i = 0; i < out.bytes.size(); i += step)
    for (std::size_t h = 0; h < halves; ++h) out.bytes[i + 2 * h + 1] &= std::byte{0xbf};
  return out;
}
Tensor<float> decoded(const Stored& stored) {
  Tensor<float> out(stored.rows, stored.cols);
  const auto blocks = static_cast<std::size_t>(stored.cols) / stored.block().elements;
  for (Index i = 0; i < stored.rows; ++i) decode_blocks(stored.block(), stored.row(i), blocks, out.row(i).data());
  return out;
}
PackedMatrix<float> compact(const Stored& stored) {
  PackedMatrix<float> out;
  pack_stored(
      Cpu{}, stored.rows, stored.cols, stored.format, [&](Index i) { return stored.row(i); }, out);
  return out;
}
PackedMatrix<float> as_floats(const Stored& stored) {
  PackedMatrix<float> out;
  pack(Cpu{}, decoded(stored), Transpose::no, out);
  return out;
}
}  // namespace

TEMPLATE_LIST_TEST_CASE("a product with a compact weight has the bits of that with its floats", "[kernel][packed]", Archs) {
  for (const PackedFormat& format : packed_formats)
    for (const auto& [outputs, depth] : {std::pair<Index, Index>{1, 32}, {33, 64}, {70, 224}, {300, 416}}) {
      const Stored stored = random_stored(format, outputs, depth, 1);
      const auto few = compact(stored), floats = as_floats(stored);
      const auto x = random_tensor(60, depth, 2), bias = random_tensor(1, outputs, 3), start = random_tensor(60, outputs, 4);
      for (const Index rows : {1, 2, 3, 4, 6, 7, 14, 15, 60}) {
        CAPTURE(block_format(format.type).name, outputs, depth, rows);
        const View<const float> some = x.view().middle_rows(0, rows);
        Tensor<float> got(rows, outputs), want(rows, outputs);
        matmul<TestType>(Cpu{}, some, few, got);
        matmul<TestType>(Cpu{}, some, floats, want);
        REQUIRE(same_bits(got, want));
        for (const bool with_bias : {false, true}) {
          std::copy_n(start.data(), got.size(), got.data());
          std::copy_n(start.data(), want.size(), want.data());
          const View<const float> added = with_bias ? bias.view() : View<const float>{};
          matmul<TestType>(Cpu{}, some, few, got, added, true);
          matmul<TestType>(Cpu{}, some, floats, want, added, true);
          REQUIRE(same_bits(got, want));
        }
      }
    }
}

TEMPLATE_LIST_TEST_CASE("what is added to a zero has the same sign alone and in a batch", "[kernel][packed]", Archs) {
  for (const PackedFormat& format : packed_formats) {
    CAPTURE(block_format(format.type).name);
    Stored stored{format, 40, 64, {}};
    stored.bytes.resize(static_cast<std::size_t>(40 * stored.row_bytes()));  // weights of 0
    const auto zeros = compact(stored);
    Tensor<float> x(2, 64), y(2, 40);
    for (float& v : x.view()) v = -1;
    for (float& v : y.view()) v = -0.0f;
    Tensor<float> alone(1, 40);
    std::copy_n(y.data(), 40, alone.data());
    matmul<TestType>(Cpu{}, x, zeros, y, {}, true);
    matmul<TestType>(Cpu{}, x.view().row(0), zeros, alone, {}, true);
    CHECK(same_bits(alone, y.view().row(0)));
  }
}

TEMPLATE_LIST_TEST_CASE("every 16-bit number widens to its float", "[kernel][packed]", Archs) {
  constexpr Index patterns = 65536;
  for (const BlockType type : {BlockType::f16, BlockType::bf16}) {
    CAPTURE(block_format(type).name);
    Stored stored{*find_packed_format(type, 2), patterns, 2, std::vector<std::byte>(4 * patterns)};
    for (std::uint32_t i = 0; i < patterns; ++i) std::memcpy(stored.bytes.data() + 4 * i, &i, 4);  // (number, 0)
    const auto want = decoded(stored);
    const auto few = compact(stored);
    for (const Index rows : {1, 4, 40}) {
      Tensor<float> x(rows, 2), y(rows, patterns);
      for (Index r = 0; r < rows; ++r) x(r, 0) = 1;
      matmul<TestType>(Cpu{}, x, few, y);
      bool equal = true;
      for (Index r = 0; r < rows; ++r)
        for (Index i = 0; i < patterns; ++i)
          equal = equal && (y(r, i) == want(i, 0) || (std::isnan(y(r, i)) && std::isnan(want(i, 0))));
      CHECK(equal);
    }
  }
}

TEST_CASE("the head of a vocabulary may be compact", "[kernel][packed]") {
  for (const PackedFormat& format : packed_formats) {
    CAPTURE(block_format(format.type).name);
    const Stored stored = random_stored(format, 1100, 64, 6);
    const auto few = compact(stored), floats = as_floats(stored);
    const auto x = random_tensor(40, 64, 7, 0.1f);
    std::vector<TokenId> target;
    std::vector<double> uniform;
    for (Index t = 0; t < x.rows(); ++t) {
      target.push_back(static_cast<TokenId>(t * 27));
      uniform.push_back(RngKey{8, 9}.uniform(static_cast<std::uint64_t>(t)));
    }
    std::vector<double> got(target.size()), want(target.size());
    token_log_prob(Cpu{}, x, few, target, {}, got);
    token_log_prob(Cpu{}, x, floats, target, {}, want);
    CHECK(got == want);
    std::vector<TokenDraw> drawn(target.size()), expected(target.size());
    sample_from_head(Cpu{}, x, few, {}, uniform, drawn);
    sample_from_head(Cpu{}, x, floats, {}, uniform, expected);
    for (std::size_t t = 0; t < drawn.size(); ++t) {
      CHECK(drawn[t].token == expected[t].token);
      CHECK(drawn[t].log_prob == expected[t].log_prob);
    }
  }
}

TEST_CASE("rows that are no whole groups are not packed as stored", "[kernel][packed][bad_input]") {
  CHECK(find_packed_format(BlockType::bf16, 7) == nullptr);
  CHECK(find_packed_format(BlockType::q8_0, 48) == nullptr);
  CHECK(find_packed_format(BlockType::q6_k, 256) == nullptr);
  PackedMatrix<float> out;
  const std::vector<std::byte> bytes(64);
  CHECK_THROWS_WITH(pack_stored(
                        Cpu{}, 1, 48, *find_packed_format(BlockType::q8_0, 64), [&](Index) { return bytes.data(); }, out),
                    Catch::Contains("48") && Catch::Contains("Q8_0"));
}
}  // namespace vbon::test
