// vbon score: rewards of texts.
#include <cmath>

#include "models.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/rollout/cache_file.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::program {
namespace {
struct ScoreOptions {
  Common common;
  std::string reward, input;
  std::vector<std::string> texts;
};

int score(const ScoreOptions& o) {
  begin(o.common);
  require<ConfigError>(!o.reward.empty(), "--reward is missing; ", reward_help);
  require<ConfigError>(!o.texts.empty() || !o.input.empty(), "what shall be scored? give --text TEXT or --input FILE");
  for (const auto& text : o.texts) require_utf8("--text", text);
  remark_bf16(o.common, false);
  const reward::Any reward = open_reward(o.reward, o.common);
  RolloutBatch batch;
  for (const auto& text : o.texts) batch.add_text("", text);
  if (!o.input.empty())
    io::read_jsonl(o.input, [&](const io::Json& row, std::size_t line) {
      const std::string where = message(o.input, " line ", line);
      const auto prompt = io::json_get_or<std::string>(row, "prompt", "", where);
      if (const auto* responses = io::json_find(row, "responses")) {
        require<FormatError>(responses->is_array(), where, ": \"responses\" must be a list");
        for (const auto& response : *responses)
          batch.add_text(prompt, io::json_as<std::string>(response, where + ": responses"));
        return;
      }
      const bool has_text = io::json_find(row, "text") != nullptr;
      require<FormatError>(has_text || io::json_find(row, "response") != nullptr, where,
                           ": \"text\", \"response\" or \"responses\" expected");
      require<FormatError>(!has_text || io::json_find(row, "response") == nullptr, where,
                           ": \"text\" and \"response\": give one of them, got both");
      batch.add_text(prompt, io::json_get<std::string>(row, has_text ? "text" : "response", where));
    });
  require<FormatError>(batch.responses() > 0, o.input, ": no text in the file");
  rollout::score(reward, batch);
  for (Index i = 0; i < batch.responses(); ++i) {
    const auto& prompt = batch.prompt[static_cast<std::size_t>(i)].text;
    nlohmann::ordered_json row;
    if (!prompt.empty()) row["prompt"] = prompt;
    row["text"] = batch.text[static_cast<std::size_t>(i)];
    row["reward"] = io::json_of(batch.reward[i]);
    print_line(io::to_json_line(row));
  }
  const double mean = batch.reward.mean();  // NaN for both infinities
  remark(o.common,
         message(batch.responses(), " texts, ", std::isnan(mean) ? "no mean reward" : message("mean reward ", mean),
                 ", from ", batch.reward.minCoeff(), " to ", batch.reward.maxCoeff()));
  return 0;
}
}  // namespace

void add_score(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("score", "Rewards of texts, as JSON lines");
  auto o = std::make_shared<ScoreOptions>();
  c->footer("Example: vbon score --reward encoder_head:vbon-run/reward --text 'A warm and funny film.'");
  c->add_option("--reward", o->reward, reward_help);
  c->add_option("--text", o->texts, "a text; may be given again")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--input", o->input, "JSON lines with \"text\" or \"response\" (and \"prompt\"), or \"responses\"");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return score(*o); }; });
}
}  // namespace vbon::program
