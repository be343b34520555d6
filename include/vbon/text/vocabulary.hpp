// vbon/text/vocabulary.hpp
//
// Tokens and their ids, both ways: all characters in one block, one flat hash table.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::text {
class Vocabulary {
 public:
  using Entry = std::pair<std::string_view, std::int64_t>;

  /// Ids above the number of tokens by more than this are taken for damage, since tables are sized by ids.
  static constexpr std::int64_t max_gap = 65536;

  Vocabulary() = default;
  /// @param where  names the file in messages
  /// @throws FormatError naming the token: an id below 0, far above the others, or used twice; a token twice
  template <class = void>
  Vocabulary(const std::vector<Entry>& entries, std::string_view where) : count_(entries.size()) {
    std::size_t characters = 0;
    std::int64_t largest = -1;
    for (const auto& [token, id] : entries) {
      require<FormatError>(id >= 0 && id < static_cast<std::int64_t>(entries.size()) + max_gap, where, ": token \"", token,
                           "\" has the id ", id, ", which does not fit a vocabulary of ", entries.size(), " tokens");
      characters += token.size();
      largest = std::max(largest, id);
    }
    characters_.reserve(characters);  // views into it stay good because it never grows
    tokens_.resize(static_cast<std::size_t>(largest + 1));
    used_.resize(tokens_.size());
    table_.assign(std::bit_ceil(2 * entries.size() + 2), -1);
    for (const auto& [token, id] : entries) {
      const auto index = static_cast<std::size_t>(id);
      require<FormatError>(!used_[index], where, ": the tokens \"", tokens_[index], "\" and \"", token, "\" share the id ",
                           id);
      const std::size_t slot = find_slot(token);
      require<FormatError>(table_[slot] < 0, where, ": the token \"", token, "\" stands twice");
      const std::size_t begin = characters_.size();
      characters_ += token;
      tokens_[index] = std::string_view(characters_).substr(begin);
      used_[index] = true;
      table_[slot] = static_cast<TokenId>(id);
    }
  }
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  /// The id, or -1.
  TokenId find(std::string_view token) const { return table_.empty() ? -1 : table_[find_slot(token)]; }
  bool has(TokenId id) const { return id >= 0 && id < id_end() && used_[static_cast<std::size_t>(id)]; }
  /// Empty for an unused id.
  std::string_view token(TokenId id) const { return has(id) ? tokens_[static_cast<std::size_t>(id)] : std::string_view{}; }
  std::size_t count() const { return count_; }
  /// One above the largest id.
  TokenId id_end() const { return static_cast<TokenId>(tokens_.size()); }

 private:
  std::size_t find_slot(std::string_view token) const {
    const std::size_t mask = table_.size() - 1;
    std::size_t slot = std::hash<std::string_view>{}(token)&mask;
    while (table_[slot] >= 0 && tokens_[static_cast<std::size_t>(table_[slot])] != token) slot = (slot + 1) & mask;
    return slot;
  }

  std::size_t count_ = 0;
  std::string characters_;
  std::vector<std::string_view> tokens_;  // by id
  std::vector<bool> used_;
  std::vector<TokenId> table_;
};
}  // namespace vbon::text
