// vbon/kernel/packed_matrix.hpp
//
// A weight matrix laid out for matmul: panels of 32 output columns, in each panel the reduction index
// runs slowest. So the inner loop reads memory forward, whatever the shape. Panels hold floats, or what a
// checkpoint stores of them (packed_format.hpp), or for products in bfloat16 pairs of those.
#pragma once
#include <cstring>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/bfloat16.hpp"
#include "vbon/kernel/packed_format.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
enum class Transpose { no, yes };

/// Values of a panel of this depth.
/// @param format  nullptr: floats
constexpr Index packed_panel_size(Index depth, const PackedFormat* format) {
  return format == nullptr ? depth * panel_width : (depth + format->depth - 1) / format->depth * format->words;
}

/// A weight [N, K] as panels [ceil(N / 32)][K][32]; columns beyond N are zero.
template <class T = float, Device D = Cpu>
class PackedMatrix {
 public:
  static constexpr Index width = panel_width;

  PackedMatrix() = default;
  /// @param pages  own: of a matrix that is thrown away after its use
  explicit PackedMatrix(Pages pages) : pages_(pages) {}
  PackedMatrix(Index rows, Index cols) { resize(rows, cols); }

  Index rows() const { return rows_; }  // N: columns of the product
  Index cols() const { return cols_; }  // K: length of the sums
  bool empty() const { return rows_ == 0; }
  Index panels() const { return (rows_ + width - 1) / width; }
  /// How panels are stored; nullptr: as floats [K][32].
  const PackedFormat* format() const { return format_; }
  Index panel_size() const { return packed_panel_size(cols_, format_); }
  T* panel(Index i) { return values_.data() + i * panel_size(); }
  const T* panel(Index i) const { return values_.data() + i * panel_size(); }

  /// What both factors of a product with this weight are rounded to. With bfloat16 panels are of bfloat16_format.
  Precision precision() const { return precision_; }
  /// Of the panels that will be packed; those of another precision are dropped.
  void set_precision(Precision precision) {
    if (precision != precision_) clear();
    precision_ = precision;
  }
  /// Gives the memory back; the precision stays.
  void clear() {
    values_ = {};
    format_ = nullptr;
    rows_ = cols_ = 0;
  }

  /// Takes a new shape; the storage is kept when it is of the right size.
  void resize(Index rows, Index cols, const PackedFormat* format = nullptr) {
    rows_ = rows;
    cols_ = cols;
    format_ = format;
    const Index count = panels() * panel_size();
    if (values_.size() != count) values_ = Tensor<T, D>(count, pages_);
  }

 private:
  Tensor<T, D> values_;
  const PackedFormat* format_ = nullptr;
  Precision precision_ = Precision::float32;
  Pages pages_ = Pages::shared;
  Index rows_ = 0;
  Index cols_ = 0;
};

namespace detail {
/// One panel from w [N, K]: rows [first, first + count) become columns.
inline void pack_rows(const float* w, Index stride, Index first, Index count, Index depth, float* panel) {
  constexpr Index width = PackedMatrix<float>::width;
  constexpr Index block = 16;  // one cache line of each row at a time
  for (Index k = 0; k < depth; k += block) {
    const Index some = std::min(block, depth - k);
    for (Index n = 0; n < width; n += 4) {
      const float* from = w + (first + n) * stride + k;
      float* to = panel + k * width + n;
      if (some == block && n + 4 <= count) {
        VBON_UNROLL
        for (Index i = 0; i < block; i += 4) transpose_four(from + i, stride, to + i * width, width);
        continue;
      }
      for (Index j = 0; j < 4; ++j)
        for (Index i = 0; i < some; ++i) to[i * width + j] = n + j < count ? from[j * stride + i] : 0.0f;
    }
  }
}
/// One panel from w [K, N]: columns [first, first + count) of every row.
inline void pack_columns(const float* w, Index stride, Index first, Index count, Index depth, float* panel) {
  constexpr Index width = PackedMatrix<float>::width;
  const float* from = w + first;
  if (count == width) {  // a constant size, so that it becomes a few register moves
    for (Index k = 0; k < depth; ++k, from += stride, panel += width) std::memcpy(panel, from, width * sizeof(float));
    return;
  }
  for (Index k = 0; k < depth; ++k, from += stride, panel += width) {
    std::copy_n(from, count, panel);
    std::fill(panel + count, panel + width, 0.0f);
  }
}

/// Such a panel as slots of a right operand.
template <class Slots>
inline void lay_columns(const float* w, Index stride, Index first, Index count, Index depth, float* panel) {
  constexpr Index width = PackedMatrix<float>::width;
  if constexpr (Slots::precision == Precision::float32) {
    pack_columns(w, stride, first, count, depth, panel);
  } else {
    lay_steps<Slots>(w + first, stride, depth, count, panel, width);
    for (Index k = 0; count < width && k < slots_of<Slots>(depth); ++k)
      std::fill(panel + k * width + count, panel + (k + 1) * width, 0.0f);
  }
}

/// A panel of bfloat16_format by way of its floats, of which write(first, count, out) writes steps [first, first + count).
template <class Write>
inline void pack_pairs(Index depth, float* panel, const Write& write) {
  constexpr Index width = PackedMatrix<float>::width, block = 128;
  alignas(64) float steps[block * width];
  for (Index k = 0; k < depth; k += block) {
    const Index count = std::min(block, depth - k);
    write(k, count, steps);
    lay_steps<PairSlots<xsimd::default_arch>>(steps, width, count, width, panel + k / 2 * width, width);
  }
}
/// The same from w [N, K], as pack_rows(). Where the processor makes pairs of neighbours in a row, half as many values have
/// to change places as there are floats.
template <class = void>
void pack_pair_rows(const float* w, Index stride, Index first, Index count, Index depth, float* panel) {
  using Slots = PairSlots<xsimd::default_arch>;
  constexpr Index width = PackedMatrix<float>::width, block = 128, slots = block / Slots::steps;
  if constexpr (PairInstruction<xsimd::default_arch>::exists) {
    alignas(64) float pairs[width * slots];
    for (Index k = 0; k < depth; k += block) {
      const Index some = std::min(block, depth - k);
      for (Index n = 0; n < count; ++n) Slots::lay_row(w + (first + n) * stride + k, some, pairs + n * slots);
      pack_rows(pairs, slots, 0, count, slots_of<Slots>(some), panel + k / Slots::steps * width);
    }
  } else {
    pack_pairs(depth, panel,
               [&](Index k, Index some, float* steps) { pack_rows(w + k, stride, first, count, some, steps); });
  }
}
}  // namespace detail

/// Lays out a weight.
/// @param w          [N, K]; with Transpose::yes [K, N]
/// @param out        takes the shape [N, K]; its storage is used again where it fits, its precision stays
template <class = void>
void pack(Cpu, View<const float> w, Transpose transpose, PackedMatrix<float>& out) {
  constexpr Index width = PackedMatrix<float>::width;
  const bool turned = transpose == Transpose::yes, pairs = out.precision() == Precision::bfloat16;
  out.resize(turned ? w.cols() : w.rows(), turned ? w.rows() : w.cols(), pairs ? bfloat16_format : nullptr);
  const Index stride = w.cols();
  parallel_for(out.panels(), std::max<Index>(1, 16384 / std::max<Index>(1, out.panel_size())), [&](Index begin, Index end) {
    for (Index p = begin; p < end; ++p) {
      const Index count = std::min(width, out.rows() - p * width);
      if (turned) {
        const auto steps = [&](Index first, Index depth, float* panel) {
          detail::pack_columns(w.data() + first * stride, stride, p * width, count, depth, panel);
        };
        pairs ? detail::pack_pairs(out.cols(), out.panel(p), steps) : steps(0, out.cols(), out.panel(p));
      } else {
        const auto lay = pairs ? detail::pack_pair_rows<> : detail::pack_rows;
        lay(w.data(), stride, p * width, count, out.cols(), out.panel(p));
      }
    }
  });
}

/// The same for a weight that is nowhere yet: read(first, count, out) writes its rows [first, first + count) to
/// out [count, cols], on any thread, and 32 rows at a time are all that is held of it.
template <class Read>
void pack_from(Cpu, Index rows, Index cols, const Read& read, PackedMatrix<float>& out) {
  constexpr Index width = PackedMatrix<float>::width;
  const bool pairs = out.precision() == Precision::bfloat16;
  out.resize(rows, cols, pairs ? bfloat16_format : nullptr);
  parallel_for(out.panels(), std::max<Index>(1, 16384 / std::max<Index>(1, out.panel_size())), [&](Index begin, Index end) {
    float* held = detail::scratch<struct PackedRows>(std::max<Index>(1, width * cols));
    for (Index p = begin; p < end; ++p) {
      const Index count = std::min(width, rows - p * width);
      read(p * width, count, held);
      const auto lay = pairs ? detail::pack_pair_rows<> : detail::pack_rows;
      lay(held, cols, 0, count, cols, out.panel(p));
    }
  });
}

/// The same from rows as a checkpoint stores them, kept in their own number of bits.
/// @param format  of the rows; its depth divides cols
/// @param row     row(i) is where the bytes of row i begin; called on any thread
/// @throws ShapeError, also where the precision of the packed matrix asks for another format
template <class Row>
void pack_stored(Cpu, Index rows, Index cols, const PackedFormat& format, const Row& row, PackedMatrix<float>& out) {
  constexpr Index width = PackedMatrix<float>::width;
  const BlockFormat& stored = block_format(format.type);
  const Index bytes = format.depth / static_cast<Index>(stored.elements) * static_cast<Index>(stored.bytes);
  require<ShapeError>(cols % format.depth == 0, "kernel::pack_stored: rows of ", cols, " values of ", stored.name,
                      " cannot be cut into groups of ", format.depth);
  require<ShapeError>(out.precision() == Precision::float32 || &format == bfloat16_format,
                      "kernel::pack_stored: ", stored.name, " for a product in bfloat16; pack its values");
  out.resize(rows, cols, &format);
  parallel_for(out.panels(), std::max<Index>(1, 16384 / std::max<Index>(1, out.panel_size())), [&](Index begin, Index end) {
    std::vector<std::uint32_t> group(detail::size(format.words));
    for (Index p = begin; p < end; ++p) {
      const std::uint8_t* column[width];
      for (Index n = 0; n < width; ++n)
        column[n] = p * width + n < rows ? reinterpret_cast<const std::uint8_t*>(row(p * width + n)) : nullptr;
      float* to = out.panel(p);
      for (Index k = 0; k < cols; k += format.depth, to += format.words) {
        format.pack(column, group.data());
        std::memcpy(to, group.data(), group.size() * sizeof(float));
        for (const std::uint8_t*& c : column) c = c == nullptr ? c : c + bytes;
      }
    }
  });
}
}  // namespace vbon::kernel
