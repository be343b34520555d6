#include "vbon/eval/rmb_data.hpp"

#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/temporary_folder.hpp"

using namespace vbon;
using namespace vbon::eval;
using namespace vbon::test;

namespace {
std::vector<JudgedLine> judged(const std::string& text) {
  const TemporaryFolder folder;
  std::ofstream(folder / "judged.jsonl") << text;
  return read_judged_lines(folder / "judged.jsonl");
}
const std::string pair_line = R"({"prompt": "p", "chosen": "good", "rejected": "bad", "margin": 2})"
                              "\n";
const std::string tuple_line = R"({"prompt": "q", "best": "b", "losers": ["c", "d"], "category": "help"})"
                               "\n";
}  // namespace

TEST_CASE("a pair is a tuple with one loser, in the names of vbon and of the published RMB", "[eval]") {
  const auto own = judged(pair_line + tuple_line);
  const auto published = judged(
      R"({"pair_uid": 1, "conversation_input": "p", "chosen": {"answer": "good", "llm_name": "x"}, "reject": {"answer": "bad"}}
{"bon_uid": 2, "conversation_input": "q", "bon_best": {"answer": "b"}, "loser_list": [{"answer": "c"}, {"answer": "d"}], "category_path": "help"}
)");
  REQUIRE(own.size() == 2);
  REQUIRE(published.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(own[i].pair == (i == 0));
    CHECK(own[i].losers.size() == i + 1);
    CHECK(published[i].prompt == own[i].prompt);
    CHECK(published[i].best == own[i].best);
    CHECK(published[i].losers == own[i].losers);
    CHECK(published[i].category == own[i].category);
    CHECK(published[i].pair == own[i].pair);
  }
}

TEST_CASE("texts to score stand best first, line after line, each with its prompt", "[eval]") {
  const RolloutBatch batch = judged_batch(judged(tuple_line + pair_line));
  CHECK(batch.text == std::vector<std::string>{"b", "c", "d", "good", "bad"});
  CHECK(batch.prompt[2].text == "q");
  CHECK(batch.prompt[3].text == "p");
}

TEST_CASE("pairs and tuples are judged apart, tuples by category, whatever their order", "[eval]") {
  const std::string other = R"({"prompt": "q", "best": "e", "losers": ["f"], "category": "chat"})"
                            "\n";
  const auto lines = judged(tuple_line + pair_line + other + tuple_line + pair_line);
  Array score(12);
  //       b  c  d  good bad  e  f  b  c  d  good bad
  score << 3, 1, 2, 0, 0, 1, 5, 2, 2, 1, 4, 3;
  const RewardAccuracy accuracy = reward_accuracy(lines, score);
  CHECK(accuracy.pairs == 2);
  CHECK(accuracy.tuples == 3);
  CHECK(accuracy.pairwise.accuracy == 0.5);  // the tie is wrong
  CHECK(accuracy.pairwise.accuracy_half_ties == 0.75);
  CHECK(accuracy.best_of_n.correct == std::vector<bool>{true, false, false});
  CHECK(accuracy.category == std::vector<std::string>{"help", "chat"});  // in the order of their first line
  CHECK(accuracy.best_of_n.by_category.at(0) == 0.5);
  CHECK(accuracy.best_of_n.by_category.at(1) == 0);
  CHECK(accuracy.best_of_n.macro_accuracy == 0.25);
  CHECK(accuracy.best_of_n.pairwise_accuracy == Approx(3.0 / 5));
  CHECK(reward_accuracy(judged(pair_line), Array::Ones(2)).tuples == 0);
  CHECK(reward_accuracy(judged(tuple_line), Array::Ones(3)).pairs == 0);
}

TEST_CASE("scores that are too few, too many or NaN are refused", "[eval][error]") {
  const auto lines = judged(pair_line + tuple_line);
  CHECK_THROWS_AS(reward_accuracy(lines, Array::Ones(4)), ShapeError);
  CHECK_THROWS_AS(reward_accuracy(lines, Array::Ones(6)), ShapeError);
  Array score = Array::Ones(5);
  score[4] = NAN;
  CHECK_THROWS_AS(reward_accuracy(lines, score), DomainError);
}

TEST_CASE("a line that mixes forms, or lacks a part, is refused with its number", "[eval][error]") {
  for (const std::string line :
       {R"({"prompt": "p", "chosen": "a", "rejected": "b", "best": "c"})", R"({"prompt": "p", "best": "a"})", R"(["a"])",
        R"({"prompt": "p", "best": "a", "losers": "b"})", R"({"prompt": "p", "best": "a", "losers": [1]})",
        R"({"conversation_input": "p", "chosen": {"answer": "a"}, "rejected": {"answer": "b"}})",
        R"({"conversation_input": "p", "bon_best": {"answer": "a"}, "loser_list": []})"}) {
    INFO(line);
    CHECK_THAT(failure<FormatError>([&] { judged(pair_line + line + "\n"); }), Catch::Contains("line 2"));
  }
  CHECK_THAT(failure<FormatError>([] { judged("\n"); }), Catch::Contains("no line"));
  CHECK_THROWS_AS(read_judged_lines("/no/such/judged.jsonl"), RunError);
}
