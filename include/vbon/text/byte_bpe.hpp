// vbon/text/byte_bpe.hpp
//
// Byte-pair encoding: a word starts as its characters (or bytes), and the pair with the lowest rank is
// merged, leftmost first, until no known pair is left. In the byte-level variant of GPT-2 every byte is
// spelled as one printable character, so that any text can be encoded.
// Source: "Neural Machine Translation of Rare Words with Subword Units", arXiv 1508.07909; byte level:
// "Language Models are Unsupervised Multitask Learners" (GPT-2).
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/text/unicode.hpp"
#include "vbon/text/vocabulary.hpp"

namespace vbon::text {
/// GPT-2's spelling of bytes: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up.
struct ByteAlphabet {
  std::array<std::string, 256> spelling;  // UTF-8
  std::array<int, 512> byte;              // by code point; -1 where none

  template <class = void>
  ByteAlphabet() {
    byte.fill(-1);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const char32_t c = printable ? b : next++;
      io::append_utf8(spelling[b], c);
      byte[c] = static_cast<int>(b);
    }
  }
  template <class = void>
  std::string spell(std::string_view bytes) const {
    std::string out;
    out.reserve(2 * bytes.size());
    for (const char b : bytes) out += spelling[static_cast<unsigned char>(b)];
    return out;
  }
  /// Appends the bytes that a token spells, or the token itself when some character spells no byte.
  template <class = void>
  void unspell(std::string_view token, std::string& out) const {
    const std::size_t before = out.size();
    bool all = true;
    for_each_character(token, [&](char32_t c, std::string_view) {
      if (c < byte.size() && byte[c] >= 0)
        out += static_cast<char>(byte[c]);
      else
        all = false;
    });
    if (!all) out.replace(before, out.npos, token);
  }
};
inline const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

/// Pair of symbols to rank and merged symbol: a flat hash table.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = std::numeric_limits<std::uint32_t>::max();
    TokenId merged = -1;
  };
  explicit MergeTable(std::size_t count = 0) : slots_(std::bit_ceil(2 * count + 2)) {}

  void insert(TokenId left, TokenId right, Merge merge) { slots_[find_slot(key(left, right))] = {key(left, right), merge}; }
  /// The merge of a pair; its `merged` is -1 where there is none.
  Merge find(TokenId left, TokenId right) const { return slots_[find_slot(key(left, right))].merge; }

 private:
  struct Slot {
    std::uint64_t key = empty;
    Merge merge;
  };
  static constexpr std::uint64_t empty = ~std::uint64_t{0};
  static std::uint64_t key(TokenId left, TokenId right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  std::size_t find_slot(std::uint64_t wanted) const {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t mixed = wanted * 0x9E3779B97F4A7C15u;
    mixed ^= mixed >> 32;
    auto slot = static_cast<std::size_t>(mixed) & mask;
    while (slots_[slot].key != wanted && slots_[slot].key != empty) slot = (slot + 1) & mask;
    return slot;
  }
  std::vector<Slot> slots_;
};

struct BpeOptions {
  std::string unk_token = {};                  // empty: characters without a token are dropped
  std::string continuing_subword_prefix = {};  // put before every character of a word but the first
  std::string end_of_word_suffix = {};         // put behind the last character
  bool fuse_unk = false;                       // neighbouring unknown characters give one token
  bool byte_fallback = false;                  // unknown characters become tokens <0xNN> where the vocabulary has them
  bool ignore_merges = false;                  // a word that is a token stays whole, whatever the merges say
};

class Bpe {
 public:
  using MergePair = std::pair<std::string_view, std::string_view>;

  /// @throws FormatError when a merge names a token that the vocabulary lacks, or makes one
  template <class = void>
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, const std::vector<MergePair>& merges, BpeOptions options,
      std::string_view where)
      : vocabulary_(std::move(vocabulary)), options_(std::move(options)), table_(merges.size()) {
    const std::size_t prefix = options_.continuing_subword_prefix.size();
    std::string merged;
    order_.reserve(merges.size());
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      require<FormatError>(right.size() >= prefix, where, ": merge ", rank, ": \"", right, "\" lacks the subword prefix");
      merged.assign(left).append(right.substr(prefix));
      const TokenId ids[3] = {vocabulary_->find(left), vocabulary_->find(right), vocabulary_->find(merged)};
      const std::string_view names[3] = {left, right, merged};
      for (int i = 0; i < 3; ++i)
        require<FormatError>(ids[i] >= 0, where, ": merge ", rank, " (\"", left, "\" + \"", right, "\"): the token \"",
                             names[i], "\" is not in the vocabulary");
      table_.insert(ids[0], ids[1], {static_cast<std::uint32_t>(rank), ids[2]});
      order_.emplace_back(ids[0], ids[1]);
    }
    for (std::size_t b = 0; b < 256; ++b) {
      byte_id_[b] = vocabulary_->find(byte_alphabet().spelling[b]);
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02zX>", b);
      fallback_id_[b] = vocabulary_->find(name);
    }
    if (!options_.unk_token.empty()) {
      unk_ = vocabulary_->find(options_.unk_token);
      require<FormatError>(unk_ >= 0, where, ": the unk_token \"", options_.unk_token, "\" is not in the vocabulary");
    }
  }

  const BpeOptions& options() const { return options_; }
  const std::vector<std::pair<TokenId, TokenId>>& merges() const { return order_; }

  /// Holds the memory of finished words while one thread encodes; a second thread works without it.
  class Session {
   public:
    explicit Session(const Bpe& bpe) : bpe_(bpe), lock_(bpe.cache_->mutex, std::try_to_lock) {}
    /// Appends the tokens of one word. `bytes`: the word is raw bytes to be spelled by the byte alphabet.
    template <class = void>
    void encode(std::string_view word, bool bytes, std::vector<TokenId>& out) {
      if (!lock_.owns_lock() || word.size() > Cache::max_word) return bpe_.encode_word(word, bytes, symbols_, out);
      Cache& cache = *bpe_.cache_;
      if (const auto found = cache.words.find(word); found != cache.words.end()) {
        const auto ids = std::span(cache.ids).subspan(found->second.first, found->second.second);
        out.insert(out.end(), ids.begin(), ids.end());
        return;
      }
      const std::size_t before = out.size();
      bpe_.encode_word(word, bytes, symbols_, out);
      if (cache.words.size() >= Cache::max_words) return;
      cache.words.emplace(word, std::pair(cache.ids.size(), out.size() - before));
      cache.ids.insert(cache.ids.end(), out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    }

   private:
    const Bpe& bpe_;
    std::unique_lock<std::mutex> lock_;
    std::vector<TokenId> symbols_;
  };

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct Cache {
    static constexpr std::size_t max_word = 64, max_words = 1 << 15;
    std::mutex mutex;
    std::unordered_map<std::string, std::pair<std::size_t, std::size_t>, TextHash, std::equal_to<>>
        words;  // begin and count in ids
    std::vector<TokenId> ids;
  };

  template <class = void>
  void encode_word(std::string_view word, bool bytes, std::vector<TokenId>& symbols, std::vector<TokenId>& out) const {
    if (options_.ignore_merges)
      if (const TokenId whole = vocabulary_->find(bytes ? byte_alphabet().spell(word) : std::string(word)); whole >= 0)
        return out.push_back(whole);
    symbols.clear();
    if (bytes) {
      for (const char b : word)
        put_symbol(byte_id_[static_cast<unsigned char>(b)], byte_alphabet().spelling[static_cast<unsigned char>(b)],
                   symbols);
    } else {
      std::string spelled;
      for (std::size_t at = 0; at < word.size();) {
        const std::size_t length = io::decode_utf8(word, at).length;
        spelled.assign(at == 0 ? "" : options_.continuing_subword_prefix).append(word.substr(at, length));
        if (at + length == word.size()) spelled += options_.end_of_word_suffix;
        put_symbol(vocabulary_->find(spelled), word.substr(at, length), symbols);
        at += length;
      }
    }
    symbols.size() <= few ? merge_few(symbols) : merge_many(symbols);
    out.insert(out.end(), symbols.begin(), symbols.end());
  }

  template <class = void>
  void put_symbol(TokenId id, std::string_view character, std::vector<TokenId>& symbols) const {
    if (id >= 0) return symbols.push_back(id);
    if (options_.byte_fallback) {
      bool all = true;
      for (const char b : character) all = all && fallback_id_[static_cast<unsigned char>(b)] >= 0;
      if (all) {
        for (const char b : character) symbols.push_back(fallback_id_[static_cast<unsigned char>(b)]);
        return;
      }
    }
    if (unk_ >= 0 && !(options_.fuse_unk && !symbols.empty() && symbols.back() == unk_)) symbols.push_back(unk_);
  }

  /// Short words: look for the best pair again after every merge.
  template <class = void>
  void merge_few(std::vector<TokenId>& symbols) const {
    MergeTable::Merge pair[few];
    std::size_t count = symbols.size();
    for (std::size_t i = 0; i + 1 < count; ++i) pair[i] = table_.find(symbols[i], symbols[i + 1]);
    while (count > 1) {
      std::size_t best = 0;
      for (std::size_t i = 1; i + 1 < count; ++i)
        if (pair[i].rank < pair[best].rank) best = i;
      if (pair[best].merged < 0) break;
      symbols[best] = pair[best].merged;
      for (std::size_t i = best + 1; i + 1 < count; ++i)
        symbols[i] = symbols[i + 1], pair[i] = i + 2 < count ? pair[i + 1] : MergeTable::Merge{};
      --count;
      if (best + 1 < count) pair[best] = table_.find(symbols[best], symbols[best + 1]);
      if (best > 0) pair[best - 1] = table_.find(symbols[best - 1], symbols[best]);
    }
    symbols.resize(count);
  }

  /// Long words: a queue of pairs over a linked list, n log n.
  template <class = void>
  void merge_many(std::vector<TokenId>& symbols) const {
    struct Candidate {
      std::uint32_t rank;
      std::uint32_t at;
      TokenId merged;
      bool operator>(const Candidate& other) const { return std::pair(rank, at) > std::pair(other.rank, other.at); }
    };
    constexpr auto none = std::numeric_limits<std::uint32_t>::max();
    const auto count = static_cast<std::uint32_t>(symbols.size());
    std::vector<std::uint32_t> next(count), previous(count);
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto push = [&](std::uint32_t at) {
      if (at == none || next[at] == none) return;
      const auto merge = table_.find(symbols[at], symbols[next[at]]);
      if (merge.merged >= 0) queue.push({merge.rank, at, merge.merged});
    };
    for (std::uint32_t i = 0; i < count; ++i) next[i] = i + 1 < count ? i + 1 : none, previous[i] = i > 0 ? i - 1 : none;
    for (std::uint32_t i = 0; i < count; ++i) push(i);
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      // Older entries may speak of symbols that have been merged since.
      if (symbols[top.at] < 0 || next[top.at] == none) continue;
      const std::uint32_t right = next[top.at];
      if (const auto merge = table_.find(symbols[top.at], symbols[right]);
          merge.merged != top.merged || merge.rank != top.rank)
        continue;
      symbols[top.at] = top.merged;
      symbols[right] = -1;
      next[top.at] = next[right];
      if (next[right] != none) previous[next[right]] = top.at;
      push(top.at);
      push(previous[top.at]);
    }
    std::erase(symbols, -1);
  }

  static constexpr std::size_t few = 48;

  std::shared_ptr<const Vocabulary> vocabulary_;
  BpeOptions options_;
  MergeTable table_;
  std::vector<std::pair<TokenId, TokenId>> order_;  // the merges by rank
  std::array<TokenId, 256> byte_id_{}, fallback_id_{};
  TokenId unk_ = -1;
  std::unique_ptr<Cache> cache_ = std::make_unique<Cache>();
};
}  // namespace vbon::text
