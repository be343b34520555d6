#include "vbon/text/unicode.hpp"

#include "support/catch.hpp"
#include "vbon/io/json.hpp"
#include "vbon/text/normalizer.hpp"
#include "vbon/text/pre_tokenizer.hpp"

namespace vbon::test {
using namespace text;
namespace {
std::string character(char32_t c) {
  std::string out;
  io::append_utf8(out, c);
  return out;
}
}  // namespace

TEST_CASE("characters are classified as the reference tokenizers do", "[text][unicode][parity]") {
  const io::Json recorded = io::read_json(VBON_TEST_DATA "/text/unicode.json");
  const Normalizer bert(io::Json{{"type", "BertNormalizer"},
                                 {"clean_text", false},
                                 {"handle_chinese_chars", false},
                                 {"strip_accents", true},
                                 {"lowercase", false}},
                        "");
  const Normalizer clean(io::Json{{"type", "BertNormalizer"},
                                  {"clean_text", true},
                                  {"handle_chinese_chars", false},
                                  {"strip_accents", false},
                                  {"lowercase", false}},
                         "");
  const auto words = [](const PreTokenizer& split, char32_t c) {
    Words all{"x" + character(c) + "x", {}};
    all.ranges = {{0, all.text.size()}};
    split(all);
    return all.ranges.size();
  };
  const PreTokenizer whitespace(io::Json{{"type", "Whitespace"}}, false, "");
  const std::map<std::string, std::function<bool(char32_t)>> ours = {
      {"removed_by_clean_text", [&](char32_t c) { return clean(character(c)).empty(); }},
      {"removed_by_strip_accents", is_strippable_mark},
      {"removed_by_bert_accents", [&](char32_t c) { return bert(character(c)).empty(); }},
      {"set_apart_as_chinese", is_cjk_ideograph},
      {"punctuation", is_punctuation},
      {"numeric", is_numeric},
      {"space", is_space},
      {"word", [&](char32_t c) { return words(whitespace, c) == 1; }},
      {"changed_by_nfd", [](char32_t c) { return normalize(character(c), NormalForm::nfd) != character(c); }},
      {"changed_by_nfkd", [](char32_t c) { return normalize(character(c), NormalForm::nfkd) != character(c); }},
      {"moves_before_overlay", [](char32_t c) {
         return normalize("a" + character(c) + "\xCC\xB4", NormalForm::nfd) !=
                normalize("a" + character(c), NormalForm::nfd) + "\xCC\xB4";
       }}};
  const auto members = [&](const std::string& name) {
    std::vector<bool> in(0x110000);
    for (const auto& range : recorded.at(name))
      for (auto c = range[0].get<std::size_t>(); c <= range[1].get<std::size_t>(); ++c) in[c] = true;
    return in;
  };
  const auto assigned = members("assigned");  // what came later, the recording could not know
  for (const auto& [name, check] : ours) {
    CAPTURE(name);
    const auto want = members(name);
    std::size_t wrong = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (!assigned[c] || (c >= 0xD800 && c < 0xE000) || check(c) == want[c]) continue;
      if (++wrong <= 3) UNSCOPED_INFO("code point " << static_cast<unsigned>(c) << ", expected " << want[c]);
    }
    CHECK(wrong == 0);
  }
}
TEST_CASE("normal forms compose, decompose and order marks", "[text][unicode]") {
  CHECK(normalize("e\xCC\x81", NormalForm::nfc) == "\xC3\xA9");
  CHECK(normalize("\xC3\xA9", NormalForm::nfd) == "e\xCC\x81");
  CHECK(normalize("\xEF\xAC\x81", NormalForm::nfkc) == "fi");
  CHECK(normalize("\xEF\xAC\x81", NormalForm::nfc) == "\xEF\xAC\x81");
  CHECK(normalize("a\xCC\x81\xCC\xA3", NormalForm::nfd) == "a\xCC\xA3\xCC\x81");
  CHECK(normalize(std::string("a\0b\xC3\xA9", 5), NormalForm::nfd) == std::string("a\0be\xCC\x81", 6));
}
TEST_CASE("lower case knows the one capital that becomes two characters", "[text][unicode]") {
  CHECK(to_lower("\xC3\x84"
                 "BC\xCE\xA3") ==
        "\xC3\xA4"
        "bc\xCF\x83");
  CHECK(to_lower("\xC4\xB0") == "i\xCC\x87");
}
}  // namespace vbon::test
