// vbon/eval/rmb_data.hpp
//
// Data that rewards are judged on, JSON Lines. A line is a pair {"prompt", "chosen", "rejected"} or a tuple
// {"prompt", "best", "losers": [...]}, either with an optional "category". A pair's "margin" is for training and counts
// nothing here. The published RMB has names of its own, {"conversation_input", "chosen", "reject"} and
// {"conversation_input", "bon_best", "loser_list"}, with the text of a response in its "answer" and the category in
// "category_path"; its lines are read as they stand (Zhou et al., arXiv 2410.09893).
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/data/rollout_batch.hpp"
#include "vbon/eval/rmb.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/reward/training_data.hpp"

namespace vbon::eval {
/// One line: a pair is a tuple with one loser.
struct JudgedLine {
  std::string prompt, best;
  std::vector<std::string> losers;
  std::string category;  // "" where the line has none
  bool pair = false;
};

namespace detail {
/// A line in the names of the published RMB.
/// @throws FormatError naming line and key
template <class = void>
JudgedLine rmb_line(const io::Json& row, const std::string& where, const reward::TurnsToText& turns_to_text) {
  const bool pair = row.contains("chosen") || row.contains("reject");
  pair ? reward::check_keys(row, where, {"conversation_input", "chosen", "reject"}, {"pair_uid", "category_path"})
       : reward::check_keys(row, where, {"conversation_input", "bon_best", "loser_list"}, {"bon_uid", "category_path"});
  const auto answer = [](const io::Json& response, const std::string& here) {
    require<FormatError>(response.is_object(), here, ": an object with an \"answer\" expected");
    return io::json_get<std::string>(response, "answer", here);
  };
  JudgedLine line{.prompt = reward::text_at(row, "conversation_input", where, turns_to_text),
                  .best = answer(row.at(pair ? "chosen" : "bon_best"), where + (pair ? ": chosen" : ": bon_best")),
                  .losers = {},
                  .category = io::json_get_or<std::string>(row, "category_path", "", where),
                  .pair = pair};
  if (pair) {
    line.losers.push_back(answer(row.at("reject"), where + ": reject"));
    return line;
  }
  const io::Json& losers = row.at("loser_list");
  require<FormatError>(losers.is_array() && !losers.empty(), where,
                       ": \"loser_list\" must be a list with at least one response");
  for (const io::Json& loser : losers)
    line.losers.push_back(answer(loser, message(where, ": loser_list: ", line.losers.size() + 1)));
  return line;
}
}  // namespace detail

/// @throws RunError (no such file), FormatError naming line and key, or when there is no line
template <class = void>
std::vector<JudgedLine> read_judged_lines(const std::filesystem::path& path,
                                          const reward::TurnsToText& turns_to_text = reward::plain_turns) {
  std::vector<JudgedLine> lines;
  io::read_jsonl(path, [&](const io::Json& row, std::size_t number) {
    const std::string where = message(path.string(), ": line ", number);
    require<FormatError>(row.is_object(), where, ": an object expected");
    if (row.contains("conversation_input")) {
      lines.push_back(detail::rmb_line(row, where, turns_to_text));
      return;
    }
    const bool pair = row.contains("chosen") || row.contains("rejected");
    pair ? reward::check_keys(row, where, {"prompt", "chosen", "rejected"}, {"category", "margin"})
         : reward::check_keys(row, where, {"prompt", "best", "losers"}, {"category"});
    const auto text = [&](const char* key) { return reward::text_at(row, key, where, turns_to_text); };
    JudgedLine line{.prompt = text("prompt"),
                    .best = text(pair ? "chosen" : "best"),
                    .losers = {},
                    .category = io::json_get_or<std::string>(row, "category", "", where),
                    .pair = pair};
    if (pair) {
      line.losers.push_back(text("rejected"));
    } else {
      const io::Json& losers = row.at("losers");
      require<FormatError>(losers.is_array() && !losers.empty(), where,
                           ": \"losers\" must be a list with at least one text");
      for (const io::Json& loser : losers) line.losers.push_back(io::json_as<std::string>(loser, where + ": losers"));
    }
    lines.push_back(std::move(line));
  });
  require<FormatError>(!lines.empty(), path.string(), ": no line with responses to judge");
  return lines;
}

/// Both accuracies of a reward on such data; a part without lines stays empty.
struct RewardAccuracy {
  Index pairs = 0, tuples = 0;
  PairwiseAccuracy pairwise;
  BestOfNAccuracy best_of_n;
  std::vector<std::string> category;  // name of each number in best_of_n.by_category
};

/// @param score  [n] rewards of the texts of judged_batch(), in its order
/// @throws ShapeError, DomainError nan_reward
template <class = void>
RewardAccuracy reward_accuracy(const std::vector<JudgedLine>& lines, const Array& score) {
  RewardAccuracy out;
  std::vector<double> chosen, rejected, best;
  std::vector<std::vector<double>> losers;
  std::vector<std::int64_t> category;
  std::map<std::string, std::int64_t> known;
  Index next = 0;
  const auto take = [&] {
    require<ShapeError>(next < score.size(), "reward_accuracy: more scores expected than ", score.size());
    return score[next++];
  };
  for (const JudgedLine& line : lines) {
    const double first = take();
    std::vector<double> rest;
    for (std::size_t i = 0; i < line.losers.size(); ++i) rest.push_back(take());
    if (line.pair) {
      chosen.push_back(first), rejected.push_back(rest[0]);
      continue;
    }
    const auto [place, fresh] = known.try_emplace(line.category, static_cast<std::int64_t>(known.size()));
    if (fresh) out.category.push_back(line.category);
    best.push_back(first), losers.push_back(std::move(rest)), category.push_back(place->second);
  }
  require<ShapeError>(next == score.size(), "reward_accuracy: ", next, " scores expected, got ", score.size());
  out.pairs = static_cast<Index>(chosen.size()), out.tuples = static_cast<Index>(best.size());
  if (out.pairs > 0) out.pairwise = pairwise_accuracy(chosen, rejected);
  if (out.tuples > 0) out.best_of_n = best_of_n_accuracy(best, losers, category);
  return out;
}

/// Every text of the lines with its prompt, best first, as a reward reads them.
template <class = void>
RolloutBatch judged_batch(const std::vector<JudgedLine>& lines) {
  RolloutBatch batch;
  for (const JudgedLine& line : lines) {
    batch.add_text(line.prompt, line.best);
    for (const std::string& loser : line.losers) batch.add_text(line.prompt, loser);
  }
  return batch;
}
}  // namespace vbon::eval
