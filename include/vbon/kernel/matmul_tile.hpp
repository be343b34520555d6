// vbon/kernel/matmul_tile.hpp
//
// The register kernel under every matrix product. Each output is one chain of fused multiply-adds over
// the reduction index in ascending order, from a start value; how outputs are grouped into tiles changes
// nothing in a chain. So a row has the same bits alone, in any batch, at any place, on any thread.
#pragma once
#include <array>
#include <utility>

#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/kernel/simd.hpp"

namespace vbon::kernel::detail {
/// What a tile reads and writes; strides count floats.
struct TileOperands {
  const float* x;  // rows of the left operand: x(r, k) = x[r * x_row + k * x_step]
  Index x_row;
  Index x_step;
  const float* panel;  // [depth][32]
  Index panel_stride;  // to the next panel
  Index depth;
  float* y;  // y(r, c) = y[r * y_row + c]
  Index y_row;
  const float* bias;             // [columns] or nullptr
  bool accumulate;               // start from y instead of 0
  const float* ahead = nullptr;  // fetched into the cache on the way, one line for each step; nullptr: nothing
  Index ahead_step = 16;
};

/// Rows per tile: with two registers of columns, two for the panel and one for x, all accumulators stay
/// in registers.
template <class Arch>
inline constexpr int tile_rows = (registers<Arch> - 4) / 2;

/// `Rows` rows times `Panels` panels; `columns` <= 32 * Panels of them exist.
template <class Arch, int Rows, int Panels>
[[gnu::noinline]] void multiply_tile(const TileOperands& t, Index columns) {
  using B = Batch<Arch>;
  constexpr Index width = PackedMatrix<float>::width;
  constexpr Index L = lanes<Arch>;
  constexpr Index parts = width / (2 * L);  // a panel is 2 registers wide on AVX-512, more elsewhere
  for (Index part = 0; part < parts; ++part) {
    if (part * 2 * L >= columns) return;
    B sum[Panels][Rows][2];
    VBON_UNROLL
    for (int p = 0; p < Panels; ++p) {
      VBON_UNROLL
      for (int h = 0; h < 2; ++h) {
        const Index c = p * width + (2 * part + h) * L;
        const Index count = std::clamp<Index>(columns - c, 0, L);
        const auto some = [count](const float* from) {  // partial loads go through memory where there are no masks
          return count == L ? load<Arch>(from) : load_partial<Arch>(from, count);
        };
        B start(0.0f);
        if (t.bias != nullptr) start = some(t.bias + c);
        VBON_UNROLL
        for (int r = 0; r < Rows; ++r) sum[p][r][h] = t.accumulate ? start + some(t.y + r * t.y_row + c) : start;
      }
    }
    const float* x = t.x;
    const float* panel = t.panel + 2 * part * L;
    const Index x_row = t.x_row;
    const Index x_step = t.x_step;
    const float* ahead = t.ahead != nullptr ? t.ahead : t.panel;
    const Index ahead_step = t.ahead != nullptr ? t.ahead_step : 0;
    for (Index k = 0; k < t.depth; ++k) {
      B w[Panels][2];
      VBON_UNROLL
      for (int p = 0; p < Panels; ++p) {
        w[p][0] = B::load_aligned(panel + p * t.panel_stride);
        w[p][1] = B::load_aligned(panel + p * t.panel_stride + L);
      }
      VBON_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const B value(x[r * x_row]);
        VBON_UNROLL
        for (int p = 0; p < Panels; ++p) {
          sum[p][r][0] = fma<Arch>(value, w[p][0], sum[p][r][0]);
          sum[p][r][1] = fma<Arch>(value, w[p][1], sum[p][r][1]);
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
      for (int h = 0; h < 2; ++h) {
        const Index c = p * width + (2 * part + h) * L;
        const Index count = std::clamp<Index>(columns - c, 0, L);
        VBON_UNROLL
        for (int r = 0; r < Rows; ++r) {
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

template <class Arch, int Panels, std::size_t... I>
constexpr auto make_tiles(std::index_sequence<I...>) {
  return std::array<TileFunction, sizeof...(I)>{&multiply_tile<Arch, static_cast<int>(I) + 1, Panels>...};
}

/// The tile functions by number of rows (index 0: one row) for one panel, and for several panels where
/// few rows would leave the multipliers waiting for each other.
template <class Arch>
inline constexpr auto one_panel_tiles = make_tiles<Arch, 1>(std::make_index_sequence<tile_rows<Arch>>{});
template <class Arch>
inline constexpr auto four_panel_tiles = make_tiles<Arch, is_wide<Arch> ? 4 : 1>(std::index_sequence<0>{});
template <class Arch>
inline constexpr auto two_panel_tiles = make_tiles<Arch, is_wide<Arch> ? 2 : 1>(std::index_sequence<0, 1, 2>{});

/// rows x columns outputs from panels that follow each other: panels outside, row tiles of nearly equal
/// height inside, so that a panel stays in the cache while the rows pass.
template <class Arch>
void multiply_block(TileOperands t, Index rows, Index columns) {
  constexpr Index width = PackedMatrix<float>::width;
  if (rows <= 0 || columns <= 0) return;
  if constexpr (is_wide<Arch>) {
    const auto several = [&](Index panels, TileFunction tile) {
      while (columns > (panels - 1) * width) {
        tile(t, std::min(columns, panels * width));
        t.panel += panels * t.panel_stride;
        t.y += panels * width;
        if (t.bias != nullptr) t.bias += panels * width;
        columns -= panels * width;
      }
    };
    if (rows == 1) several(4, four_panel_tiles<Arch>[0]);
    if (rows <= 3) several(2, two_panel_tiles<Arch>[size(rows - 1)]);
  }
  const Index tiles = (rows + tile_rows<Arch> - 1) / tile_rows<Arch>;
  const Index height = rows / tiles;
  const Index taller = rows % tiles;  // this many tiles have one row more
  for (; columns > 0; columns -= width) {
    TileOperands row = t;
    for (Index i = 0; i < tiles; ++i) {
      const Index h = height + (i < taller ? 1 : 0);
      // The first two tiles fetch half of the next panel each.
      row.ahead = i < 2 && tiles > 1 && columns > width ? t.panel + t.panel_stride + i * t.depth * (width / 2) : nullptr;
      one_panel_tiles<Arch>[size(h - 1)](row, std::min(columns, width));
      row.x += h * t.x_row;
      row.y += h * t.y_row;
    }
    t.panel += t.panel_stride;
    t.y += width;
    if (t.bias != nullptr) t.bias += width;
  }
}
}  // namespace vbon::kernel::detail
