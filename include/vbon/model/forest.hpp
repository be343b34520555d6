// vbon/model/forest.hpp
//
// The input of one pass: sequences that share beginnings, each beginning once. A prompt is a segment, its
// M responses are children; rows lie end to end, nothing is padded. Beside it, the reading list: which
// rows are asked for the probability of which token.
#pragma once
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/kernel/segment.hpp"

namespace vbon::model {
struct Forest {
  std::vector<TokenId> token;   // [rows]
  std::vector<Index> position;  // [rows] in the sequence
  std::vector<kernel::Segment> segment;
  std::vector<Index> read_row;      // [T] rows whose next token is asked for
  std::vector<TokenId> read_token;  // [T] that token

  Index rows() const { return static_cast<Index>(token.size()); }
  Index reads() const { return static_cast<Index>(read_row.size()); }

  /// Appends a run of tokens that continues `parent` (-1: starts a sequence); returns the segment's number.
  template <class = void>
  Index add(std::span<const TokenId> tokens, Index parent = -1) {
    kernel::Segment next{.begin = rows(), .length = static_cast<Index>(tokens.size()), .parent = parent, .position = 0};
    if (parent >= 0) {
      const kernel::Segment& before = segment[static_cast<std::size_t>(parent)];
      next.position = before.position + before.length;
    }
    for (std::size_t i = 0; i < tokens.size(); ++i) position.push_back(next.position + static_cast<Index>(i));
    token.insert(token.end(), tokens.begin(), tokens.end());
    segment.push_back(next);
    return static_cast<Index>(segment.size()) - 1;
  }
  Index last_row(Index number) const {
    const kernel::Segment& s = segment[static_cast<std::size_t>(number)];
    return s.begin + s.length - 1;
  }
  template <class = void>
  void read(Index row, TokenId next) {
    read_row.push_back(row);
    read_token.push_back(next);
  }
  /// Appends a response to a prompt's segment and reads every token of it. Its last token is read but not
  /// fed: nothing depends on what follows it.
  template <class = void>
  void add_response(Index prompt, std::span<const TokenId> response) {
    if (response.empty()) return;
    read(last_row(prompt), response[0]);
    if (response.size() == 1) return;
    const Index number = add(response.first(response.size() - 1), prompt);
    const Index begin = segment[static_cast<std::size_t>(number)].begin;
    for (std::size_t i = 1; i < response.size(); ++i) read(begin + static_cast<Index>(i) - 1, response[i]);
  }
};
}  // namespace vbon::model
