// vbon/text/pre_tokenizer.hpp
//
// The second step of a tokenizer: text to words, each of which the model encodes by itself. Built from the
// "pre_tokenizer" part of a tokenizer.json; a kind that is not known is refused.
// Source: the components of Hugging Face tokenizers.
#pragma once
#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/normalizer.hpp"
#include "vbon/text/regex.hpp"

namespace vbon::text {
/// A text and the words in it.
struct Words {
  struct Range {
    std::size_t begin, end;
  };
  std::string text;
  std::vector<Range> ranges;
  bool at_start = true;  // the text begins where the whole input begins
};

/// What happens to the pieces that a pattern matches.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

namespace detail {
/// GPT-2's division of text into words.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Piece {
  std::size_t begin, end;
  bool match;
};
/// Joins or drops neighbouring pieces as the behavior says.
template <class = void>
void apply_behavior(std::vector<Piece>& pieces, SplitBehavior behavior) {
  std::vector<Piece> kept;
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      return;
    case SplitBehavior::removed:
      std::erase_if(pieces, [](const Piece& piece) { return piece.match; });
      return;
    case SplitBehavior::contiguous:
      for (const Piece& piece : pieces) {
        if (!kept.empty() && piece.match == previous)
          kept.back().end = piece.end;
        else
          kept.push_back(piece);
        previous = piece.match;
      }
      break;
    case SplitBehavior::merged_with_previous:
      for (const Piece& piece : pieces) {
        if (!kept.empty() && piece.match && !previous)
          kept.back().end = piece.end;
        else
          kept.push_back(piece);
        previous = piece.match;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
        if (!kept.empty() && piece->match && !previous)
          kept.back().begin = piece->begin;
        else
          kept.push_back(*piece);
        previous = piece->match;
      }
      std::reverse(kept.begin(), kept.end());
      break;
  }
  pieces = std::move(kept);
}
inline SplitBehavior behavior_named(std::string_view name, std::string_view where) {
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  throw FormatError(message(where, ": the behavior \"", name,
                            "\" is not known; known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous"));
}
}  // namespace detail

class PreTokenizer {
 public:
  PreTokenizer() = default;
  /// @param part          the "pre_tokenizer" of a tokenizer.json; null for none
  /// @param keep_bytes    leave a final byte-level spelling to the model, see gives_bytes()
  /// @throws FormatError for a kind that is not known or a pattern that does not compile
  template <class = void>
  PreTokenizer(const io::Json& part, bool keep_bytes, std::string_view where) {
    if (!part.is_null()) add(part, std::string(where) + ": pre_tokenizer");
    if (keep_bytes && !steps_.empty() && steps_.back().spells_bytes) steps_.pop_back(), gives_bytes_ = true;
  }
  /// True when words are raw bytes that the model has to spell in the byte alphabet.
  bool gives_bytes() const { return gives_bytes_; }

  /// One word (the whole text) in, many out.
  void operator()(Words& words) const {
    for (const Step& step : steps_) step.run(words);
  }

 private:
  using Find = std::function<void(std::string_view, std::vector<detail::Piece>&)>;
  struct Step {
    std::function<void(Words&)> run;
    bool spells_bytes = false;
  };

  /// Pieces of a text by a regular expression.
  static Find by_pattern(Regex pattern) {
    return [pattern = std::move(pattern)](std::string_view text, std::vector<detail::Piece>& pieces) {
      std::size_t covered = 0;
      pattern.for_each_match(text, [&](std::size_t begin, std::size_t end) {
        if (begin > covered) pieces.push_back({covered, begin, false});
        pieces.push_back({begin, end, true});
        covered = end;
      });
      if (covered < text.size()) pieces.push_back({covered, text.size(), false});
    };
  }
  /// Pieces of a text by characters: each that fits is a match of its own.
  template <class Fits>
  static Find by_character(Fits fits) {
    return [fits](std::string_view text, std::vector<detail::Piece>& pieces) {
      std::size_t at = 0;
      for_each_character(text, [&](char32_t c, std::string_view bytes) {
        const bool match = fits(c);
        if (!match && !pieces.empty() && !pieces.back().match)
          pieces.back().end = at + bytes.size();
        else
          pieces.push_back({at, at + bytes.size(), match});
        at += bytes.size();
      });
    };
  }
  template <class = void>
  void add_split(Find find, SplitBehavior behavior, bool invert = false) {
    steps_.push_back({[find = std::move(find), behavior, invert](Words& words) {
      std::vector<Words::Range> ranges;
      std::vector<detail::Piece> pieces;
      for (const auto& [begin, end] : words.ranges) {
        pieces.clear();
        find(std::string_view(words.text).substr(begin, end - begin), pieces);
        if (invert)
          for (auto& piece : pieces) piece.match = !piece.match;
        detail::apply_behavior(pieces, behavior);
        for (const auto& piece : pieces) ranges.push_back({begin + piece.begin, begin + piece.end});
      }
      words.ranges = std::move(ranges);
    }});
  }
  /// Replaces every word by edit(word, is_first).
  template <class Edit>
  void add_edit(Edit edit, bool spells_bytes = false) {
    steps_.push_back({[edit = std::move(edit)](Words& words) {
                        std::string text;
                        for (auto& range : words.ranges) {
                          const std::size_t begin = text.size();
                          text += edit(std::string_view(words.text).substr(range.begin, range.end - range.begin),
                                       words.at_start && range.begin == 0);
                          range = {begin, text.size()};
                        }
                        words.text = std::move(text);
                      },
                      spells_bytes});
  }

  template <class = void>
  void add(const io::Json& part, const std::string& where) {
    const std::string type = detail::component_type(part, where);
    const auto flag = [&](std::string_view key, bool otherwise) {
      return io::json_get_or<bool>(part, key, otherwise, where);
    };
    const auto behavior = [&] {
      return detail::behavior_named(io::json_get_or<std::string>(part, "behavior", "Isolated", where), where);
    };
    if (type == "Sequence") {
      for (const io::Json& inner : detail::component_list(part, "pretokenizers", where)) add(inner, where);
    } else if (type == "ByteLevel") {
      if (flag("add_prefix_space", true))
        add_edit([](std::string_view word, bool) { return (word.starts_with(' ') ? "" : " ") + std::string(word); });
      if (flag("use_regex", true)) add_split(by_pattern(Regex(detail::gpt2_pattern, where)), SplitBehavior::isolated);
      add_edit([](std::string_view word, bool) { return byte_alphabet().spell(word); }, true);
    } else if (type == "Split") {
      add_split(by_pattern(detail::pattern_of(part, where)), behavior(), flag("invert", false));
    } else if (type == "Digits") {
      add_split(by_character(is_numeric),
                flag("individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous);
    } else if (type == "Punctuation") {
      add_split(by_character(is_punctuation), behavior());
    } else if (type == "BertPreTokenizer") {
      add_split(by_character(is_space), SplitBehavior::removed);
      add_split(by_character(is_punctuation), SplitBehavior::isolated);
    } else if (type == "Whitespace") {
      add_whitespace();
    } else if (type == "WhitespaceSplit") {
      add_split(by_character(is_space), SplitBehavior::removed);
    } else if (type == "CharDelimiterSplit") {
      add_split(by_pattern(Regex(escape_pattern(io::json_get<std::string>(part, "delimiter", where)), where)),
                SplitBehavior::removed);
    } else if (type == "Metaspace") {
      add_metaspace(part, where);
    } else {
      throw FormatError(message(where, ": the kind \"", type,
                                "\" is not supported; known: ByteLevel, Split, Digits, Punctuation, BertPreTokenizer, "
                                "Whitespace, WhitespaceSplit, "
                                "CharDelimiterSplit, Metaspace, Sequence"));
    }
  }

  /// \w+|[^\w\s]+ : runs of word characters and runs of what is neither word nor space.
  template <class = void>
  void add_whitespace() {
    const Find find = [](std::string_view text, std::vector<detail::Piece>& pieces) {
      std::size_t at = 0;
      int previous = 0;
      for_each_character(text, [&](char32_t c, std::string_view bytes) {
        const int kind = is_word(c) ? 1 : is_space(c) ? 2 : 3;
        if (kind == previous)
          pieces.back().end = at + bytes.size();
        else
          pieces.push_back({at, at + bytes.size(), kind == 2});
        previous = kind;
        at += bytes.size();
      });
    };
    add_split(find, SplitBehavior::removed);
  }

  template <class = void>
  void add_metaspace(const io::Json& part, const std::string& where) {
    const auto mark = io::json_get_or<std::string>(part, "replacement", "\xE2\x96\x81", where);
    const bool old_flag = io::json_get_or<bool>(part, "add_prefix_space", true, where);
    const auto scheme = io::json_get_or<std::string>(part, "prepend_scheme", old_flag ? "always" : "never", where);
    require<FormatError>(scheme == "always" || scheme == "never" || scheme == "first", where, ": the prepend_scheme \"",
                         scheme, "\" is not known; known: always, never, first");
    add_edit([mark, scheme](std::string_view word, bool first) {
      std::string out;
      for (const char c : word) c == ' ' ? out += mark : out += c;
      if ((scheme == "always" || (scheme == "first" && first)) && !out.starts_with(mark)) out.insert(0, mark);
      return out;
    });
    if (io::json_get_or<bool>(part, "split", true, where))
      add_split(by_pattern(Regex(escape_pattern(mark), where)), SplitBehavior::merged_with_next);
  }

  std::vector<Step> steps_;
  bool gives_bytes_ = false;
};
}  // namespace vbon::text
