#include "vbon/reward/training_text.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_encoder.hpp"

using namespace vbon;
using namespace vbon::reward;
using text::ChatMessage;

namespace {
text::Tokenizer llama() { return text::Tokenizer::from_json(VBON_TEST_DATA "/tiny_llama/tokenizer.json"); }
/// The tokenizer of tiny_llama with another chat template.
text::Tokenizer with_template(const std::string& chat) {
  const test::TemporaryFolder folder;
  llama().save(folder.path());
  auto config = io::read_json(folder / "tokenizer_config.json");
  chat.empty() ? void(config.erase("chat_template")) : void(config["chat_template"] = chat);
  io::write_file_atomically(folder / "tokenizer_config.json", config.dump());
  return text::Tokenizer::from_json(folder / "tokenizer.json");
}
const std::string closing =
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '.' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
const std::vector<ChatMessage> question = {{"user", "good"}};
const std::vector<ChatMessage> answer = {{"assistant", "bad"}};
const std::vector<ChatMessage> both = {{"user", "good"}, {"assistant", "bad"}};
}  // namespace

TEST_CASE("a conversation is its prompt by the chat template with the answer right behind", "[reward][training_text]") {
  TrainingText text(with_template(closing), false, false);
  CHECK(text.turns(question) == "<|user|>good.<|assistant|>");
  CHECK(text.turns(answer) == "bad");
  CHECK(text.turns(both) == "<|user|>good.<|assistant|>bad");
  CHECK(text.response("fine") == "fine");
}

TEST_CASE("with ends a conversation is what the template writes, a text ends with the end token",
          "[reward][training_text]") {
  const auto tokenizer = with_template(closing);
  TrainingText text(tokenizer, false, true);
  const std::string whole = text::chat_text(tokenizer, both, false);
  CHECK(text.response(text.turns(both)) == whole);
  CHECK(text.turns(question) + text.response(text.turns(answer)) == whole);
  CHECK(text.response("fine") == "fine<|endoftext|>");
  CHECK(text.response("fine<|endoftext|>") == "fine<|endoftext|>");
}

TEST_CASE("without a chat template turns are plain where that is allowed", "[reward][training_text][error]") {
  TrainingText strict(with_template(""), false, false);
  CHECK_THROWS_AS(strict.turns(both), ConfigError);
  TrainingText plain(with_template(""), true, false);
  CHECK(plain.turns(both) == "good\nbad\n");
  const test::TemporaryFolder folder;
  test::save_tiny_tokenizer(folder.path());
  const auto no_end = text::Tokenizer::from_json(folder / "tokenizer.json");
  CHECK_THROWS_AS(TrainingText(no_end, true, true), ConfigError);
  // An answer that the template changes has no end that could be put behind another one.
  TrainingText odd(with_template("{% for message in messages %}{{ '[' + message['content'] + ']' }}{% endfor %}"), false,
                   true);
  CHECK_THROWS_AS(odd.turns(both), ConfigError);
}
