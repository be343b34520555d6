// vbon/kernel/matmul_tile.hpp
//
// The register kernel under every matrix product. Each output is one chain of fused multiply-adds over
// the reduction index in ascending order, from a start value; how outputs are grouped into tiles changes
// nothing in a chain. So a row has the same bits alone, in any batch, at any place, on any thread. What one
// step of a chain is, a float or a pair of bfloat16, comes as a type (bfloat16.hpp). On processors without a fused
// multiply-add a product with a weight is a sum of such chains, cut every 64 steps (ChainPieces).
#pragma once
#include <array>
#include <numeric>
#include <utility>

#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/kernel/simd.hpp"

namespace vbon::kernel::detail {
/// What a tile reads and writes; strides count floats, or slots of that size.
struct TileOperands {
  const float* x = nullptr;  // rows of the left operand: x(r, k) = x[r * x_row + k * x_step]
  Index x_row = 0;
  Index x_step = 1;
  const float* panel = nullptr;  // [depth][32]
  Index panel_stride = 0;        // to the next panel
  Index depth = 0;
  float* y = nullptr;  // y(r, c) = y[r * y_row + c]
  Index y_row = 0;
  const float* bias = nullptr;   // [columns] or nullptr
  bool accumulate = false;       // start from y instead of 0
  const float* ahead = nullptr;  // fetched into the cache on the way, one line for each step; nullptr: nothing
  Index ahead_step = 16;
};

/// The step of a product with a weight where a multiply-add rounds twice: in one chain over 1,536 steps those roundings take
/// figures of SmolLM2 further from the recorded ones than 1e-3 nats. Each tile is the chain of one piece, to which y is
/// added at the end.
template <class Step>
struct ChainPieces : Step {};
/// Slots of a piece; 0: the chain is whole.
template <class Step>
inline constexpr Index piece_slots = 0;
template <class Step>
inline constexpr Index piece_slots<ChainPieces<Step>> = 64;
template <class Arch>
inline constexpr Index piece_slots<ChainPieces<PairStep<Arch>>> = 32;
template <class Step>
inline constexpr bool in_pieces = piece_slots<Step> != 0;
/// As ChainPieces or as it is, by the instruction set.
template <class Step>
using WeightStep = std::conditional_t<rounds_twice<typename Step::Arch>, ChainPieces<Step>, Step>;

/// Rows per tile: with two registers of columns, two for the panel and one for x, all accumulators stay
/// in registers.
template <class Arch>
inline constexpr int tile_rows = (registers<Arch> - 4) / 2;

/// Registers of columns of a tile: more where few rows would leave the multipliers waiting for each other. A panel is
/// two registers wide on AVX-512, where several panels do the same.
template <class Arch>
constexpr int tile_columns(int rows) {
  return !is_wide<Arch> && rows <= 2 ? 4 : 2;
}

/// `Rows` rows times `Panels` panels; `columns` <= 32 * Panels of them exist.
template <class Step, int Rows, int Panels>
[[gnu::noinline]] void multiply_tile(const TileOperands& t, Index columns) {
  using Arch = typename Step::Arch;
  using B = Batch<Arch>;
  constexpr Index width = PackedMatrix<float>::width;
  constexpr Index L = lanes<Arch>;
  constexpr int C = tile_columns<Arch>(Rows);
  constexpr Index parts = width / (C * L);
  for (Index part = 0; part < parts; ++part) {
    if (part * C * L >= columns) return;
    B sum[Panels][Rows][C];
    VBON_UNROLL
    for (int p = 0; p < Panels; ++p) {
      VBON_UNROLL
      for (int h = 0; h < C; ++h) {
        const Index c = p * width + (C * part + h) * L;
        const Index count = std::clamp<Index>(columns - c, 0, L);
        const auto some = [count](const float* from) {  // partial loads go through memory where there are no masks
          return count == L ? load<Arch>(from) : load_partial<Arch>(from, count);
        };
        B start(0.0f);
        if (t.bias != nullptr) start = some(t.bias + c);
        VBON_UNROLL
        for (int r = 0; r < Rows; ++r) {
          sum[p][r][h] = start;
          if (!t.accumulate || in_pieces<Step>) continue;
          const B before = some(t.y + r * t.y_row + c);
          sum[p][r][h] = t.bias != nullptr ? before + start : before;
        }
      }
    }
    const float* x = t.x;
    const float* panel = t.panel + C * part * L;
    const Index x_row = t.x_row;
    const Index x_step = t.x_step;
    const float* ahead = t.ahead != nullptr ? t.ahead + C * part * L : t.panel;
    const Index ahead_step = t.ahead != nullptr ? t.ahead_step : 0;
    for (Index k = 0; k < t.depth; ++k) {
      B w[Panels][C];
      VBON_UNROLL
      for (int p = 0; p < Panels; ++p) {
        VBON_UNROLL
        for (int h = 0; h < C; ++h) w[p][h] = B::load_aligned(panel + p * t.panel_stride + h * L);
      }
      VBON_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const B value = Step::broadcast(x[r * x_row]);
        VBON_UNROLL
        for (int p = 0; p < Panels; ++p) {
          VBON_UNROLL
          for (int h = 0; h < C; ++h) sum[p][r][h] = Step::add_product(value, w[p][h], sum[p][r][h]);
        }
      }
      __builtin_prefetch(ahead, 0, 2);
      ahead += ahead_step;
      x += x_step;
      panel += width;
    }
    VBON_UNROLL
    for (int p = 0; p < Panels; ++p) {
      VBON_UNROLL
      for (int h = 0; h < C; ++h) {
        const Index c = p * width + (C * part + h) * L;
        const Index count = std::clamp<Index>(columns - c, 0, L);
        VBON_UNROLL
        for (int r = 0; r < Rows; ++r) {
          if constexpr (in_pieces<Step>)
            if (t.accumulate)
              sum[p][r][h] +=
                  count == L ? load<Arch>(t.y + r * t.y_row + c) : load_partial<Arch>(t.y + r * t.y_row + c, count);
          if (count == L) {
            store<Arch>(t.y + r * t.y_row + c, sum[p][r][h]);
          } else {
            store_partial<Arch>(t.y + r * t.y_row + c, sum[p][r][h], count);
          }
        }
      }
    }
  }
}

using TileFunction = void (*)(const TileOperands&, Index);

template <class Step, int Panels, std::size_t... I>
constexpr auto make_tiles(std::index_sequence<I...>) {
  return std::array<TileFunction, sizeof...(I)>{&multiply_tile<Step, static_cast<int>(I) + 1, Panels>...};
}

/// The tile functions by number of rows (index 0: one row) for one panel, and for several panels where
/// few rows would leave the multipliers waiting for each other.
template <class Step>
inline constexpr auto one_panel_tiles = make_tiles<Step, 1>(std::make_index_sequence<tile_rows<typename Step::Arch>>{});
template <class Step>
inline constexpr auto four_panel_tiles = make_tiles<Step, is_wide<typename Step::Arch> ? 4 : 1>(std::index_sequence<0>{});
template <class Step>
inline constexpr auto two_panel_tiles =
    make_tiles<Step, is_wide<typename Step::Arch> ? 2 : 1>(std::index_sequence<0, 1, 2>{});

/// Steps of the reduction that pass through the first-level cache together, 24 KiB of a panel.
inline constexpr Index depth_block = 192;
/// The steps of one block of a product whose right operand is packed. A chain of sums goes on from block to block, so
/// where it is cut changes no result.
inline Index block_depth(Index depth, const PackedFormat* format) {
  return format != nullptr || depth > 4 * depth_block ? depth_block : depth;
}

/// One row times a panel in a compact format; the row's values follow each other (x_step 1).
template <class Step>
void multiply_row(const TileOperands& t, Index columns, const PackedFormat& format) {
  const Index block = in_pieces<Step> ? piece_slots<Step> : std::max<Index>(1, t.depth);
  for (Index k = 0; k == 0 || k < t.depth; k += block) {
    alignas(64) float y[PackedMatrix<float>::width] = {};
    const bool before = t.accumulate || k > 0;
    if (t.bias != nullptr && k == 0) std::copy_n(t.bias, columns, y);
    if (before && !in_pieces<Step>)
      for (Index c = 0; c < columns; ++c) y[c] = t.bias != nullptr ? t.y[c] + y[c] : t.y[c];
    kernels_of<typename Step::Arch>(format).multiply(t.x + k, t.panel + k / format.depth * format.words,
                                                     std::min(block, t.depth - k) / format.depth, y);
    for (Index c = 0; c < columns; ++c) t.y[c] = before && in_pieces<Step> ? t.y[c] + y[c] : y[c];
  }
}

/// One panel, or few rows of several at once, by row tiles of nearly equal height.
/// @param t  its panel is stored as `format` says; nullptr: as floats
template <class Step>
void multiply_panels(const TileOperands& t, Index rows, Index columns, Index panels, const PackedFormat* format) {
  using Arch = typename Step::Arch;
  constexpr Index width = PackedMatrix<float>::width;
  const Index tiles = (rows + tile_rows<Arch> - 1) / tile_rows<Arch>;
  const Index height = rows / tiles;
  const Index taller = rows % tiles;  // this many tiles have one row more
  const auto function = [panels](Index h) {
    return panels == 4   ? four_panel_tiles<Step>[0]
           : panels == 2 ? two_panel_tiles<Step>[size(h - 1)]
                         : one_panel_tiles<Step>[size(h - 1)];
  };
  const Index together = std::max<Index>(32, (block_depth(t.depth, format) / panels + 31) / 32 * 32);  // whole groups
  const Index block = in_pieces<Step>                  ? piece_slots<Step>
                      : tiles > 1 || format != nullptr ? together
                                                       : std::max<Index>(1, t.depth);
  float* wide = format != nullptr ? scratch<struct WidePanels>(panels * block * width) : nullptr;
  for (Index k = 0; k == 0 || k < t.depth; k += block) {  // once for a depth of 0: y is then what it starts from
    TileOperands row = t;
    row.depth = std::min(block, t.depth - k);
    row.x += k * t.x_step;
    if (k > 0) {
      row.accumulate = true;
      row.bias = nullptr;
    }
    if (format != nullptr) {
      row.panel = wide;
      row.panel_stride = row.depth * width;
      for (Index p = 0; p < panels; ++p)
        kernels_of<Arch>(*format).widen(t.panel + p * t.panel_stride + k / format->depth * format->words,
                                        row.depth / format->depth, wide + p * row.panel_stride);
    } else {
      row.panel += k * width;
    }
    // The first two tiles fetch half of the next floats of this panel, or of the next one, each.
    const bool more = format == nullptr && tiles > 1 && (k + block < t.depth || columns > width);
    const float* next = k + block < t.depth ? row.panel + block * width : t.panel + t.panel_stride;
    for (Index i = 0; i < tiles; ++i) {
      const Index h = height + (i < taller ? 1 : 0);
      row.ahead = more && i < 2 ? next + i * row.depth * (width / 2) : nullptr;
      function(h)(row, std::min(columns, panels * width));
      row.x += h * t.x_row;
      row.y += h * t.y_row;
    }
  }
}

/// rows x columns outputs from panels that follow each other: panels outside, rows inside, so that a panel stays in the
/// cache while the rows pass.
template <class Step>
void multiply_block(TileOperands t, Index rows, Index columns, const PackedFormat* format = nullptr) {
  using Arch = typename Step::Arch;
  constexpr Index width = PackedMatrix<float>::width;
  if (rows <= 0 || columns <= 0) return;
  const auto panels_at_once = [&](Index panels) {
    while (columns > (panels - 1) * width) {
      if (rows == 1 && format != nullptr)
        multiply_row<Step>(t, std::min(columns, width), *format);
      else
        multiply_panels<Step>(t, rows, columns, panels, format);
      t.panel += panels * t.panel_stride;
      t.y += panels * width;
      if (t.bias != nullptr) t.bias += panels * width;
      columns -= panels * width;
    }
  };
  if constexpr (is_wide<Arch>) {
    if (rows == 1 && format == nullptr) panels_at_once(4);
    if (rows <= 3 && (rows > 1 || format == nullptr)) panels_at_once(2);
  }
  panels_at_once(1);
}

/// The left operand of a product as tiles read it.
struct LeftRows {
  const float* first;
  Index rows;
  Index depth;   // slots of a row
  Index stride;  // from row to row
  LeftRows middle_rows(Index begin, Index count) const { return {first + begin * stride, count, depth, stride}; }
};
/// Slots of a left operand's row; weights come in pairs, so there is a zero behind an odd number.
template <class Slots>
constexpr Index left_slots(Index depth) {
  return slots_of<Slots>(Slots::precision == Precision::bfloat16 ? (depth + 1) / 2 * 2 : depth);
}
template <class Slots>
void lay_left(const float* x, Index depth, float* out) {
  out[left_slots<Slots>(depth) - 1] = 0;
  Slots::lay_row(x, depth, out);
}
/// A tile reads its rows side by side, and those that are this many floats apart share the eight places of one set of the
/// first-level cache: they would push each other out.
inline constexpr Index cache_stride = 1024;
/// Slots from row to row where rows are laid out anew.
constexpr Index left_stride(Index slots) { return std::gcd(slots, cache_stride) < cache_stride / 2 ? slots : slots + 16; }
/// Slots of each row that a product lays out anew; 0: its rows stay where they are.
template <class Low>
constexpr Index laid_slots(Index depth, Precision precision) {
  if (precision == Precision::bfloat16) return left_stride(left_slots<Low>(depth));
  return depth % cache_stride == 0 ? left_stride(depth) : 0;
}
inline LeftRows rows_in_place(View<const float> x) { return {x.data(), x.rows(), x.cols(), x.cols()}; }
/// @param x        [rows, depth]; stays where it is, or goes to memory of the Tag's for a product in bfloat16 and where its
///                 rows are in each other's way
/// @param outputs  columns of the product: a copy costs what some 16 of them do
template <class Low, class Tag = struct LaidRows>
LeftRows left_rows(View<const float> x, Precision precision, Index outputs) {
  const Index stride = laid_slots<Low>(x.cols(), precision);
  const bool rounded = precision == Precision::bfloat16;
  if (stride == 0 || x.empty() || (!rounded && (x.rows() < 8 || outputs < 128))) return rows_in_place(x);
  float* out = scratch<Tag>(x.rows() * stride);
  parallel_for(x.rows(), std::max<Index>(1, 16384 / x.cols()), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float* row = x.row(r).data();
      rounded ? lay_left<Low>(row, x.cols(), out + r * stride) : void(std::copy_n(row, x.cols(), out + r * stride));
    }
  });
  return {out, x.rows(), rounded ? left_slots<Low>(x.cols()) : x.cols(), stride};
}

/// Rows times panels of a packed weight, as multiply_block(): of t the caller gives y, bias and accumulate.
/// @param x      of the precision of w
/// @param panel  the first of those that hold `columns`
template <class Arch, class Low>
void multiply_weight(const LeftRows& x, const PackedMatrix<float>& w, Index panel, Index columns, TileOperands t) {
  t.x = x.first;
  t.x_row = x.stride;
  t.x_step = 1;
  t.panel = w.panel(panel);
  t.panel_stride = w.panel_size();
  t.depth = x.depth;
  if constexpr (Low::steps > 1)
    if (w.precision() == Precision::bfloat16) return multiply_block<WeightStep<typename Low::Step>>(t, x.rows, columns);
  multiply_block<WeightStep<FloatStep<Arch>>>(t, x.rows, columns, w.format());
}
}  // namespace vbon::kernel::detail
