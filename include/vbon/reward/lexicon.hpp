// vbon/reward/lexicon.hpp
//
// Sentiment by counting: every word of a response that stands in a list adds its score. The list is a text
// file of lines word<TAB>score; further columns are passed over, so published lexica can be used as they are.
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>

#include "vbon/io/mapped_file.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
struct LexiconOptions {
  bool case_sensitive = false;  // otherwise A to Z count as a to z, in the list and in the text
  bool average = false;         // divide by the number of words of the response
  bool reject_repeated =
      false;  // a word that stands twice is an error; otherwise its last line counts, as VADER reads its list
};

class Lexicon {
 public:
  static constexpr std::string_view name = "lexicon";
  static constexpr std::string_view argument = "FILE with lines word<TAB>score";

  Lexicon() = default;

  /// Reads a list. Empty lines and lines that begin with "# " are passed over.
  /// @throws RunError when the file cannot be read, FormatError naming the line
  template <class = void>
  static Lexicon load(const std::filesystem::path& path, LexiconOptions options = {}) {
    const io::MappedFile file(path);
    Lexicon lexicon = parse(file.text(), path.string(), options);
    require<FormatError>(!lexicon.score_.empty(), path.string(), ": no line word<TAB>score in it");
    return lexicon;
  }
  template <class = void>
  static Lexicon open(const std::string& path) {
    return load(path);
  }

  /// The same from memory; `source` names it in messages.
  template <class = void>
  static Lexicon parse(std::string_view text, std::string_view source, LexiconOptions options = {}) {
    Lexicon lexicon;
    lexicon.options_ = options;
    std::unordered_map<std::string, Index> line_of;
    for (Index number = 1; !text.empty(); ++number) {
      const std::size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == text.npos ? text.size() : end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty() || line.starts_with("# ")) continue;
      const std::size_t tab = line.find('\t');
      require<FormatError>(tab != line.npos && tab > 0, source, ": line ", number, ": word<TAB>score expected, got '",
                           io::excerpt(line), "'");
      const std::string_view word = line.substr(0, tab);
      std::string_view column = line.substr(tab + 1);
      column = column.substr(0, column.find('\t'));
      double score = 0;
      const auto [rest, error] = std::from_chars(column.data(), column.data() + column.size(), score);
      require<FormatError>(error == std::errc{} && rest == column.data() + column.size() && std::isfinite(score), source,
                           ": line ", number, ": a finite score expected for '", io::excerpt(word), "', got '",
                           io::excerpt(column), "'");
      const auto [earlier, is_new] = line_of.emplace(lexicon.folded(word), number);
      require<FormatError>(is_new || !options.reject_repeated, source, ": line ", number, ": the word '", word,
                           "' stands in line ", earlier->second, " already");
      lexicon.score_.insert_or_assign(earlier->first, score);
    }
    return lexicon;
  }

  Index words() const { return static_cast<Index>(score_.size()); }

  /// The score of one text.
  template <class = void>
  double score(std::string_view text) const {
    double sum = 0;
    Index count = 0;
    for (std::size_t begin = text.find_first_not_of(space); begin != text.npos;
         begin = text.find_first_not_of(space, begin)) {
      const std::size_t end = std::min(text.find_first_of(space, begin), text.size());
      sum += chunk_score(text.substr(begin, end - begin));
      ++count;
      begin = end;
    }
    return options_.average && count > 0 ? sum / static_cast<double>(count) : sum;
  }

  /// @throws ShapeError when the batch has no text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    require_text(batch, name);
    Array rewards(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i) rewards[i] = score(batch.text[static_cast<std::size_t>(i)]);
    return rewards;
  }

 private:
  static constexpr std::string_view space = " \t\n\v\f\r";

  static bool in_word(char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u == '\'' || u >= 0x80;
  }

  /// What stands between white space: the whole of it (":)"), or without the marks around it ("well-made,"),
  /// or else its words one by one ("good,bad").
  template <class = void>
  double chunk_score(std::string_view chunk) const {
    if (const double* whole = find(chunk)) return *whole;
    std::size_t begin = 0, end = chunk.size();
    while (begin < end && !in_word(chunk[begin])) ++begin;
    while (end > begin && !in_word(chunk[end - 1])) --end;
    chunk = chunk.substr(begin, end - begin);
    if (const double* inner = find(chunk)) return *inner;
    double sum = 0;
    for (std::size_t i = 0; i < chunk.size();) {
      std::size_t stop = i;
      while (stop < chunk.size() && in_word(chunk[stop])) ++stop;
      if (const double* word = find(chunk.substr(i, stop - i))) sum += *word;
      i = std::max(stop, i + 1);
    }
    return sum;
  }
  template <class = void>
  const double* find(std::string_view word) const {
    if (word.empty()) return nullptr;
    const auto found = score_.find(folded(word));
    return found == score_.end() ? nullptr : &found->second;
  }
  std::string folded(std::string_view word) const {
    std::string out(word);
    if (!options_.case_sensitive)
      for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
  }

  LexiconOptions options_;
  std::unordered_map<std::string, double> score_;
};
}  // namespace vbon::reward
