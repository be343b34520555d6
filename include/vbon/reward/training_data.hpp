// vbon/reward/training_data.hpp
//
// What reward models are trained on, from JSON Lines. Scored texts, {"text", "score"} or {"prompt",
// "response", "score"}; preferences, {"prompt", "chosen", "rejected"} with an optional "margin". Each text
// may be a string, or a conversation [{"role", "content"}, ...] as preference data sets often have it.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/text/chat_message.hpp"

namespace vbon::reward {
struct ScoredText {
  std::string prompt;  // empty where the line has one "text"
  std::string response;
  double score = 0;
  std::size_t line = 0;  // where it stands, for messages
};
struct PreferencePair {
  std::string prompt;
  std::string chosen, rejected;
  double margin = 0;     // by how much the chosen one should win [score]
  std::size_t line = 0;  // where it stands, for messages
};

/// How a conversation becomes text; a chat template, say.
using TurnsToText = std::function<std::string(std::span<const text::ChatMessage>)>;
/// What the turns say, one below the other: for rewards that know no chat format.
inline std::string plain_turns(std::span<const text::ChatMessage> turns) {
  std::string text;
  for (const text::ChatMessage& turn : turns) text += turn.content + '\n';
  return text;
}

struct TrainingDataOptions {
  TurnsToText turns_to_text = plain_turns;
  bool implicit_prompt = false;  // preferences may lack "prompt": chosen and rejected then hold it
  bool margin = true;            // preferences may have a "margin"
};

/// The keys of a line are the required ones and perhaps optional ones.
template <class = void>
void check_keys(const io::Json& row, const std::string& where, std::initializer_list<std::string_view> required,
                std::initializer_list<std::string_view> optional) {
  std::string known;
  for (const auto& list : {required, optional})
    for (const auto key : list) known += (known.empty() ? "" : ", ") + std::string(key);
  for (const auto key : required)
    require<FormatError>(row.contains(std::string(key)), where, ": the key \"", key, "\" is missing; known keys: ", known);
  const auto in = [](std::initializer_list<std::string_view> keys, std::string_view key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  };
  for (const auto& [key, value] : row.items())
    require<FormatError>(in(required, key) || in(optional, key), where, ": the key \"", key,
                         "\" is unknown; known keys: ", known);
}

/// A string, or a conversation made one.
template <class = void>
std::string text_at(const io::Json& row, const char* key, const std::string& where, const TurnsToText& turns_to_text) {
  const io::Json& value = row.at(key);
  if (!value.is_array()) return io::json_get<std::string>(row, key, where);
  std::vector<text::ChatMessage> turns;
  for (const io::Json& turn : value) {
    const std::string here = message(where, ": ", key, ": turn ", turns.size() + 1);
    turns.push_back({io::json_get<std::string>(turn, "role", here), io::json_get<std::string>(turn, "content", here)});
  }
  require<FormatError>(!turns.empty(), where, ": ", key, ": at least one turn expected");
  return turns_to_text(turns);
}
template <class = void>
double number_at(const io::Json& row, const char* key, const std::string& where) {
  const auto value = io::json_get<double>(row, key, where);
  require<FormatError>(std::isfinite(value), where, ": \"", key, "\": a finite number expected");
  return value;
}

/// @throws RunError when the file cannot be read, FormatError naming line and key, or when it has no line
template <class = void>
std::vector<ScoredText> read_scored_texts(const std::filesystem::path& path, const TrainingDataOptions& options = {}) {
  std::vector<ScoredText> rows;
  io::read_jsonl(path, [&](const io::Json& row, std::size_t line) {
    const std::string where = message(path.string(), ": line ", line);
    require<FormatError>(row.is_object(), where, ": an object expected");
    const bool whole = row.contains("text");
    whole ? check_keys(row, where, {"text", "score"}, {}) : check_keys(row, where, {"prompt", "response", "score"}, {});
    const auto text = [&](const char* key) { return text_at(row, key, where, options.turns_to_text); };
    rows.push_back({whole ? "" : text("prompt"), text(whole ? "text" : "response"), number_at(row, "score", where), line});
  });
  require<FormatError>(!rows.empty(), path.string(), ": no line with a text and its score");
  return rows;
}

/// @throws RunError when the file cannot be read, FormatError naming line and key, or when it has no line
template <class = void>
std::vector<PreferencePair> read_preferences(const std::filesystem::path& path, const TrainingDataOptions& options = {}) {
  std::vector<PreferencePair> rows;
  io::read_jsonl(path, [&](const io::Json& row, std::size_t line) {
    const std::string where = message(path.string(), ": line ", line);
    require<FormatError>(row.is_object(), where, ": an object expected");
    const bool implicit = options.implicit_prompt && !row.contains("prompt");
    require<FormatError>(options.margin || !row.contains("margin"), where,
                         ": \"margin\" is for reward models (vbon train-reward) and has no place here; remove it");
    implicit ? check_keys(row, where, {"chosen", "rejected"}, {"margin"})
             : check_keys(row, where, {"prompt", "chosen", "rejected"}, {"margin"});
    const auto text = [&](const char* key) { return text_at(row, key, where, options.turns_to_text); };
    rows.push_back({implicit ? "" : text("prompt"), text("chosen"), text("rejected"),
                    io::json_find(row, "margin") != nullptr ? number_at(row, "margin", where) : 0, line});
  });
  require<FormatError>(!rows.empty(), path.string(), ": no line with a preference");
  return rows;
}
}  // namespace vbon::reward
