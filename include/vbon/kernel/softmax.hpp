// vbon/kernel/softmax.hpp
//
// log-sum-exp of a row in one fixed order: tiles of 512 values, each with its largest value and the sum of
// exponentials relative to it in float, the tiles joined in double. The fused head (token_log_prob.hpp) and
// the sampler see the same tiles, so all three give the same bits for the same logits.
#pragma once
#include <cmath>
#include <limits>
#include <span>

#include "vbon/core/config.hpp"
#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
namespace detail {
inline constexpr Index vocabulary_tile = 512;
inline Index vocabulary_tiles(Index size) { return (size + vocabulary_tile - 1) / vocabulary_tile; }

/// sum exp(z - max) over one tile of z = scale * logit; {-inf, 0} when all are -inf, a NaN sum when one is NaN.
struct TileSum {
  float max;
  float sum;
};

/// The scaled logit, rounded to float once: every user of a logit must see the same bits.
template <class Arch>
inline Batch<Arch> scaled(Batch<Arch> logit, float scale) {
  return rounded_product<Arch>(logit, Batch<Arch>(scale));
}
template <class Arch>
inline Batch<Arch> minus_infinity() {
  return Batch<Arch>(-std::numeric_limits<float>::infinity());
}
template <class Arch>
inline Batch<Arch> load_logits(const float* logit, Index count, float scale) {
  if (count >= lanes<Arch>) return scaled<Arch>(load<Arch>(logit), scale);
  alignas(64) float values[lanes<Arch>];
  std::fill(values, values + lanes<Arch>, -std::numeric_limits<float>::infinity());
  for (Index i = 0; i < count; ++i) values[i] = logit[i] * scale;
  return Batch<Arch>::load_aligned(values);
}

template <class Arch>
[[gnu::noinline]] TileSum tile_sum(const float* logit, Index count, float scale) {
  using B = Batch<Arch>;
  B most = minus_infinity<Arch>();
  for (Index i = 0; i < count; i += lanes<Arch>) most = xsimd::max(most, load_logits<Arch>(logit + i, count - i, scale));
  const float max = largest<Arch>(most);
  const B shift(max == -std::numeric_limits<float>::infinity() ? 0.0f : max);  // -inf - -inf would be NaN
  B total(0.0f);
  for (Index i = 0; i < count; i += lanes<Arch>) total += exp<Arch>(load_logits<Arch>(logit + i, count - i, scale) - shift);
  return {max, sum<Arch>(total)};
}

/// Joins tiles: the largest value and the sum relative to it, in double, in the order of the tiles.
struct RowSum {
  double max = -std::numeric_limits<double>::infinity();
  double sum = 0;
  double log_sum_exp() const { return sum == 0 ? -std::numeric_limits<double>::infinity() : max + std::log(sum); }
};
inline RowSum join(const TileSum* tile, Index tiles, Index stride = 1) {
  RowSum row;
  for (Index i = 0; i < tiles; ++i) row.max = std::max(row.max, static_cast<double>(tile[i * stride].max));
  for (Index i = 0; i < tiles; ++i) {
    const TileSum& t = tile[i * stride];
    if (t.sum != 0) row.sum += static_cast<double>(t.sum) * std::exp(static_cast<double>(t.max) - row.max);
  }
  return row;
}
template <class Arch>
RowSum row_sum(const float* logit, Index count, float scale, TileSum* tile) {
  const Index tiles = vocabulary_tiles(count);
  for (Index i = 0; i < tiles; ++i)
    tile[i] = tile_sum<Arch>(logit + i * vocabulary_tile, std::min(vocabulary_tile, count - i * vocabulary_tile), scale);
  return join(tile, tiles);
}
}  // namespace detail

/// log sum_v exp(scale * logit[v]) of one row, in nats; -inf when every logit is.
template <class Arch = xsimd::default_arch>
double log_sum_exp(Cpu, View<const float> logit, float scale = 1) {
  detail::TileSum* tile = detail::scratch<struct LogSumExpTiles, detail::TileSum>(detail::vocabulary_tiles(logit.size()));
  return detail::row_sum<Arch>(logit.data(), logit.size(), scale, tile).log_sum_exp();
}

namespace detail {
/// A log-sum-exp as the sum of two floats. One float would move every log-prob of the row by up to half of its own last
/// place, 1e-6 at the 18 nats of a vocabulary; with two, a log-prob of a scaled logit is off by about its own last place.
struct SplitNorm {
  float high;
  float low;
};
inline SplitNorm split(double norm) {
  const auto high = static_cast<float>(norm);
  return {high, std::isfinite(norm) ? static_cast<float>(norm - static_cast<double>(high)) : 0.0f};
}
}  // namespace detail

/// Rows of log-probabilities: out = scale * logit - log_sum_exp(scale * logit).
/// @param logit  [T, V]
/// @param out    [T, V]; may be the same memory
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void log_softmax(Cpu, View<const float> logit, View<float> out, float scale = 1) {
  require<ShapeError>(logit.rows() == out.rows() && logit.cols() == out.cols(), "kernel::log_softmax: logits [",
                      logit.rows(), ", ", logit.cols(), "] into [", out.rows(), ", ", out.cols(), "]");
  parallel_for(logit.rows(), 1, [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const detail::SplitNorm norm = detail::split(log_sum_exp<Arch>(Cpu{}, logit.row(t), scale));
      const detail::Batch<Arch> high(norm.high), low(norm.low);
      const float* from = logit.data() + t * logit.cols();
      float* to = out.data() + t * out.cols();
      detail::for_lanes<Arch>(0, logit.cols(), [&](Index i, auto count) {
        const auto z = detail::scaled<Arch>(detail::load_some<Arch>(from + i, count), scale);
        detail::store_some<Arch>(to + i, z - high - low, count);
      });
    }
  });
}

/// Rows of probabilities: out = softmax(scale * logit).
/// @param logit  [T, V]
/// @param out    [T, V]; may be the same memory
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void softmax(Cpu, View<const float> logit, View<float> out, float scale = 1) {
  log_softmax<Arch>(Cpu{}, logit, out, scale);
  parallel_for(out.rows(), 1, [&](Index begin, Index end) {
    detail::for_lanes<Arch>(begin * out.cols(), end * out.cols(), [&](Index i, auto count) {
      detail::store_some<Arch>(out.data() + i, detail::exp<Arch>(detail::load_some<Arch>(out.data() + i, count)), count);
    });
  });
}
}  // namespace vbon::kernel

#if VBON_WITH_CUDA
#include "vbon/kernel/cuda/softmax.cuh"
#endif
