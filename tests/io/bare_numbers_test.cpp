#include "vbon/io/bare_numbers.hpp"

#include "support/catch.hpp"
#include "vbon/io/json.hpp"

using namespace vbon;
using io::quote_bare_numbers;

TEST_CASE("numbers that JSON does not have become texts, and NaN null", "[io][json]") {
  CHECK(quote_bare_numbers(R"({"r": [NaN, Infinity, -Infinity, -1e5]})") == R"({"r": [null, "inf", "-inf", -1e5]})");
  CHECK(quote_bare_numbers("NaN") == "null");
  CHECK(quote_bare_numbers("") == "");
}

TEST_CASE("a text keeps its words, behind escaped quotes and backslashes too", "[io][json]") {
  for (const std::string text : {R"({"NaN": "to Infinity"})", R"(["say \"NaN\" and -Infinity"])", R"(["\\\"NaN"])"})
    CHECK(quote_bare_numbers(text) == text);
  // A backslash that is itself escaped escapes no quote: the text ends there.
  CHECK(quote_bare_numbers(R"(["\\",NaN,"\\"])") == R"(["\\",null,"\\"])");
  CHECK(quote_bare_numbers(R"(["open NaN\)") == R"(["open NaN\)");  // cut off: nothing to read, nothing changed
}

TEST_CASE("JSON of any depth stays what it is, and what Python writes can be read", "[io][json][property]") {
  const std::string plain = R"({"a":[1.5,true,null,{"b":"Nan, Inf","c":[]}],"text":"line\nNaN \u00e9"})";
  CHECK(quote_bare_numbers(plain) == plain);
  const io::Json read = io::parse_json(quote_bare_numbers(R"({"id": 3, "reward": -Infinity})"), "line");
  CHECK(read.at("reward") == "-inf");
  CHECK_THROWS_AS(io::parse_json(quote_bare_numbers(R"({"reward": Inf})"), "line"), FormatError);  // no name of Python's
}
