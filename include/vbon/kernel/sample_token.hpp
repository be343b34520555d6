// vbon/kernel/sample_token.hpp
//
// A draw from softmax(scale * logits) by one uniform number: the running sum of probabilities, in the order
// of the tokens, first over tiles of 512, then inside the one that is hit. Its log-probability has the bits
// of token_log_prob() for the same logits, so a sampled sequence needs no second forward pass.
#pragma once
#include <span>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/softmax.hpp"
#include "vbon/kernel/token_log_prob.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
struct TokenDraw {
  TokenId token = 0;
  double log_prob = 0;     // nats, of the law drawn from
  double log_sum_exp = 0;  // of its scaled logits
};

namespace detail {
/// The tile that the running sum reaches `uniform` in, and what is left of it there, relative to the tile.
struct TileHit {
  Index tile;
  double rest;
};
inline TileHit find_tile(const RowSum& row, const TileSum* tile, Index tiles, Index stride, double uniform) {
  const double goal = uniform * row.sum;
  double below = 0;
  TileHit last{0, 0};
  for (Index i = 0; i < tiles; ++i) {
    const TileSum& t = tile[i * stride];
    if (t.sum == 0) continue;
    const double factor = std::exp(static_cast<double>(t.max) - row.max);
    const double mass = static_cast<double>(t.sum) * factor;
    last = {i, (goal - below) / factor};
    if (below + mass > goal) return last;
    below += mass;
  }
  return last;  // rounding left the goal at the very end
}

/// The token of a tile whose running sum exceeds `rest`; the last possible one when rounding leaves none.
template <class Arch>
[[gnu::noinline]] Index find_in_tile(const float* logit, Index width, float scale, float max, double rest) {
  float* weight = scratch<struct TileWeights>(vocabulary_tile);
  for (Index i = 0; i < width; i += lanes<Arch>)
    store<Arch>(weight + i, exp<Arch>(load_logits<Arch>(logit + i, width - i, scale) - Batch<Arch>(max)));
  double below = 0;
  Index last = 0;
  for (Index i = 0; i < width; ++i) {
    if (!(weight[i] > 0)) continue;
    last = i;
    below += static_cast<double>(weight[i]);
    if (below > rest) break;
  }
  return last;
}
inline void check_row(const RowSum& row) {
  require<DomainError>(row.sum > 0 && std::isfinite(row.sum) && std::isfinite(row.max),
                       "kernel::sample_token: finite logits with at least one above -inf expected, got log-sum-exp ",
                       row.log_sum_exp(),
                       "; the model's weights are damaged, or training diverged (lower the learning rate)");
}
}  // namespace detail

/// Draws one token. Logits of -inf are never drawn.
/// @param logit    [V]
/// @param uniform  in [0, 1)
/// @param scale    1 / temperature
/// @throws DomainError when no token is possible or a logit is NaN
template <class Arch = xsimd::default_arch>
TokenDraw sample_token(Cpu, View<const float> logit, double uniform, float scale = 1) {
  using namespace detail;
  const Index tiles = vocabulary_tiles(logit.size());
  TileSum* tile = scratch<struct SampleTiles, TileSum>(tiles);
  const RowSum row = row_sum<Arch>(logit.data(), logit.size(), scale, tile);
  check_row(row);
  const TileHit hit = find_tile(row, tile, tiles, 1, uniform);
  const Index first = hit.tile * vocabulary_tile;
  const Index token = first + find_in_tile<Arch>(logit.data() + first, std::min(vocabulary_tile, logit.size() - first),
                                                 scale, tile[hit.tile].max, hit.rest);
  const float z = logit[token] * scale;
  const double norm = row.log_sum_exp();
  return {static_cast<TokenId>(token), static_cast<double>(z) - norm, norm};
}

/// Draws one token for each row.
/// @param logit    [B, V]
/// @param uniform  [B] in [0, 1)
/// @param draw     [B]
/// @throws ShapeError, DomainError
template <class Arch = xsimd::default_arch>
void sample_tokens(Cpu, View<const float> logit, std::span<const double> uniform, std::span<TokenDraw> draw,
                   float scale = 1) {
  require<ShapeError>(static_cast<Index>(uniform.size()) == logit.rows() && draw.size() == uniform.size(),
                      "kernel::sample_tokens: ", logit.rows(), " uniforms and draws expected, got ", uniform.size(), " and ",
                      draw.size());
  parallel_for(logit.rows(), 1, [&](Index begin, Index end) {
    for (Index b = begin; b < end; ++b)
      draw[detail::size(b)] = sample_token<Arch>(Cpu{}, logit.row(b), uniform[detail::size(b)], scale);
  });
}

/// Draws one token for each hidden row, straight from the head: the same draws as matmul() followed by
/// sample_tokens(), without holding [B, V].
/// @param x        [B, C]
/// @param head     [V, C], packed
/// @param uniform  [B] in [0, 1)
/// @param draw     [B]
/// @throws ShapeError, DomainError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void sample_from_head(Cpu, View<const float> x, const PackedMatrix<float>& head, HeadOptions options,
                      std::span<const double> uniform, std::span<TokenDraw> draw) {
  using namespace detail;
  check_head("kernel::sample_from_head", x, head, uniform.size());
  require<ShapeError>(draw.size() == uniform.size(), "kernel::sample_from_head: ", uniform.size(), " draws expected, got ",
                      draw.size());
  const Index rows = x.rows();
  const Index tiles = vocabulary_tiles(head.rows());
  const float scale = options.scale();
  TileSum* sums = scratch<struct SampleSums, TileSum>(tiles * rows);
  const LeftRows left = left_rows<Low>(x, head.precision(), head.rows());
  head_sums<Arch, Low>(left, head, scale, sums, [](Index, Index, const float*, Index, const TileSum&) {});
  parallel_for(rows, 1, [&](Index b, Index) {
    const RowSum row = join(sums + b, tiles, rows);
    check_row(row);
    const TileHit hit = find_tile(row, sums + b, tiles, rows, uniform[size(b)]);
    for_logits<
        Arch, Low,
        struct SampleLogits>(left.middle_rows(b, 1), head, hit.tile, 1, [&](Index, Index, const float* logit, Index width) {
      const Index at = find_in_tile<Arch>(logit, width, scale, sums[hit.tile * rows + b].max, hit.rest);
      const float z = logit[at] * scale;
      const double norm = row.log_sum_exp();
      draw[size(b)] = {static_cast<TokenId>(hit.tile * vocabulary_tile + at), static_cast<double>(z) - norm, norm};
    });
  });
}
}  // namespace vbon::kernel
