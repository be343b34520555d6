// vbon/rollout/snippets.hpp
//
// Movie-review snippets with a human sentiment score each: the data of the main job. The file has lines
// id TAB mean sentiment (-4 to 4) TAB text. Texts fall into three disjoint parts by a hash of their letters
// and digits, so copies that differ in case or punctuation share a part and a part never changes.
// Source of the format: Hutto and Gilbert, "VADER", ICWSM 2014 (movieReviewSnippets_GroundTruth.txt).
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/hash.hpp"
#include "vbon/data/prompt.hpp"
#include "vbon/io/mapped_file.hpp"
#include "vbon/io/utf8.hpp"

namespace vbon::rollout {
struct Snippet {
  std::uint64_t id = 0;
  double score = 0;  // mean sentiment of the raters
  std::string text;
};

/// @throws RunError when the file cannot be read, FormatError naming the line
template <class = void>
std::vector<Snippet> load_snippets(const std::filesystem::path& path) {
  const io::MappedFile file(path);
  std::vector<Snippet> snippets;
  std::string_view text = file.text();
  const auto number = [](std::string_view field, auto& value) {
    const auto [rest, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    return error == std::errc{} && rest == field.data() + field.size();
  };
  for (Index line_number = 1; !text.empty(); ++line_number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t first = line.find('\t'), second = first == line.npos ? line.npos : line.find('\t', first + 1);
    Snippet snippet;
    require<FormatError>(
        second != line.npos && number(line.substr(0, first), snippet.id) &&
            number(line.substr(first + 1, second - first - 1), snippet.score) && std::isfinite(snippet.score),
        path.string(), ": line ", line_number, ": id TAB score TAB text expected, got '", io::excerpt(line), "'");
    snippet.text = line.substr(second + 1);
    snippets.push_back(std::move(snippet));
  }
  require<FormatError>(!snippets.empty(), path.string(), ": no snippet in it");
  return snippets;
}

namespace detail {
inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
/// Letters and digits alone, ASCII ones in lower case: what two copies of a text have in common.
template <class = void>
std::string letters_of(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z')
      out += static_cast<char>(c - 'A' + 'a');
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80)
      out += c;
  }
  return out;
}
inline constexpr std::uint64_t split_seed = 1, prompt_seed = 2, order_seed = 3;
}  // namespace detail

struct SplitShares {
  double reward_train = 0.6;
  double policy_train = 0.2;  // the rest is held out
};
struct SnippetSplit {
  std::vector<Snippet> reward_train, policy_train, held_out;
};

/// Sorts snippets into the three parts; each keeps the order of the file.
/// @throws DomainError when the shares are no shares
template <class = void>
SnippetSplit split_snippets(std::span<const Snippet> snippets, SplitShares shares = {}) {
  require<DomainError>(
      shares.reward_train >= 0 && shares.policy_train >= 0 && shares.reward_train + shares.policy_train <= 1,
      "split_snippets: shares >= 0 with a sum <= 1 expected, got ", shares.reward_train, ", ", shares.policy_train);
  SnippetSplit split;
  for (const Snippet& snippet : snippets) {
    const std::uint64_t hash = stable_hash(detail::letters_of(snippet.text), detail::split_seed);
    const double place = static_cast<double>(hash >> 11) * 0x1.0p-53;  // uniform in [0, 1)
    auto& part = place < shares.reward_train                         ? split.reward_train
                 : place < shares.reward_train + shares.policy_train ? split.policy_train
                                                                     : split.held_out;
    part.push_back(snippet);
  }
  return split;
}

/// The first 4, 5 or 6 words of a text (a hash of the text says how many), without the space behind them;
/// empty when fewer than two words would be left to write.
template <class = void>
std::string snippet_prompt(std::string_view text) {
  const std::uint64_t words = 4 + stable_hash(detail::letters_of(text), detail::prompt_seed) % 3;
  std::uint64_t seen = 0;
  std::size_t end = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (detail::is_space(text[i]) || (i > 0 && !detail::is_space(text[i - 1]))) continue;
    if (++seen == words + 2) {
      const std::size_t begin = text.find_first_not_of(" \t");
      return std::string(text.substr(begin, end - begin));
    }
    if (seen <= words) end = std::min(text.find_first_of(" \t\n\v\f\r", i), text.size());
  }
  return {};
}

/// Prompts from snippets, each once, in an order that a hash fixes, so that a smaller count gives the first
/// ones of a larger. An id is that of the snippet.
/// @param count    at most this many prompts
/// @param exclude  prompts of another part, not to be used here
template <class = void>
std::vector<Prompt> snippet_prompts(std::span<const Snippet> snippets, Index count = std::numeric_limits<Index>::max(),
                                    std::span<const Prompt> exclude = {}) {
  std::set<std::string> used;
  for (const Prompt& prompt : exclude) used.insert(detail::letters_of(prompt.text));
  std::vector<std::pair<std::uint64_t, const Snippet*>> order;
  for (const Snippet& snippet : snippets)
    order.emplace_back(stable_hash(detail::letters_of(snippet.text), detail::order_seed), &snippet);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->id) < std::pair(b.first, b.second->id);
  });
  std::vector<Prompt> prompts;
  for (const auto& [hash, snippet] : order) {
    if (static_cast<Index>(prompts.size()) >= count) break;
    std::string text = snippet_prompt(snippet->text);
    if (text.empty() || !used.insert(detail::letters_of(text)).second) continue;
    prompts.push_back({.id = snippet->id, .text = std::move(text), .tokens = {}});
  }
  return prompts;
}
}  // namespace vbon::rollout
