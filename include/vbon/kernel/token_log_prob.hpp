// vbon/kernel/token_log_prob.hpp
//
// From hidden rows to log-probabilities of tokens without ever holding [T, V]: the head's product is made
// tile by tile (512 tokens) and reduced while it is in the cache. Same bits as log_sum_exp() on the full
// row (softmax.hpp) and as the sampler's (sample_token.hpp).
#pragma once
#include <cmath>
#include <span>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul.hpp"
#include "vbon/kernel/softmax.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
/// log p(v) = log_softmax(inv_temperature * logit_scale * x w_v).
struct HeadOptions {
  float inv_temperature = 1;
  float logit_scale = 1;
  float scale() const { return inv_temperature * logit_scale; }
};

namespace detail {
inline void check_head(const char* name, View<const float> x, const PackedMatrix<float>& head, std::size_t rows) {
  require<ShapeError>(x.cols() == head.cols() && x.rows() == static_cast<Index>(rows), name, ": rows of width ", head.cols(),
                      " and one target each expected, got [", x.rows(), ", ", x.cols(), "] and ", rows, " targets");
}

inline void check_targets(const char* name, const PackedMatrix<float>& head, std::span<const TokenId> target) {
  for (std::size_t t = 0; t < target.size(); ++t)
    require<DomainError>(target[t] >= 0 && target[t] < head.rows(), name, ": token ", target[t], " at ", t,
                         " of a vocabulary of ", head.rows());
}

/// Calls use(first row, rows, logits [rows, 512], width) for one tile and all rows of x, block by block.
/// @param keep  memory for the logits of the tile [T, 512]; nullptr: they last as long as the call
template <class Arch, class Low, class Tag, class Use>
void for_logits(const LeftRows& x, const PackedMatrix<float>& head, Index tile, Index block, const Use& use,
                float* keep = nullptr) {
  const Index first = tile * vocabulary_tile;
  const Index width = std::min(vocabulary_tile, head.rows() - first);
  float* once = keep == nullptr ? scratch<Tag>(block * vocabulary_tile) : nullptr;
  for (Index row = 0; row < x.rows; row += block) {
    const Index rows = std::min(block, x.rows - row);
    float* logit = keep == nullptr ? once : keep + row * vocabulary_tile;
    multiply_weight<Arch, Low>(x.middle_rows(row, rows), head, first / PackedMatrix<float>::width, width,
                               {.y = logit, .y_row = vocabulary_tile});
    use(row, rows, logit, width);
  }
}
/// The number of tiles whose logits are kept.
inline Index kept_tiles(const char* name, View<const float> x, const PackedMatrix<float>& head, std::size_t kept) {
  if (kept == 0 || x.rows() == 0) return 0;
  const Index values = static_cast<Index>(kept), tile = x.rows() * vocabulary_tile;
  require<ShapeError>(values % tile == 0 && values / tile <= vocabulary_tiles(head.rows()), name,
                      ": memory for whole tiles of ", tile, " logits expected, at most ", vocabulary_tiles(head.rows()),
                      ", got ", kept, " values");
  return values / tile;
}
// These name memory. Declared here, since nvcc 13 dies of a first mention inside a lambda.
struct HeadLogits;
struct HeadGradient;
struct KlLogitsP;
struct KlLogitsQ;

inline constexpr Index head_rows = 112;  // rows of a block: its logits and inputs fit the second-level cache

/// sum e^d d over one tile, d = z - max: what the entropy needs.
template <class Arch>
[[gnu::noinline]] float tile_moment(const float* logit, Index count, float scale, float max) {
  using B = Batch<Arch>;
  B total(0.0f);
  for (Index i = 0; i < count; i += lanes<Arch>) {
    const B d = xsimd::max(load_logits<Arch>(logit + i, count - i, scale) - B(max), B(-200.0f));  // 0 * -inf would be NaN
    total = fma<Arch>(exp<Arch>(d), d, total);
  }
  return sum<Arch>(total);
}

/// Tile sums of all rows: out[tile * T + t]. `extra(tile, t, logits, width, sum)` sees every row of every tile.
/// @param keep  memory for the logits of the first `kept` tiles [kept, T, 512]
template <class Arch, class Low, class Extra>
void head_sums(const LeftRows& x, const PackedMatrix<float>& head, float scale, TileSum* out, const Extra& extra,
               float* keep = nullptr, Index kept = 0) {
  parallel_for(vocabulary_tiles(head.rows()), 1, [&](Index tile, Index) {
    for_logits<Arch, Low, HeadLogits>(
        x, head, tile, head_rows,
        [&](Index row, Index rows, const float* logit, Index width) {
          for (Index r = 0; r < rows; ++r) {
            const float* z = logit + r * vocabulary_tile;
            TileSum& s = out[tile * x.rows + row + r];
            s = tile_sum<Arch>(z, width, scale);
            extra(tile, row + r, z, width, s);
          }
        },
        tile < kept ? keep + tile * x.rows * vocabulary_tile : nullptr);
  });
}
}  // namespace detail

/// Log-probabilities of given tokens.
/// @param x            [T, C]
/// @param head         [V, C], packed; its precision is that of the product
/// @param target       [T] in [0, V)
/// @param log_prob     [T] nats
/// @param log_sum_exp  [T] of the scaled logits, kept for the backward pass; may be empty
/// @param entropy      [T] nats; may be empty
/// @param kept         takes logits for the backward pass, as many as kept_logits() says; may be empty
/// @throws ShapeError, DomainError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void token_log_prob(Cpu, View<const float> x, const PackedMatrix<float>& head, std::span<const TokenId> target,
                    HeadOptions options, std::span<double> log_prob, std::span<double> log_sum_exp = {},
                    std::span<double> entropy = {}, std::span<float> kept = {}) {
  using namespace detail;
  check_head("kernel::token_log_prob", x, head, target.size());
  require<ShapeError>(log_prob.size() == target.size() && (log_sum_exp.empty() || log_sum_exp.size() == target.size()) &&
                          (entropy.empty() || entropy.size() == target.size()),
                      "kernel::token_log_prob: results for ", target.size(), " rows expected, got ", log_prob.size());
  check_targets("kernel::token_log_prob", head, target);
  const Index rows = x.rows();
  const Index tiles = vocabulary_tiles(head.rows());
  const float scale = options.scale();
  const Index tiles_kept = kept_tiles("kernel::token_log_prob", x, head, kept.size());
  TileSum* sums = scratch<struct HeadSums, TileSum>(tiles * rows);
  float* chosen = scratch<struct HeadChosen>(rows);
  float* moment = scratch<struct HeadMoment>(entropy.empty() ? 0 : tiles * rows);
  const auto read = [&](Index tile, Index t, const float* logit, Index width, const TileSum& s) {
    const Index at = target[size(t)] - tile * vocabulary_tile;
    if (at >= 0 && at < width) chosen[t] = logit[at] * scale;
    if (!entropy.empty()) moment[tile * rows + t] = s.sum == 0 ? 0.0f : tile_moment<Arch>(logit, width, scale, s.max);
  };
  head_sums<Arch, Low>(left_rows<Low>(x, head.precision(), head.rows()), head, scale, sums, read, kept.data(), tiles_kept);
  parallel_for(rows, 16, [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const RowSum row = join(sums + t, tiles, rows);
      const double norm = row.log_sum_exp();
      log_prob[size(t)] = static_cast<double>(chosen[t]) - norm;
      if (!log_sum_exp.empty()) log_sum_exp[size(t)] = norm;
      if (entropy.empty()) continue;
      double mean = 0;  // of z - max under p
      for (Index i = 0; i < tiles; ++i) {
        const TileSum& s = sums[i * rows + t];
        const double shift = static_cast<double>(s.max) - row.max;
        if (s.sum != 0)
          mean += std::exp(shift) * (static_cast<double>(moment[i * rows + t]) + static_cast<double>(s.sum) * shift);
      }
      entropy[size(t)] = std::log(row.sum) - mean / row.sum;
    }
  });
}

/// How many logits of T rows token_log_prob() can hand to token_log_prob_backward() in so much memory: whole tiles of the
/// vocabulary. What is not kept is made again.
/// @param most  values
inline Index kept_logits(Index rows, Index vocabulary, Index most) {
  if (rows == 0) return 0;
  const Index tile = rows * detail::vocabulary_tile;
  return std::min(detail::vocabulary_tiles(vocabulary), most / tile) * tile;
}

namespace detail {
inline constexpr Index backward_rows = 192;    // rows of a block of logits, at most
inline constexpr Index backward_slice = 1024;  // rows whose partial dx are held at a time
inline constexpr Index backward_groups = 16;   // parts of the vocabulary, each with a dx of its own

/// logit -> d loss / d logit of one row: scale * dlog_prob * ([v = target] - p_v).
template <class Arch>
[[gnu::noinline]] void logit_gradient(float* logit, Index width, float scale, SplitNorm norm, float weight, Index target) {
  using B = Batch<Arch>;
  for_lanes<Arch>(0, width, [&](Index i, auto some) {
    const B p = exp<Arch>(scaled<Arch>(load_some<Arch>(logit + i, some), scale) - B(norm.high) - B(norm.low));
    store_some<Arch>(logit + i, p * B(-weight), some);
  });
  if (target >= 0 && target < width) logit[target] += weight;
}

/// Rows of gradients of logits, 512 apart, as left operand; in bfloat16 a copy.
template <class Slots>
LeftRows lay_logits(const float* logit, Index rows, Index width) {
  if constexpr (Slots::precision == Precision::float32) {
    return {logit, rows, width, vocabulary_tile};
  } else {
    constexpr Index stride = left_stride(slots_of<Slots>(vocabulary_tile));
    float* out = scratch<struct HeadRounded>(backward_rows * stride);
    for (Index r = 0; r < rows; ++r) Slots::lay_row(logit + r * vocabulary_tile, width, out + r * stride);
    return {out, rows, slots_of<Slots>(width), stride};
  }
}

/// token_log_prob_backward() for operands of one kind.
template <class Slots, class Low>
void head_backward(View<const float> x, const PackedMatrix<float>& head, View<const float> weight,
                   std::span<const TokenId> target, float scale, std::span<const double> log_sum_exp,
                   std::span<const double> dlog_prob, View<float> dx, View<float> dweight, std::span<float> kept,
                   Index tiles_kept, bool accumulate) {
  using Arch = typename Slots::Arch;
  constexpr Index width_of_panel = PackedMatrix<float>::width;
  const bool made_again = tiles_kept < vocabulary_tiles(head.rows());
  const LeftRows operand = made_again ? left_rows<Low>(x, head.precision(), head.rows()) : rows_in_place(x);
  const Index cols = x.cols();
  const Index tiles = vocabulary_tiles(head.rows());
  const Index groups = std::min(backward_groups, tiles);
  const Index panels = (cols + width_of_panel - 1) / width_of_panel;
  for (Index slice = 0; slice < x.rows(); slice += backward_slice) {
    const View<const float> part = x.middle_rows(slice, std::min(backward_slice, x.rows() - slice));
    const LeftRows operand_part = operand.middle_rows(slice, part.rows());
    float* partial = scratch<struct HeadPartial>(dx.empty() ? 0 : groups * part.size());
    const Index right = dweight.empty() ? 0 : RowPanels<Slots>::floats(part.rows(), cols);
    const Index block = equal_block(part.rows(), backward_rows, 2);
    const RowPanels<Slots> part_panels(scratch<struct HeadRight>(right), part.rows(), cols, block);
    if (!dweight.empty())
      parallel_for(part_panels.blocks() * panels, 4, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i) part_panels.pack(part.data(), cols, i / panels, i % panels);
      });
    parallel_for(groups, 1, [&](Index group, Index) {
      float* sum_x = dx.empty() ? nullptr : partial + group * part.size();
      if (!dx.empty()) std::fill(sum_x, sum_x + part.size(), 0.0f);
      float* turned = scratch<struct HeadTurned>(panels * width_of_panel * vocabulary_tile);
      for (Index tile = group * tiles / groups; tile < (group + 1) * tiles / groups; ++tile) {
        const Index first = tile * vocabulary_tile;
        const Index tile_width = std::min(vocabulary_tile, head.rows() - first), depth = slots_of<Slots>(tile_width);
        if (!dx.empty())
          for (Index p = 0; p < panels; ++p)
            lay_columns<Slots>(weight.data() + first * cols, cols, p * width_of_panel,
                               std::min(width_of_panel, cols - p * width_of_panel), tile_width,
                               turned + p * width_of_panel * depth);
        const GradTiles<Slots> left_tiles{tile_width};
        float* left = scratch<struct HeadLeft>(dweight.empty() ? 0 : left_tiles.floats(block));
        const auto use = [&](Index row, Index rows, float* logit, Index width) {
          for (Index r = 0; r < rows; ++r) {
            const auto t = size(slice + row + r);
            logit_gradient<Arch>(logit + r * vocabulary_tile, width, scale, split(log_sum_exp[t]),
                                 static_cast<float>(dlog_prob[t]) * scale, target[t] - first);
          }
          if (!dx.empty()) {
            const LeftRows slope = lay_logits<Slots>(logit, rows, width);
            multiply_block<WeightStep<typename Slots::Step>>({.x = slope.first,
                                                              .x_row = slope.stride,
                                                              .x_step = 1,
                                                              .panel = turned,
                                                              .panel_stride = depth * width_of_panel,
                                                              .depth = depth,
                                                              .y = sum_x + row * cols,
                                                              .y_row = cols,
                                                              .bias = nullptr,
                                                              .accumulate = true},
                                                             rows, cols);
          }
          if (dweight.empty()) return;
          for (Index i = 0; i < left_tiles.count(); ++i) left_tiles.pack(logit, vocabulary_tile, i, rows, left);
          grad_weight_block<Slots>(left_tiles, left, part_panels, row / block, dweight.data() + first * cols, cols, 0,
                                   left_tiles.count(), 0, panels, accumulate || slice > 0 || row > 0);
        };
        if (tile >= tiles_kept) {
          for_logits<Arch, Low, HeadGradient>(operand_part, head, tile, block, use);
        } else {
          for (Index row = 0; row < part.rows(); row += block)
            use(row, std::min(block, part.rows() - row), kept.data() + (tile * x.rows() + slice + row) * vocabulary_tile,
                tile_width);
        }
      }
    });
    if (dx.empty()) continue;
    View<float> out = dx.middle_rows(slice, part.rows());
    parallel_for(out.size(), 8192, [&](Index begin, Index end) {
      for_lanes<Arch>(begin, end, [&](Index i, auto some) {
        auto total = load_some<Arch>(partial + i, some);
        for (Index g = 1; g < groups; ++g) total += load_some<Arch>(partial + g * part.size() + i, some);
        store_some<Arch>(out.data() + i, total, some);
      });
    });
  }
}
}  // namespace detail

/// Gradient of token_log_prob(). Logits that were not kept are made once more, tile by tile; both products use the tile
/// while it is in the cache.
/// @param x, head, target, options  as given to token_log_prob()
/// @param weight       [V, C] the head's weight, row-major (not packed)
/// @param log_sum_exp  [T] its result
/// @param dlog_prob    [T] d loss / d log_prob
/// @param dx           [T, C], overwritten; may be empty
/// @param dweight      [V, C], added to; may be empty
/// @param kept         the logits that token_log_prob() kept, which are overwritten; may be empty
/// @param accumulate   false: dweight is overwritten
/// @throws ShapeError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void token_log_prob_backward(Cpu, View<const float> x, const PackedMatrix<float>& head, View<const float> weight,
                             std::span<const TokenId> target, HeadOptions options, std::span<const double> log_sum_exp,
                             std::span<const double> dlog_prob, View<float> dx, View<float> dweight,
                             std::span<float> kept = {}, bool accumulate = true) {
  using namespace detail;
  check_head("kernel::token_log_prob_backward", x, head, target.size());
  require<ShapeError>(log_sum_exp.size() == target.size() && dlog_prob.size() == target.size() &&
                          weight.rows() == head.rows() && weight.cols() == head.cols() &&
                          (dx.empty() || (dx.rows() == x.rows() && dx.cols() == x.cols())) &&
                          (dweight.empty() || (dweight.rows() == head.rows() && dweight.cols() == head.cols())),
                      "kernel::token_log_prob_backward: shapes of x [", x.rows(), ", ", x.cols(), "] and head [",
                      head.rows(), ", ", head.cols(), "] expected");
  check_targets("kernel::token_log_prob_backward", head, target);
  const Index tiles_kept = kept_tiles("kernel::token_log_prob_backward", x, head, kept.size());
  if (x.rows() == 0 && !accumulate) std::fill(dweight.begin(), dweight.end(), 0.0f);
  with_slots<Arch, Low>(head.precision(), [&]<class Slots>(Slots) {
    head_backward<Slots, Low>(x, head, weight, target, options.scale(), log_sum_exp, dlog_prob, dx, dweight, kept,
                              tiles_kept, accumulate);
  });
}

namespace detail {
/// sum e^(z_p - max) (z_p - z_q) over one tile; a token of probability 0 under p counts nothing.
template <class Arch>
[[gnu::noinline]] float tile_cross(const float* p, const float* q, Index count, float scale, float max) {
  using B = Batch<Arch>;
  B total(0.0f);
  for (Index i = 0; i < count; i += lanes<Arch>) {
    const B z = load_logits<Arch>(p + i, count - i, scale);
    const B e = exp<Arch>(z - B(max));
    const B d = z - load_logits<Arch>(q + i, count - i, scale);
    total += xsimd::select(e > B(0.0f), e * d, B(0.0f));
  }
  return sum<Arch>(total);
}
}  // namespace detail

/// KL(p || q) of every row, summed over the whole vocabulary.
/// @param xp, xq          [T, C_p], [T, C_q] hidden rows of the two models
/// @param head_p, head_q  [V, C_p], [V, C_q], packed; each of its own precision
/// @param kl              [T] nats
/// @throws ShapeError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void token_kl(Cpu, View<const float> xp, const PackedMatrix<float>& head_p, View<const float> xq,
              const PackedMatrix<float>& head_q, HeadOptions options, std::span<double> kl) {
  using namespace detail;
  check_head("kernel::token_kl", xp, head_p, kl.size());
  check_head("kernel::token_kl", xq, head_q, kl.size());
  require<ShapeError>(head_p.rows() == head_q.rows(), "kernel::token_kl: one vocabulary expected, got ", head_p.rows(),
                      " and ", head_q.rows());
  const Index rows = xp.rows();
  const Index tiles = vocabulary_tiles(head_p.rows());
  const float scale = options.scale();
  struct Sums {
    TileSum p, q;
    float cross;
  };
  Sums* sums = scratch<struct KlSums, Sums>(tiles * rows);
  const LeftRows left_p = left_rows<Low>(xp, head_p.precision(), head_p.rows());
  const LeftRows left_q = left_rows<Low, struct LaidRowsQ>(xq, head_q.precision(), head_q.rows());
  parallel_for(tiles, 1, [&](Index tile, Index) {
    for (Index row = 0; row < rows; row += head_rows) {
      const Index block = std::min(head_rows, rows - row);
      for_logits<Arch, Low, KlLogitsP>(
          left_p.middle_rows(row, block), head_p, tile, head_rows, [&](Index, Index, const float* p, Index width) {
            for_logits<Arch, Low, KlLogitsQ>(
                left_q.middle_rows(row, block), head_q, tile, head_rows, [&](Index, Index, const float* q, Index) {
                  for (Index r = 0; r < block; ++r) {
                    Sums& s = sums[tile * rows + row + r];
                    s.p = tile_sum<Arch>(p + r * vocabulary_tile, width, scale);
                    s.q = tile_sum<Arch>(q + r * vocabulary_tile, width, scale);
                    s.cross = s.p.sum == 0 ? 0.0f
                                           : tile_cross<Arch>(p + r * vocabulary_tile, q + r * vocabulary_tile, width, scale,
                                                              s.p.max);
                  }
                });
          });
    }
  });
  parallel_for(rows, 16, [&](Index begin, Index end) {
    std::vector<TileSum> p(size(tiles)), q(size(tiles));
    for (Index t = begin; t < end; ++t) {
      for (Index i = 0; i < tiles; ++i) {
        p[size(i)] = sums[i * rows + t].p;
        q[size(i)] = sums[i * rows + t].q;
      }
      const RowSum row_p = join(p.data(), tiles);
      const RowSum row_q = join(q.data(), tiles);
      double cross = 0;
      for (Index i = 0; i < tiles; ++i)
        cross += static_cast<double>(sums[i * rows + t].cross) * std::exp(static_cast<double>(p[size(i)].max) - row_p.max);
      // In this order a NaN stays one.
      kl[size(t)] = std::max(cross / row_p.sum - row_p.log_sum_exp() + row_q.log_sum_exp(), 0.0);
    }
  });
}
}  // namespace vbon::kernel
