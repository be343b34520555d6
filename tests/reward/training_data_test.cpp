#include "vbon/reward/training_data.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/temporary_folder.hpp"

using namespace vbon::reward;
using vbon::test::failure;

namespace {
const vbon::test::TemporaryFolder data_folder;
std::filesystem::path file(const std::string& text) {
  const auto path = data_folder / "data.jsonl";
  std::ofstream(path) << text;
  return path;
}
std::string scores_failure(const std::string& line) {
  return failure<vbon::FormatError>([&] {
    read_scored_texts(file(R"({"text": "fine", "score": 1})"
                           "\n" +
                           line + "\n"));
  });
}
std::string pairs_failure(const std::string& line) {
  return failure<vbon::FormatError>([&] {
    read_preferences(file(R"({"prompt": "p", "chosen": "a", "rejected": "b"})"
                          "\n" +
                          line + "\n"));
  });
}
}  // namespace

TEST_CASE("scored texts are read whole or as prompt and response", "[reward][training_data]") {
  const auto rows = read_scored_texts(file(R"({"text": "a b", "score": 1.5})"
                                           "\n"
                                           R"({"prompt": "p ", "response": "r", "score": -2})"
                                           "\n"));
  REQUIRE(rows.size() == 2);
  CHECK((rows[0].prompt.empty() && rows[0].response == "a b" && rows[0].score == 1.5));
  CHECK((rows[1].prompt == "p " && rows[1].response == "r" && rows[1].score == -2));
}

TEST_CASE("preferences are read with their margin, 0 where it is absent", "[reward][training_data]") {
  const auto rows = read_preferences(file(R"({"prompt": "p", "chosen": "a", "rejected": "b", "margin": 0.5})"
                                          "\n"
                                          R"({"prompt": "p", "chosen": "c", "rejected": "d"})"
                                          "\n"
                                          R"({"prompt": "p", "chosen": "e", "rejected": "f", "margin": null})"));
  REQUIRE(rows.size() == 3);
  CHECK((rows[0].prompt == "p" && rows[0].chosen == "a" && rows[0].rejected == "b" && rows[0].margin == 0.5));
  CHECK((rows[1].margin == 0 && rows[2].margin == 0));
}

TEST_CASE("conversations become text as the caller says", "[reward][training_data]") {
  const std::string line =
      R"({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}], "chosen": [{"role": "assistant", "content": "A"}], "rejected": [{"role": "assistant", "content": "B"}]})";
  const auto plain = read_preferences(file(line));
  CHECK((plain[0].prompt == "S\nU\n" && plain[0].chosen == "A\n" && plain[0].rejected == "B\n"));
  const auto marked = [](std::span<const vbon::text::ChatMessage> turns) {
    std::string text;
    for (const auto& turn : turns) text += '<' + turn.role + '>' + turn.content;
    return text;
  };
  CHECK(read_preferences(file(line), {.turns_to_text = marked})[0].prompt == "<system>S<user>U");
  CHECK(read_scored_texts(file(R"({"text": [{"role": "user", "content": "U"}], "score": 0})"), {.turns_to_text = marked})[0]
            .response == "<user>U");
}

TEST_CASE("an implicit prompt must be asked for", "[reward][training_data]") {
  const std::string line = R"({"chosen": "pa", "rejected": "pb"})";
  CHECK_THAT(failure<vbon::FormatError>([&] { read_preferences(file(line)); }),
             Catch::Contains("line 1") && Catch::Contains("\"prompt\" is missing"));
  CHECK(read_preferences(file(line), {.implicit_prompt = true})[0].chosen == "pa");
}

TEST_CASE("a missing or unknown key is named with its line", "[reward][training_data][error]") {
  CHECK_THAT(scores_failure(R"({"text": "x"})"), Catch::Contains("line 2") && Catch::Contains("\"score\" is missing"));
  CHECK_THAT(scores_failure(R"({"prompt": "x", "score": 1})"),
             Catch::Contains("line 2") && Catch::Contains("\"response\" is missing"));
  CHECK_THAT(scores_failure(R"({"response": "x", "score": 1})"),
             Catch::Contains("line 2") && Catch::Contains("\"prompt\" is missing"));
  CHECK_THAT(scores_failure(R"({"text": "x", "score": 1, "label": 2})"), Catch::Contains("line 2") &&
                                                                             Catch::Contains("\"label\" is unknown") &&
                                                                             Catch::Contains("known keys: text, score"));
  CHECK_THAT(pairs_failure(R"({"prompt": "p", "chosen": "a"})"),
             Catch::Contains("line 2") && Catch::Contains("\"rejected\" is missing"));
  CHECK_THAT(pairs_failure(R"({"prompt": "p", "chosen": "a", "rejected": "b", "weight": 1})"),
             Catch::Contains("line 2") && Catch::Contains("\"weight\" is unknown") && Catch::Contains("margin"));
}

TEST_CASE("values of the wrong kind are named with their line", "[reward][training_data][error]") {
  CHECK_THAT(scores_failure(R"({"text": 3, "score": 1})"), Catch::Contains("line 2") && Catch::Contains("text"));
  CHECK_THAT(scores_failure(R"({"text": "x", "score": "1"})"), Catch::Contains("line 2") && Catch::Contains("score"));
  CHECK_THAT(scores_failure("[1]"), Catch::Contains("line 2") && Catch::Contains("object"));
  CHECK_THAT(scores_failure("{"), Catch::Contains("line 2"));
  CHECK_THAT(pairs_failure(R"({"prompt": [], "chosen": "a", "rejected": "b"})"),
             Catch::Contains("line 2") && Catch::Contains("prompt"));
  CHECK_THAT(pairs_failure(R"({"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"})"),
             Catch::Contains("line 2") && Catch::Contains("turn 1") && Catch::Contains("content"));
  CHECK_THAT(pairs_failure(R"({"prompt": "p", "chosen": "a", "rejected": "b", "margin": "wide"})"),
             Catch::Contains("line 2") && Catch::Contains("margin"));
  CHECK_THROWS_AS(read_scored_texts(file("\n")), vbon::FormatError);
  CHECK_THROWS_AS(read_scored_texts(data_folder / "absent.jsonl"), vbon::RunError);
}
