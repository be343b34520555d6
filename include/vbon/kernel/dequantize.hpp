// vbon/kernel/dequantize.hpp
//
// Stored weights to floats on the device, on all threads. The formats and their bit-exact decoders are in
// core/block_format.hpp.
#pragma once
#include <cstddef>
#include <span>

#include "vbon/core/block_format.hpp"
#include "vbon/core/device.hpp"
#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::kernel {
/// @param from  whole blocks of `type` [blocks * bytes]
/// @param out   [blocks * elements]
/// @throws ShapeError when the sizes do not fit each other
template <class = void>
void dequantize(Cpu, BlockType type, std::span<const std::byte> from, View<float> out) {
  const BlockFormat& format = block_format(type);
  const std::size_t blocks = from.size() / format.bytes;
  require<ShapeError>(
      from.size() == blocks * format.bytes && static_cast<std::size_t>(out.size()) == blocks * format.elements,
      "kernel::dequantize: ", from.size(), " bytes of ", format.name, " do not hold ", out.size(), " values");
  // A grain of about 16 thousand values keeps small norms on one thread.
  const Index grain = 16384 / static_cast<Index>(format.elements);
  parallel_for(static_cast<Index>(blocks), grain, [&](Index begin, Index end) {
    const auto first = static_cast<std::size_t>(begin);
    decode_blocks(format, from.data() + first * format.bytes, static_cast<std::size_t>(end - begin),
                  out.data() + first * format.elements);
  });
}
}  // namespace vbon::kernel
