// vbon/model/score.hpp
//
// Sequences for a causal model with a score head, which reads one row of each: the last token that is not
// padding, judged by its id. Where padding and end token share an id, a trailing end token is skipped too,
// as the models were trained.
#pragma once
#include <span>
#include <vector>

#include "vbon/model/forest.hpp"

namespace vbon::model {
/// Position of the last token other than `pad`; 0 when all are; the last one when there is no pad (-1).
inline Index scored_position(std::span<const TokenId> token, TokenId pad) {
  for (auto i = static_cast<Index>(token.size()); i-- > 0;)
    if (token[static_cast<std::size_t>(i)] != pad) return i;
  return 0;
}

struct ScoreInput {
  Forest forest;
  std::vector<Index> row;  // [R] the row that is read for each sequence

  /// @throws DomainError when the sequence is empty
  template <class = void>
  void add(std::span<const TokenId> token, TokenId pad) {
    require<DomainError>(!token.empty(), "ScoreInput: sequence ", row.size(), " has no token");
    row.push_back(forest.rows() + scored_position(token, pad));
    forest.add(token);
  }
};
}  // namespace vbon::model
