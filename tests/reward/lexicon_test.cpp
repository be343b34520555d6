#include "vbon/reward/lexicon.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/rollout.hpp"
#include "support/temporary_folder.hpp"

using vbon::reward::Lexicon;

namespace {
const std::string words = "good\t2\nbad\t-2.5\twith\tmore\tcolumns\n# a comment\n\nwell-made\t3\r\n:)\t1\nGreat\t4\n";

std::string parse_failure(const std::string& text, vbon::reward::LexiconOptions options = {}) {
  try {
    Lexicon::parse(text, "list.tsv", options);
  } catch (const vbon::FormatError& error) {
    return error.what();
  }
  FAIL("an error was expected");
  return {};
}
}  // namespace

TEST_CASE("a text scores the sum of its listed words", "[reward][lexicon]") {
  const auto lexicon = Lexicon::parse(words, "list.tsv");
  CHECK(lexicon.words() == 5);
  CHECK(lexicon.score("a good film") == 2);
  CHECK(lexicon.score("Good, GOOD; \"good\"!") == 6);
  CHECK(lexicon.score("good,bad") == -0.5);
  CHECK(lexicon.score("a well-made thing :)") == 4);
  CHECK(lexicon.score("well made") == 0);
  CHECK(lexicon.score("goodness") == 0);
  CHECK(lexicon.score("") == 0);
  CHECK(lexicon.score(" \t\n ") == 0);
  CHECK(lexicon.score("... ?! --") == 0);
}

TEST_CASE("case matters only where it is asked to", "[reward][lexicon]") {
  CHECK(Lexicon::parse(words, "x").score("great Great GREAT") == 12);
  const auto exact = Lexicon::parse(words, "x", {.case_sensitive = true});
  CHECK(exact.score("great Great GREAT good Good") == 6);
}

TEST_CASE("the average is over all words of the response", "[reward][lexicon]") {
  const auto lexicon = Lexicon::parse(words, "x", {.average = true});
  CHECK(lexicon.score("a good bad film") == Approx(-0.125));
  CHECK(lexicon.score("") == 0);
}

TEST_CASE("a repeated word counts as its last line says, or is an error that names both", "[reward][lexicon]") {
  CHECK(Lexicon::parse("ok\t1\nOK\t2\n", "x").score("ok") == 2);
  CHECK_THAT(parse_failure("ok\t1\nfine\t1\nOK\t2\n", {.reject_repeated = true}),
             Catch::Contains("line 3") && Catch::Contains("line 1"));
}

TEST_CASE("a broken line is named", "[reward][lexicon][error]") {
  CHECK_THAT(parse_failure("good\t1\nbad 2\n"), Catch::Contains("list.tsv: line 2") && Catch::Contains("word<TAB>score"));
  CHECK_THAT(parse_failure("good\tone\n"), Catch::Contains("line 1") && Catch::Contains("'one'"));
  CHECK_THAT(parse_failure("good\t1x\n"), Catch::Contains("'1x'"));
  CHECK_THAT(parse_failure("good\tnan\n"), Catch::Contains("finite"));
  CHECK_THAT(parse_failure("\t1\n"), Catch::Contains("line 1"));
}

TEST_CASE("a lexicon file rewards a batch by its responses alone", "[reward][lexicon]") {
  const vbon::test::TemporaryFolder folder;
  std::ofstream(folder / "words.tsv") << words;
  std::ofstream(folder / "empty.tsv") << "\n";
  const auto lexicon = Lexicon::load(folder / "words.tsv");
  CHECK(vbon::test::values_of(lexicon(vbon::test::text_batch({{"good", {"bad", "good good"}}, {"p", {""}}}))) ==
        std::vector<double>{-2.5, 4, 0});
  CHECK_THROWS_AS(Lexicon::load(folder / "empty.tsv"), vbon::FormatError);
  CHECK_THROWS_AS(Lexicon::load(folder / "absent.tsv"), vbon::RunError);
  vbon::RolloutBatch no_text;
  no_text.add_prompt({});
  no_text.add_response({}, true);
  CHECK_THROWS_AS(lexicon(no_text), vbon::ShapeError);
}
