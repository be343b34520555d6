// vbon/kernel/matmul.hpp
//
// The three matrix products of a linear layer y = x w^T + b and the gradient of its bias. Work is cut by
// shape alone and every output is one ordered chain (matmul_tile.hpp), so results depend neither on the
// number of threads nor on which other rows are in the batch.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul_tile.hpp"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
namespace detail {
/// Rows of x that are worked on together, so that they stay in the second-level cache.
inline Index row_block(Index rows, Index depth) {
  constexpr Index cache = 128 * 1024;  // floats
  const Index most = std::max<Index>(56, cache / std::max<Index>(1, depth) / 14 * 14);
  const Index blocks = (rows + most - 1) / most;
  return blocks <= 1 ? rows : ((rows + blocks - 1) / blocks + 13) / 14 * 14;
}

/// Panels per chunk: enough work to be worth a hand-over, many chunks for balance.
inline Index panel_group(Index rows, Index depth, Index panels) {
  const Index work = std::max<Index>(1, rows * depth * PackedMatrix<float>::width);
  const Index wanted = std::max<Index>(1, (rows <= 3 ? 128 * 1024 * rows : 4 * 1024 * 1024) / work);
  const Index group = std::min(wanted, std::max<Index>(1, panels / 8));
  return rows == 1 && group > 4 ? group / 4 * 4 : (rows <= 3 && group > 2 ? group / 2 * 2 : group);
}
}  // namespace detail

/// y = x w^T, plus bias, plus the old y when accumulating.
/// @param x     [T, K]
/// @param w     [N, K], packed
/// @param y     [T, N]
/// @param bias  [N] or empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void matmul(Cpu, View<const float> x, const PackedMatrix<float>& w, View<float> y, View<const float> bias = {},
            bool accumulate = false) {
  constexpr Index width = PackedMatrix<float>::width;
  require<ShapeError>(x.cols() == w.cols() && y.cols() == w.rows() && y.rows() == x.rows(), "kernel::matmul: x [", x.rows(),
                      ", ", x.cols(), "] times w [", w.rows(), ", ", w.cols(), "] into y [", y.rows(), ", ", y.cols(), "]");
  require<ShapeError>(bias.empty() || bias.size() == w.rows(), "kernel::matmul: bias of ", w.rows(), " expected, got ",
                      bias.size());
  if (y.empty()) return;
  const Index rows = detail::row_block(x.rows(), detail::block_depth(x.cols(), w.format()));
  const Index row_blocks = (x.rows() + rows - 1) / rows;
  const Index group = detail::panel_group(rows, x.cols(), w.panels());
  const Index groups = (w.panels() + group - 1) / group;
  parallel_for(row_blocks * groups, 1, [&](Index chunk, Index) {
    const Index row = chunk / groups * rows;
    const Index panel = chunk % groups * group;
    const Index column = panel * width;
    detail::multiply_block<Arch>({.x = x.data() + row * x.cols(),
                                  .x_row = x.cols(),
                                  .x_step = 1,
                                  .panel = w.panel(panel),
                                  .panel_stride = w.panel_size(),
                                  .depth = x.cols(),
                                  .y = y.data() + row * y.cols() + column,
                                  .y_row = y.cols(),
                                  .bias = bias.empty() ? nullptr : bias.data() + column,
                                  .accumulate = accumulate},
                                 std::min(rows, x.rows() - row), std::min(group * width, w.rows() - column), w.format());
  });
}

/// dx = dy w, plus the old dx when accumulating: the gradient of matmul's input from the plain weight,
/// laid out panel by panel on the way. Spares a second packed copy of every weight.
/// @param dy  [T, N]
/// @param w   [N, K], row-major
/// @param dx  [T, K]
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void matmul_grad_input(Cpu, View<const float> dy, View<const float> w, View<float> dx, bool accumulate = false) {
  constexpr Index width = PackedMatrix<float>::width;
  require<ShapeError>(dy.cols() == w.rows() && dx.cols() == w.cols() && dx.rows() == dy.rows(),
                      "kernel::matmul_grad_input: dy [", dy.rows(), ", ", dy.cols(), "] times w [", w.rows(), ", ", w.cols(),
                      "] into dx [", dx.rows(), ", ", dx.cols(), "]");
  if (dx.empty()) return;
  const Index depth = dy.cols();
  const Index row_blocks = (dy.rows() + 511) / 512;  // laying out a panel costs as much as some 15 rows
  const Index rows = (dy.rows() + row_blocks - 1) / row_blocks;
  const Index panels = (w.cols() + width - 1) / width;
  parallel_for(row_blocks * panels, 1, [&](Index chunk, Index) {
    const Index row = chunk / panels * rows;
    const Index column = chunk % panels * width;
    const Index count = std::min(width, w.cols() - column);
    float* panel = detail::scratch<struct GradInputPanel>(std::max<Index>(1, depth * width));
    detail::pack_columns(w.data(), w.cols(), column, count, depth, panel);
    detail::multiply_block<Arch>({.x = dy.data() + row * depth,
                                  .x_row = depth,
                                  .x_step = 1,
                                  .panel = panel,
                                  .panel_stride = 0,
                                  .depth = depth,
                                  .y = dx.data() + row * dx.cols() + column,
                                  .y_row = dx.cols(),
                                  .bias = nullptr,
                                  .accumulate = accumulate},
                                 std::min(rows, dy.rows() - row), count);
  });
}

namespace detail {
/// Rows of the batch that pass through the caches together in a weight gradient.
inline constexpr Index grad_depth = 192;

/// dw(n, k) += sum_t dy(t, n) x(t, k) for n < `rows`, k < `columns`. Blocks of `grad_depth` rows t are packed,
/// x into panels and dy into columns of a tile; the tiles of one block fetch the next one into the
/// cache, a column of cache lines each, because rows far apart are more than the hardware foresees.
template <class Arch>
void grad_weight_block(const float* dy, Index dy_row, const float* x, Index x_row, Index depth, float* dw, Index dw_row,
                       Index rows, Index columns) {
  constexpr Index width = PackedMatrix<float>::width;
  constexpr Index line = 16;
  const Index panels = (columns + width - 1) / width;
  const Index tiles = (rows + tile_rows<Arch> - 1) / tile_rows<Arch>;
  constexpr Index height = (tile_rows<Arch> + lanes<Arch> - 1) / lanes<Arch> * lanes<Arch>;  // whole registers
  const Index left_lines = (rows + line - 1) / line;
  const Index right_lines = (columns + line - 1) / line;
  float* right = scratch<struct GradWeightRight>(panels * width * grad_depth);
  float* left = scratch<struct GradWeightLeft>(tiles * height * grad_depth);
  for (Index t = 0; t < depth; t += grad_depth) {
    const Index steps = std::min(grad_depth, depth - t);
    const Index next = std::min(depth - steps, t + grad_depth);  // first row to fetch; some may be there already
    for (Index p = 0; p < panels; ++p)
      pack_columns(x + t * x_row, x_row, p * width, std::min(width, columns - p * width), steps, right + p * width * steps);
    for (Index i = 0; i < tiles; ++i) {
      const Index n = i * rows / tiles;
      const float* from = dy + t * dy_row + n;
      float* to = left + i * steps * height;
      for (Index s = 0; s < steps; ++s, from += dy_row, to += height)  // values of the next tile may follow: harmless
        for_lanes<Arch>(0, std::min(height, rows - n),
                        [&](Index r, auto some) { store<Arch>(to + r, load_some<Arch>(from + r, some)); });
    }
    Index call = 0;
    for (Index i = 0; i < tiles; ++i) {
      const Index n = i * rows / tiles;
      const TileFunction tile = one_panel_tiles<Arch>[size((i + 1) * rows / tiles - n - 1)];
      for (Index p = 0; p < panels; ++p, ++call) {
        TileOperands operands{.x = left + i * steps * height,
                              .x_row = 1,
                              .x_step = height,
                              .panel = right + p * width * steps,
                              .panel_stride = 0,
                              .depth = steps,
                              .y = dw + n * dw_row + p * width,
                              .y_row = dw_row,
                              .bias = nullptr,
                              .accumulate = true};
        if (next > t && call < left_lines) {
          operands.ahead = dy + next * dy_row + call * line;
          operands.ahead_step = dy_row;
        } else if (next > t && call < left_lines + right_lines) {
          operands.ahead = x + next * x_row + (call - left_lines) * line;
          operands.ahead_step = x_row;
        }
        tile(operands, std::min(width, columns - p * width));
      }
    }
  }
}
}  // namespace detail

/// dw += dy^T x: the gradient of matmul's weight. The sum over rows runs in their order.
/// @param dy  [T, N]
/// @param x   [T, K]
/// @param dw  [N, K]
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void matmul_grad_weight(Cpu, View<const float> dy, View<const float> x, View<float> dw) {
  require<ShapeError>(dy.rows() == x.rows() && dw.rows() == dy.cols() && dw.cols() == x.cols(),
                      "kernel::matmul_grad_weight: dy [", dy.rows(), ", ", dy.cols(), "], x [", x.rows(), ", ", x.cols(),
                      "] into dw [", dw.rows(), ", ", dw.cols(), "]");
  if (dw.empty() || dy.rows() == 0) return;
  // Nearly equal blocks of dw of at most 24 tiles by 10 panels: the larger, the less is packed.
  constexpr Index width = PackedMatrix<float>::width;
  const Index panels = (dw.cols() + width - 1) / width;
  const Index across = (panels + 9) / 10;
  const Index down = (dw.rows() + 24 * detail::tile_rows<Arch> - 1) / (24 * detail::tile_rows<Arch>);
  parallel_for(across * down, 1, [&](Index chunk, Index) {
    const Index n = chunk / across * dw.rows() / down, n_end = (chunk / across + 1) * dw.rows() / down;
    const Index k = chunk % across * panels / across * width;
    const Index k_end = std::min(dw.cols(), (chunk % across + 1) * panels / across * width);
    detail::grad_weight_block<Arch>(dy.data() + n, dy.cols(), x.data() + k, x.cols(), dy.rows(),
                                    dw.data() + n * dw.cols() + k, dw.cols(), n_end - n, k_end - k);
  });
}

/// db += sum of the rows of dy, in their order.
/// @param dy  [T, N]
/// @param db  [N]
/// @throws ShapeError
template <class Arch = xsimd::default_arch>
void bias_grad(Cpu, View<const float> dy, View<float> db) {
  require<ShapeError>(db.size() == dy.cols(), "kernel::bias_grad: db of ", dy.cols(), " expected, got ", db.size());
  parallel_for(dy.cols(), 64, [&](Index begin, Index end) {
    detail::for_lanes<Arch>(begin, end, [&](Index c, auto count) {
      auto total = detail::load_some<Arch>(db.data() + c, count);
      for (Index t = 0; t < dy.rows(); ++t) total += detail::load_some<Arch>(dy.data() + t * dy.cols() + c, count);
      detail::store_some<Arch>(db.data() + c, total, count);
    });
  });
}
}  // namespace vbon::kernel
