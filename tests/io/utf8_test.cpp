#include "vbon/io/utf8.hpp"

#include "support/catch.hpp"

namespace vbon::test {
TEST_CASE("every code point survives encoding and decoding", "[io][utf8][property]") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    std::string text;
    io::append_utf8(text, c);
    const auto step = io::decode_utf8(text, 0);
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    if (step.valid == surrogate || (!surrogate && (step.code_point != c || step.length != text.size())))
      FAIL("code point " << static_cast<unsigned>(c));
  }
}
TEST_CASE("ill-formed bytes are found and replaced part by part", "[io][utf8]") {
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(io::first_invalid_utf8("ab\xC3\xA9z") == 5);
  CHECK(io::first_invalid_utf8("ab\xC3z") == 2);
  CHECK(io::replace_invalid_utf8("a\xFFz") == "a" + mark + "z");
  CHECK(io::replace_invalid_utf8("\xC0\x80") == mark + mark);             // overlong
  CHECK(io::replace_invalid_utf8("\xED\xA0\x80") == mark + mark + mark);  // a surrogate
  CHECK(io::replace_invalid_utf8("\xE2\x82") == mark);                    // cut short: one part
  CHECK(io::replace_invalid_utf8("\xF4\x90\x80\x80") == mark + mark + mark + mark);
  CHECK(io::replace_invalid_utf8("\xF0\x9F\x98x") == mark + "x");
}
TEST_CASE("the beginning of a text fits on one line and cuts no character", "[io][utf8]") {
  CHECK(io::excerpt("a short text") == "a short text");
  CHECK(io::excerpt("12345", 5) == "12345");
  CHECK(io::excerpt("123456", 5) == "12345...");
  CHECK(io::excerpt("a\xC3\xA9z", 2) == "a...");  // the second character ends at byte 3
  CHECK(io::excerpt("a\xC3\xA9z", 3) == "a\xC3\xA9...");
  CHECK(io::excerpt(std::string_view("a\r\n\0b", 5)) == "a   b");
  CHECK(io::excerpt("a\xC2\x85z\x7F") == "a z ");  // next line (U+0085) and delete
  CHECK(io::excerpt("a\xFFz") == "a\xEF\xBF\xBDz");
}
}  // namespace vbon::test
