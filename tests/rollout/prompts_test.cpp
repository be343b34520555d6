#include "vbon/rollout/prompts.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
std::filesystem::path file_with(const TemporaryFolder& folder, const std::string& text) {
  const auto path = folder / "prompts.jsonl";
  std::ofstream(path, std::ios::binary) << text;
  return path;
}
std::string render(std::span<const rollout::ChatMessage> messages) {
  std::string text;
  for (const auto& message : messages) text += "<" + message.role + ">" + message.content;
  return text + "<assistant>";
}
}  // namespace

TEST_CASE("a plain prompt stays as it is, messages go through the template", "[rollout]") {
  TemporaryFolder folder;
  const auto path =
      file_with(folder, "{\"prompt\":\"  A film about\"}\n\n{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}\n");
  std::vector<bool> templated;
  const auto prompts = rollout::load_prompts(path, {.chat = render, .tokenizer = [&](const std::string& text, bool chat) {
                                                      templated.push_back(chat);
                                                      return std::vector<TokenId>{static_cast<TokenId>(text.size())};
                                                    }});
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0].text == "  A film about");
  CHECK(prompts[1].text == "<user>Hi<assistant>");
  CHECK(prompts[1].id == 1);
  CHECK(prompts[0].tokens == std::vector<TokenId>{14});
  CHECK(templated == std::vector<bool>{false, true});
}

TEST_CASE("a wrong line is named with its key", "[rollout][error]") {
  TemporaryFolder folder;
  const auto [text, part] = GENERATE(table<std::string, std::string>({
      {"{\"prompt\":\"a\"}\n{\"promt\":\"b\"}\n", "line 2: neither \"prompt\" nor \"messages\""},
      {"{\"prompt\":7}\n", "line 1: \"prompt\" must be a text"},
      {"{\"prompt\":\"\"}\n", "line 1: the prompt is empty"},
      {"{\"prompt\":\"a\",\"messages\":[]}\n", "line 1: both"},
      {"{\"messages\":[]}\n", "line 1: \"messages\" must be a list"},
      {"{\"messages\":[{\"role\":\"user\"}]}\n", "line 1: message 1 needs a text under \"content\""},
      {"[1]\n", "line 1: an object"},
      {"{\"prompt\":\"a\"\n", "line 1"},
      {"\n", "no prompt in the file"},
  }));
  const auto path = file_with(folder, text);
  try {
    (void)rollout::load_prompts(path, {.chat = render});
    FAIL("an error was expected");
  } catch (const FormatError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(part) != std::string::npos);
    CHECK(std::string(error.what()).find(path.string()) != std::string::npos);
  }
}

TEST_CASE("messages without a template and a missing file are refused", "[rollout][error]") {
  TemporaryFolder folder;
  const auto path = file_with(folder, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}\n");
  CHECK_THROWS_AS(rollout::load_prompts(path), ConfigError);
  CHECK_THROWS_AS(rollout::load_prompts(folder / "absent.jsonl"), RunError);
}
}  // namespace vbon::test
