// vbon/kernel/matmul.hpp
//
// The three matrix products of a linear layer y = x w^T + b and the gradient of its bias. Every output is one ordered
// chain (matmul_tile.hpp), however work is cut, so results depend neither on the number of threads nor on which other rows
// are in the batch. In bfloat16 both factors of each product are rounded first (bfloat16.hpp); the template parameter Low
// is how they stand in memory then.
#pragma once
#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/matmul_tile.hpp"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
namespace detail {
/// Rows of a block, whole steps of them, where so many are cut into as few blocks of `most` at most as can be, all about
/// equally high: a short one at the end would cost what a whole one does beside its products.
/// @param most  whole steps
inline Index equal_block(Index rows, Index most, Index step) {
  const Index blocks = std::max<Index>(1, (rows + most - 1) / most);
  return std::max(step, ((rows + blocks - 1) / blocks + step - 1) / step * step);
}

/// Rows of x that are worked on together, so that they stay in the second-level cache.
inline Index row_block(Index rows, Index depth) {
  constexpr Index cache = 128 * 1024;  // floats
  const Index most = std::max<Index>(56, cache / std::max<Index>(1, depth) / 14 * 14);
  return rows <= most ? rows : equal_block(rows, most, 14);
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
/// @param w     [N, K], packed; its precision is that of the product
/// @param y     [T, N]
/// @param bias  [N] or empty
/// @throws ShapeError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void matmul(Cpu, View<const float> x, const PackedMatrix<float>& w, View<float> y, View<const float> bias = {},
            bool accumulate = false) {
  constexpr Index width = PackedMatrix<float>::width;
  require<ShapeError>(x.cols() == w.cols() && y.cols() == w.rows() && y.rows() == x.rows(), "kernel::matmul: x [", x.rows(),
                      ", ", x.cols(), "] times w [", w.rows(), ", ", w.cols(), "] into y [", y.rows(), ", ", y.cols(), "]");
  require<ShapeError>(bias.empty() || bias.size() == w.rows(), "kernel::matmul: bias of ", w.rows(), " expected, got ",
                      bias.size());
  if (y.empty()) return;
  const detail::LeftRows left = detail::left_rows<Low>(x, w.precision(), w.rows());
  // A panel in a compact format is widened for each block of rows: there are few of them, or one.
  const bool widened = w.format() != nullptr && w.precision() == Precision::float32;
  const Index rows = detail::row_block(x.rows(), widened ? detail::depth_block : left.depth);
  const Index row_blocks = (x.rows() + rows - 1) / rows;
  const Index group = detail::panel_group(rows, x.cols(), w.panels());
  const Index groups = (w.panels() + group - 1) / group;
  parallel_for(row_blocks * groups, 1, [&](Index chunk, Index) {
    const Index row = chunk / groups * rows;
    const Index panel = chunk % groups * group;
    const Index column = panel * width;
    detail::multiply_weight<Arch, Low>(left.middle_rows(row, std::min(rows, x.rows() - row)), w, panel,
                                       std::min(group * width, w.rows() - column),
                                       {.y = y.data() + row * y.cols() + column,
                                        .y_row = y.cols(),
                                        .bias = bias.empty() ? nullptr : bias.data() + column,
                                        .accumulate = accumulate});
  });
}

/// dx = dy w, plus the old dx when accumulating: the gradient of matmul's input from the plain weight,
/// laid out panel by panel on the way. Spares a second packed copy of every weight.
/// @param dy  [T, N]
/// @param w   [N, K], row-major
/// @param dx  [T, K]
/// @throws ShapeError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void matmul_grad_input(Cpu, View<const float> dy, View<const float> w, View<float> dx, bool accumulate = false,
                       Precision precision = Precision::float32) {
  constexpr Index width = PackedMatrix<float>::width;
  require<ShapeError>(dy.cols() == w.rows() && dx.cols() == w.cols() && dx.rows() == dy.rows(),
                      "kernel::matmul_grad_input: dy [", dy.rows(), ", ", dy.cols(), "] times w [", w.rows(), ", ", w.cols(),
                      "] into dx [", dx.rows(), ", ", dx.cols(), "]");
  if (dx.empty()) return;
  const detail::LeftRows left = detail::left_rows<Low>(dy, precision, w.cols());
  const Index panels = (w.cols() + width - 1) / width;
  // Laying out a panel costs as much as some 15 rows, 30 in bfloat16: all rows use it, but where threads would be idle.
  const Index wanted = (4 * thread_pool().threads() + panels - 1) / panels;
  const Index row_blocks = std::clamp<Index>(wanted, 1, (dy.rows() + 255) / 256);
  const Index rows = (dy.rows() + row_blocks - 1) / row_blocks;
  detail::with_slots<Arch, Low>(precision, [&]<class Slots>(Slots) {
    parallel_for(row_blocks * panels, 1, [&](Index chunk, Index) {
      const Index row = chunk / panels * rows;
      const Index column = chunk % panels * width;
      const Index count = std::min(width, w.cols() - column);
      float* panel = detail::scratch<struct GradInputPanel>(std::max<Index>(1, left.depth * width));
      detail::lay_columns<Slots>(w.data(), w.cols(), column, count, dy.cols(), panel);
      std::fill(panel + detail::slots_of<Slots>(dy.cols()) * width, panel + left.depth * width, 0.0f);
      detail::multiply_block<detail::WeightStep<typename Slots::Step>>({.x = left.first + row * left.stride,
                                                                        .x_row = left.stride,
                                                                        .x_step = 1,
                                                                        .panel = panel,
                                                                        .panel_stride = 0,
                                                                        .depth = left.depth,
                                                                        .y = dx.data() + row * dx.cols() + column,
                                                                        .y_row = dx.cols(),
                                                                        .bias = nullptr,
                                                                        .accumulate = accumulate},
                                                                       std::min(rows, dy.rows() - row), count);
    });
  });
}

namespace detail {
/// Rows of the batch that pass through the caches together in a weight gradient, at most.
inline constexpr Index grad_depth = 288;
/// Rows that are packed at a time.
inline constexpr Index grad_slice = 2048;

/// The rows of a matrix as right operands of weight gradients: blocks of `block` rows, an even number, each as panels
/// [panels][slots][32].
template <class Slots>
class RowPanels {
 public:
  static constexpr Index width = PackedMatrix<float>::width;
  RowPanels(float* memory, Index rows, Index cols, Index block) : memory_(memory), rows_(rows), cols_(cols), block_(block) {}
  static Index floats(Index rows, Index cols) { return slots_of<Slots>(rows) * ((cols + width - 1) / width * width); }

  Index panels() const { return (cols_ + width - 1) / width; }
  Index blocks() const { return (rows_ + block_ - 1) / block_; }
  Index first(Index i) const { return i * block_; }
  Index length(Index i) const { return std::min(block_, rows_ - first(i)); }
  Index slots(Index i) const { return slots_of<Slots>(length(i)); }
  float* panel(Index i, Index p) const { return memory_ + (slots_of<Slots>(first(i)) * panels() + p * slots(i)) * width; }
  /// Lays out one panel of a block from the matrix.
  void pack(const float* x, Index x_row, Index i, Index p) const {
    lay_columns<Slots>(x + first(i) * x_row, x_row, p * width, std::min(width, cols_ - p * width), length(i), panel(i, p));
  }

 private:
  float* memory_;
  Index rows_, cols_, block_;
};

/// Row tiles of a block of dy^T: tile i has rows [begin(i), begin(i + 1)), nearly equal heights.
template <class Slots>
struct GradTiles {
  using Arch = typename Slots::Arch;
  Index rows;
  Index count() const { return (rows + tile_rows<Arch> - 1) / tile_rows<Arch>; }
  Index begin(Index i) const { return i * rows / count(); }
  Index height(Index i) const { return begin(i + 1) - begin(i); }
  /// Floats of one tile of `steps` rows of dy: whole registers are written.
  static Index tile_floats(Index steps) { return tile_rows<Arch> * slots_of<Slots>(steps) + lanes<Arch>; }
  Index floats(Index steps) const { return count() * tile_floats(steps); }
  float* tile(float* left, Index i, Index steps) const { return left + i * tile_floats(steps); }
  /// One tile of dy [steps, rows] as [slots][tile_rows].
  void pack(const float* dy, Index dy_row, Index i, Index steps, float* left) const {
    const float* from = dy + begin(i);
    float* to = tile(left, i, steps);
    const Index left_over = rows - begin(i);  // what follows in the row may be taken along: it is written over
    for (Index s = 0; s < steps; s += Slots::steps, from += Slots::steps * dy_row, to += tile_rows<Arch>)
      for_lanes<Arch>(0, std::min<Index>(tile_rows<Arch>, left_over), [&](Index r, auto) {
        const Index some = std::min(lanes<Arch>, left_over - r);
        Batch<Arch> step[Slots::steps];
        VBON_UNROLL
        for (Index j = 0; j < Slots::steps; ++j) {
          const float* row = from + j * dy_row + r;
          step[j] = s + j >= steps        ? Batch<Arch>(0.0f)
                    : some == lanes<Arch> ? load<Arch>(row)
                                          : load_partial<Arch>(row, some);
        }
        store<Arch>(to + r, Slots::slot(step));
      });
  }
};

/// dw(n, k) += sum_t dy(t, n) x(t, k) over one block of rows, for the row tiles [tile, tile_end) and panels
/// [panel, panel_end): a panel stays in the cache while the tiles pass.
/// @param left        packed by GradTiles
/// @param dw          [tiles.rows, columns]
/// @param accumulate  false: dw is written
template <class Slots>
void grad_weight_block(const GradTiles<Slots>& tiles, float* left, const RowPanels<Slots>& x, Index block, float* dw,
                       Index columns, Index tile, Index tile_end, Index panel, Index panel_end, bool accumulate) {
  constexpr Index width = RowPanels<Slots>::width;
  for (Index p = panel; p < panel_end; ++p)
    for (Index i = tile; i < tile_end; ++i)
      one_panel_tiles<typename Slots::Step>[size(tiles.height(i) - 1)](
          {.x = tiles.tile(left, i, x.length(block)),
           .x_row = 1,
           .x_step = tile_rows<typename Slots::Arch>,
           .panel = x.panel(block, p),
           .panel_stride = 0,
           .depth = x.slots(block),
           .y = dw + tiles.begin(i) * columns + p * width,
           .y_row = columns,
           .bias = nullptr,
           .accumulate = accumulate,
           .ahead = dw + tiles.begin(i + 1) * columns + p * width,
           .ahead_step = columns},
          std::min(width, columns - p * width));
}

template <class Slots>
void grad_weight(View<const float> dy, View<const float> x, View<float> dw, bool accumulate) {
  const GradTiles<Slots> tiles{dw.rows()};
  const Index rows = std::min(grad_slice, dy.rows()), depth = equal_block(rows, grad_depth, 2);
  const Index left_block = tiles.floats(std::min(depth, rows));
  float* left = scratch<struct GradWeightLeft>((rows + depth - 1) / depth * left_block);
  float* right = scratch<struct GradWeightRight>(RowPanels<Slots>::floats(rows, x.cols()));
  for (Index first = 0; first < dy.rows(); first += grad_slice) {
    const View<const float> dy_slice = dy.middle_rows(first, std::min(grad_slice, dy.rows() - first));
    const View<const float> x_slice = x.middle_rows(first, dy_slice.rows());
    const RowPanels<Slots> panels(right, x_slice.rows(), x.cols(), depth);
    const Index packed_tiles = 16, packed_panels = 4;  // a chunk of packing
    const Index left_chunks = (tiles.count() + packed_tiles - 1) / packed_tiles;
    const Index chunks = left_chunks + (panels.panels() + packed_panels - 1) / packed_panels;
    parallel_for(panels.blocks() * chunks, 1, [&](Index chunk, Index) {
      const Index block = chunk / chunks, part = chunk % chunks;
      if (part < left_chunks) {
        for (Index i = part * packed_tiles; i < std::min(tiles.count(), (part + 1) * packed_tiles); ++i)
          tiles.pack(dy_slice.row(panels.first(block)).data(), dy.cols(), i, panels.length(block),
                     left + block * left_block);
      } else {
        const Index p = (part - left_chunks) * packed_panels;
        for (Index i = p; i < std::min(panels.panels(), p + packed_panels); ++i)
          panels.pack(x_slice.data(), x.cols(), block, i);
      }
    });
    // Nearly equal blocks of dw of at most 24 tiles by 10 panels, which stay in the second-level cache.
    const Index across = (panels.panels() + 9) / 10, down = (tiles.count() + 23) / 24;
    parallel_for(across * down, 1, [&](Index chunk, Index) {
      const Index i = chunk / across, p = chunk % across;
      for (Index block = 0; block < panels.blocks(); ++block)
        grad_weight_block<Slots>(tiles, left + block * left_block, panels, block, dw.data(), dw.cols(),
                                 i * tiles.count() / down, (i + 1) * tiles.count() / down, p * panels.panels() / across,
                                 (p + 1) * panels.panels() / across, accumulate || first > 0 || block > 0);
    });
  }
}
}  // namespace detail

/// dw += dy^T x: the gradient of matmul's weight. The sum over rows runs in their order. Both operands are packed once.
/// @param dy          [T, N]
/// @param x           [T, K]
/// @param dw          [N, K]
/// @param accumulate  false: dw is overwritten, with the bits that zeros would get
/// @throws ShapeError
template <class Arch = xsimd::default_arch, class Low = detail::Bfloat16Slots<Arch>>
void matmul_grad_weight(Cpu, View<const float> dy, View<const float> x, View<float> dw,
                        Precision precision = Precision::float32, bool accumulate = true) {
  require<ShapeError>(dy.rows() == x.rows() && dw.rows() == dy.cols() && dw.cols() == x.cols(),
                      "kernel::matmul_grad_weight: dy [", dy.rows(), ", ", dy.cols(), "], x [", x.rows(), ", ", x.cols(),
                      "] into dw [", dw.rows(), ", ", dw.cols(), "]");
  if (dy.rows() == 0 && !accumulate) std::fill(dw.begin(), dw.end(), 0.0f);
  if (dw.empty() || dy.rows() == 0) return;
  detail::with_slots<Arch, Low>(precision, [&]<class Slots>(Slots) { detail::grad_weight<Slots>(dy, x, dw, accumulate); });
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
