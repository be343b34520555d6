#include "vbon/text/answer_pattern.hpp"

#include "support/catch.hpp"
#include "vbon/core/error.hpp"
#include "vbon/data/answer.hpp"

using namespace vbon;

TEST_CASE("the answer is the last match, or the whole response where nothing matches", "[text]") {
  const AnswerOf number = text::answer_by_pattern(R"(-?\d+)", "--answer-pattern");
  CHECK(number("3 and 4 make 7.") == "7");
  CHECK(number("none") == "none");
  const AnswerOf marked = text::answer_by_pattern(R"((?i)answer is \K\w+)", "--answer-pattern");
  CHECK(marked("The answer is B. No: the Answer is C!") == "C");
  CHECK_THROWS_AS(text::answer_by_pattern("(", "--answer-pattern"), FormatError);
}

TEST_CASE("responses are classed by their answers, or by their tokens where they have no text", "[data]") {
  RolloutBatch batch;
  batch.add_prompt({});
  for (const char* text : {"so 4", "so 5", "it is 4"}) {
    batch.add_response(std::vector<TokenId>{1}, true);
    batch.text.emplace_back(text);
  }
  classify_answers(batch, text::answer_by_pattern(R"(\d)", "here"));
  CHECK(batch.answer == std::vector<std::int32_t>{0, 1, 0});
  classify_answers(batch, {});
  CHECK(batch.answer == std::vector<std::int32_t>{0, 1, 2});
  batch.text.clear();
  classify_answers(batch, {});
  CHECK(batch.answer == std::vector<std::int32_t>{0, 0, 0});
}
