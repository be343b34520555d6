// vbon/model/encoder_input.hpp
//
// What an encoder reads: sequences end to end, never padded. Each is a segment of its own, so a sequence
// sees all of itself and nothing of its neighbours.
#pragma once
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/kernel/segment.hpp"
#include "vbon/model/encoder_shape.hpp"

namespace vbon::model {
/// B sequences with T tokens together.
struct EncoderInput {
  std::vector<TokenId> token;       // [T]
  std::vector<TokenId> type;        // [T] token types (sentence A or B)
  std::vector<Index> offset = {0};  // [B+1] tokens of sequence i: [offset[i], offset[i+1])

  Index tokens() const { return offset.back(); }
  Index sequences() const { return static_cast<Index>(offset.size()) - 1; }

  /// Appends a sequence; without types all are 0.
  template <class = void>
  void add(std::span<const TokenId> tokens_of_sequence, std::span<const TokenId> types_of_sequence = {}) {
    require<ShapeError>(types_of_sequence.empty() || types_of_sequence.size() == tokens_of_sequence.size(),
                        "EncoderInput: ", tokens_of_sequence.size(), " token types expected, got ",
                        types_of_sequence.size());
    token.insert(token.end(), tokens_of_sequence.begin(), tokens_of_sequence.end());
    type.insert(type.end(), types_of_sequence.begin(), types_of_sequence.end());
    type.resize(token.size());
    offset.push_back(static_cast<Index>(token.size()));
  }
};

/// @throws ShapeError, DomainError naming the sequence that this encoder cannot read
template <class = void>
void check(const EncoderInput& input, const EncoderShape& shape) {
  const Index most_types = shape.types > 0 ? shape.types : 1;
  for (Index i = 0; i < input.sequences(); ++i) {
    const auto begin = static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i)]);
    const auto end = static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i) + 1]);
    require<ShapeError>(end > begin && end - begin <= static_cast<std::size_t>(shape.max_length()), "encoder: sequence ", i,
                        " has ", end - begin, " tokens, 1 to ", shape.max_length(), " expected; shorten it");
    for (std::size_t t = begin; t < end; ++t) {
      require<DomainError>(input.token[t] >= 0 && input.token[t] < shape.vocabulary, "encoder: sequence ", i, ", token ",
                           t - begin, ": id ", input.token[t], " lies outside the vocabulary of ", shape.vocabulary);
      require<DomainError>(input.type[t] >= 0 && input.type[t] < most_types, "encoder: sequence ", i, ", token ", t - begin,
                           ": token type ", input.type[t], " lies outside [0, ", most_types, ")");
    }
  }
}

/// The row of the position table for every token [T].
inline std::vector<TokenId> encoder_positions(const EncoderInput& input, const EncoderShape& shape) {
  std::vector<TokenId> position(input.token.size());
  for (Index i = 0; i < input.sequences(); ++i) {
    TokenId next = shape.positions_skip_pad ? shape.pad_id + 1 : 0;
    for (auto t = static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i)]);
         t < static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i) + 1]); ++t)
      position[t] = shape.positions_skip_pad && input.token[t] == shape.pad_id ? shape.pad_id : next++;
  }
  return position;
}

/// One segment for each sequence.
template <class = void>
std::vector<kernel::Segment> encoder_segments(const EncoderInput& input) {
  std::vector<kernel::Segment> segments;
  for (Index i = 0; i < input.sequences(); ++i) {
    const Index begin = input.offset[static_cast<std::size_t>(i)];
    segments.push_back({.begin = begin, .length = input.offset[static_cast<std::size_t>(i) + 1] - begin});
  }
  return segments;
}
}  // namespace vbon::model
