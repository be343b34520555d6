// vbon/kernel/embedding.hpp
//
// Rows of a table by token, and the gradient: a scatter-add whose order is that of the tokens. Threads
// share the columns, not the tokens, so no two of them meet in one value.
#pragma once
#include <span>

#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/simd.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
namespace detail {
inline void check_tokens(const char* name, std::span<const TokenId> token, Index vocabulary) {
  for (std::size_t t = 0; t < token.size(); ++t)
    require<DomainError>(token[t] >= 0 && token[t] < vocabulary, name, ": token ", token[t], " at ", t,
                         " of a vocabulary of ", vocabulary);
}
}  // namespace detail

/// out[t] = table[token[t]], added to out when accumulating (position or type embeddings).
/// @param table  [V, C]
/// @param token  [T] in [0, V)
/// @param out    [T, C]
/// @throws ShapeError, DomainError
template <class Arch = xsimd::default_arch>
void embedding(Cpu, View<const float> table, std::span<const TokenId> token, View<float> out, bool accumulate = false) {
  require<ShapeError>(out.rows() == static_cast<Index>(token.size()) && out.cols() == table.cols(),
                      "kernel::embedding: ", token.size(), " tokens of width ", table.cols(), " into [", out.rows(), ", ",
                      out.cols(), "]");
  detail::check_tokens("kernel::embedding", token, table.rows());
  const Index cols = table.cols();
  parallel_for(out.rows(), 64, [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t) {
      const float* from = table.data() + token[detail::size(t)] * cols;
      float* to = out.data() + t * cols;
      if (!accumulate) {
        std::copy_n(from, cols, to);
        continue;
      }
      detail::for_lanes<Arch>(0, cols, [&](Index c, auto count) {
        detail::store_some<Arch>(to + c, detail::load_some<Arch>(to + c, count) + detail::load_some<Arch>(from + c, count),
                                 count);
      });
    }
  });
}

/// dtable[token[t]] += dout[t], in the order of t.
/// @param token   [T] in [0, V)
/// @param dout    [T, C]
/// @param dtable  [V, C]
/// @throws ShapeError, DomainError
template <class Arch = xsimd::default_arch>
void embedding_backward(Cpu, std::span<const TokenId> token, View<const float> dout, View<float> dtable) {
  require<ShapeError>(dout.rows() == static_cast<Index>(token.size()) && dout.cols() == dtable.cols(),
                      "kernel::embedding_backward: ", token.size(), " tokens of width ", dtable.cols(), " from [",
                      dout.rows(), ", ", dout.cols(), "]");
  detail::check_tokens("kernel::embedding_backward", token, dtable.rows());
  const Index cols = dout.cols();
  parallel_for(cols, 128, [&](Index begin, Index end) {
    for (Index t = 0; t < dout.rows(); ++t) {
      const float* from = dout.data() + t * cols;
      float* to = dtable.data() + token[detail::size(t)] * cols;
      detail::for_lanes<Arch>(begin, end, [&](Index c, auto count) {
        detail::store_some<Arch>(to + c, detail::load_some<Arch>(to + c, count) + detail::load_some<Arch>(from + c, count),
                                 count);
      });
    }
  });
}
}  // namespace vbon::kernel
