#include "vbon/text/regex.hpp"

#include <vector>

#include "support/catch.hpp"

namespace vbon::test {
using text::Regex;
namespace {
std::vector<std::string> matches(std::string_view pattern, std::string_view subject) {
  std::vector<std::string> all;
  Regex(pattern, "test").for_each_match(subject, [&](std::size_t begin, std::size_t end) {
    all.emplace_back(subject.substr(begin, end - begin));
  });
  return all;
}
using Matches = std::vector<std::string>;
}  // namespace

TEST_CASE("patterns see characters, not bytes", "[text][regex]") {
  CHECK(matches(R"(\p{L}+|\p{N})", "na\xC3\xAFve 12") == Matches{"na\xC3\xAFve", "1", "2"});
  CHECK(matches(R"((?i:'S|'t))", "it's I'T") == Matches{"'s", "'T"});
  CHECK(matches(R"(\s+(?!\S)|\s+)", "a   b ") == Matches{"  ", " ", " "});
  CHECK(matches("", "abc").empty());
  CHECK(matches("x*", "axxb\xC3\xA9x") == Matches{"xx", "x"});
}
TEST_CASE("white space is that of Unicode, not that of PCRE2", "[text][regex]") {
  CHECK(matches(R"(\s)", "\xE1\xA0\x8E").empty());  // U+180E lost the property
  CHECK(matches(R"(\S)", "\xE1\xA0\x8E").size() == 1);
  CHECK(matches(R"([^\s])", "\xE1\xA0\x8E").size() == 1);
  CHECK(matches(R"([\S])", "\xE1\xA0\x8E \xC2\x85").size() == 1);
  CHECK(matches(R"([\r\n\s]+)", "\xC2\x85\xE3\x80\x80\n").size() == 1);
  CHECK(matches(R"(\h+)", "xyz09aF") == Matches{"09aF"});  // a hexadecimal digit in Oniguruma
}
TEST_CASE("classes are read as Oniguruma does", "[text][regex]") {
  CHECK(matches(R"([^a[bc]]+)", "abcdab") == Matches{"d"});
  CHECK(matches(R"([]a]+)", "x]a") == Matches{"]a"});
  CHECK(matches(R"([[:digit:]a]+)", "x1a2") == Matches{"1a2"});
  CHECK(matches(R"([\[\]]+)", "a[]b") == Matches{"[]"});
  CHECK_THROWS_AS(Regex(R"([\p{L}&&[a-z]])", "test"), FormatError);
  CHECK_THROWS_AS(Regex(R"([a[^b]])", "test"), FormatError);
}
TEST_CASE("a pattern that does not compile is named, one that runs away is stopped", "[text][regex][error]") {
  CHECK_THROWS_WITH(Regex("([", "tokenizer.json"), Catch::Matchers::Contains("tokenizer.json: the regular expression (["));
  CHECK_THROWS_AS(matches("(x+x+)+[yz]", std::string(64, 'x')), RunError);
  CHECK_THROWS_WITH(matches("(x+x+)+[yz]", std::string(64, 'x')),
                    Catch::Matchers::Contains("test: the regular expression (x+x+)+[yz] takes more steps"));
}
TEST_CASE("long runs match without deep recursion", "[text][regex]") {
  CHECK(matches(R"(\s+(?!\S)|\s+)", std::string(1'000'000, ' ') + "x").size() == 2);
  CHECK(matches(R"((?:a|b)+)", std::string(300'000, 'a')).size() == 1);
}
TEST_CASE("an escaped text matches only itself", "[text][regex]") {
  const std::string odd = "a.b*[c]\\(d){1}^$|#-&~ \xE2\x96\x81";
  CHECK(matches(text::escape_pattern(odd), "x" + odd + "axb") == Matches{odd});
}
}  // namespace vbon::test
