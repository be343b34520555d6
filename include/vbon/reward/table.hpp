// vbon/reward/table.hpp
//
// Rewards that were written down before: a look-up by prompt and response, from JSON Lines of
// {"prompt", "response" (or "text"), "reward"}.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "vbon/io/jsonl.hpp"
#include "vbon/reward/concept.hpp"
#include "vbon/reward/text_input.hpp"

namespace vbon::reward {
class Table {
 public:
  static constexpr std::string_view name = "table";
  static constexpr std::string_view argument = "FILE with JSON lines of prompt, response and reward";

  Table() = default;
  /// @throws RunError when the file cannot be read, FormatError naming the line: a missing key, a pair that
  ///         stands twice with different rewards
  template <class = void>
  static Table load(const std::filesystem::path& path) {
    Table table;
    io::read_jsonl(path, [&](const io::Json& row, std::size_t line) {
      const std::string where = message(path.string(), ": line ", line);
      const bool text = io::json_find(row, "response") == nullptr && io::json_find(row, "text") != nullptr;
      auto key = std::pair(io::json_get<std::string>(row, "prompt", where),
                           io::json_get<std::string>(row, text ? "text" : "response", where));
      const io::Json* stored = io::json_find(row, "reward");
      require<FormatError>(stored != nullptr, where, ": the field \"reward\" is missing");
      const auto number = io::number_of(*stored);
      require<FormatError>(number.has_value(), where, ": field \"reward\": a number, \"inf\" or \"-inf\" expected, got ",
                           stored->dump(-1, ' ', true));
      const double value = *number;
      const auto [found, is_new] = table.reward_.emplace(std::move(key), value);
      require<FormatError>(is_new || found->second == value, where, ": this prompt and response have the reward ",
                           found->second, " already, now ", value);
    });
    return table;
  }
  template <class = void>
  static Table open(const std::string& path) {
    return load(path);
  }

  template <class = void>
  void set(std::string prompt, std::string response, double reward) {
    reward_.insert_or_assign({std::move(prompt), std::move(response)}, reward);
  }
  Index size() const { return static_cast<Index>(reward_.size()); }

  /// @throws DomainError (unknown_response) naming prompt and sample, ShapeError for a batch without text
  template <class = void>
  Array operator()(const RolloutBatch& batch) const {
    require_text(batch, name);
    Array rewards(batch.responses());
    for_each_response(batch, [&](Index i, const Prompt& prompt, const std::string& text) {
      const auto found = reward_.find({prompt.text, text});
      if (found == reward_.end())
        throw DomainError(message("reward table: no reward for ", place_of(batch, i), ": '", text.substr(0, 80), "'"),
                          {"unknown_response"});
      rewards[i] = found->second;
    });
    return checked(std::move(rewards), batch, name);
  }

 private:
  std::map<std::pair<std::string, std::string>, double> reward_;
};
}  // namespace vbon::reward
