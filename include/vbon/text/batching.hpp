// vbon/text/batching.hpp
//
// Cutting encodings to a length and padding them to one, as the "truncation" and "padding" parts of a
// tokenizer.json say.
// Source: the components of Hugging Face tokenizers.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/post_processor.hpp"

namespace vbon::text {
enum class Side { left, right };

struct Truncation {
  enum class Strategy { longest_first, only_first, only_second };
  std::size_t max_length = 512;  // tokens, special ones included
  Strategy strategy = Strategy::longest_first;
  Side side = Side::right;  // where tokens are cut off
  std::size_t stride = 0;   // kept for saving; the parts cut off are not returned
};
struct Padding {
  std::size_t length = 0;  // 0: the longest of the batch
  Side side = Side::right;
  std::size_t multiple_of = 0;  // 0: any length
  TokenId pad_id = 0;
  int pad_type = 0;
  std::string pad_token = "[PAD]";
};

namespace detail {
template <class = void>
Side side_named(const io::Json& part, const std::string& where) {
  const auto name = io::json_get_or<std::string>(part, "direction", "Right", where);
  require<FormatError>(name == "Right" || name == "Left", where, ": the direction \"", name,
                       "\" is not known; known: Left, Right");
  return name == "Left" ? Side::left : Side::right;
}
template <class = void>
std::optional<Truncation> read_truncation(const io::Json* part, std::string where) {
  if (part == nullptr) return std::nullopt;
  where += ": truncation";
  Truncation out;
  out.max_length = io::json_get<std::size_t>(*part, "max_length", where);
  out.stride = io::json_get_or<std::size_t>(*part, "stride", 0, where);
  out.side = side_named(*part, where);
  const auto strategy = io::json_get_or<std::string>(*part, "strategy", "LongestFirst", where);
  if (strategy == "OnlyFirst")
    out.strategy = Truncation::Strategy::only_first;
  else if (strategy == "OnlySecond")
    out.strategy = Truncation::Strategy::only_second;
  else
    require<FormatError>(strategy == "LongestFirst", where, ": the strategy \"", strategy,
                         "\" is not known; known: LongestFirst, OnlyFirst, OnlySecond");
  return out;
}
template <class = void>
std::optional<Padding> read_padding(const io::Json* part, std::string where) {
  if (part == nullptr) return std::nullopt;
  where += ": padding";
  Padding out;
  const io::Json* strategy = io::json_find(*part, "strategy");
  if (strategy != nullptr && strategy->is_object())
    out.length = io::json_get<std::size_t>(*strategy, "Fixed", where);
  else
    require<FormatError>(strategy != nullptr && io::json_is(*strategy, "BatchLongest"), where,
                         ": the strategy must be BatchLongest or {\"Fixed\": length}");
  out.side = side_named(*part, where);
  out.multiple_of = io::json_get_or<std::size_t>(*part, "pad_to_multiple_of", 0, where);
  out.pad_id = io::json_get_or<TokenId>(*part, "pad_id", 0, where);
  out.pad_type = io::json_get_or<int>(*part, "pad_type_id", 0, where);
  out.pad_token = io::json_get_or<std::string>(*part, "pad_token", "[PAD]", where);
  return out;
}
template <class = void>
void cut(std::vector<TokenId>& ids, std::size_t length, Side side) {
  if (ids.size() <= length) return;
  if (side == Side::left)
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(length));
  else
    ids.resize(length);
}
}  // namespace detail

/// Cuts one or two sequences so that with `added` special tokens they fit.
/// @throws DomainError when the sequence that the strategy names is too short to be cut enough
template <class = void>
void truncate(std::vector<TokenId>& a, std::vector<TokenId>* b, std::size_t added, const Truncation& options) {
  const std::size_t room = options.max_length > added ? options.max_length - added : 0;
  const std::size_t total = a.size() + (b != nullptr ? b->size() : 0);
  if (total <= room) return;
  if (options.strategy == Truncation::Strategy::longest_first) {
    if (b == nullptr) return detail::cut(a, room, options.side);
    // The longer one gives way until both are equal, then both do.
    std::size_t shorter = std::min(a.size(), b->size());
    std::size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
    if (shorter + longer > room) shorter = room / 2, longer = shorter + room % 2;
    const bool swapped = a.size() > b->size();
    detail::cut(a, swapped ? longer : shorter, options.side);
    detail::cut(*b, swapped ? shorter : longer, options.side);
  } else {
    const bool first = options.strategy == Truncation::Strategy::only_first;
    require<DomainError>(first || b != nullptr, "text::truncate: only_second needs a second sequence");
    std::vector<TokenId>& target = first ? a : *b;
    require<DomainError>(target.size() > total - room, "text::truncate: ", total - room, " tokens must go, but the ",
                         first ? "first" : "second", " sequence has only ", target.size());
    detail::cut(target, target.size() - (total - room), options.side);
  }
}

/// Pads a batch to one length.
template <class = void>
void pad(std::vector<Encoding>& batch, const Padding& options) {
  std::size_t length = options.length;
  if (length == 0)
    for (const Encoding& encoding : batch) length = std::max(length, encoding.ids.size());
  if (options.multiple_of > 0) length = (length + options.multiple_of - 1) / options.multiple_of * options.multiple_of;
  for (Encoding& encoding : batch) {
    if (encoding.ids.size() >= length) continue;
    const std::size_t count = length - encoding.ids.size();
    const auto fill = [&]<class T>(std::vector<T>& values, T value) {
      values.insert(options.side == Side::left ? values.begin() : values.end(), count, value);
    };
    fill(encoding.ids, options.pad_id);
    fill(encoding.type_ids, options.pad_type);
    fill(encoding.special_mask, 1);
    fill(encoding.attention_mask, 0);
  }
}
}  // namespace vbon::text
