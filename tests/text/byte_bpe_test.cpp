#include "vbon/text/byte_bpe.hpp"

#include "support/catch.hpp"
#include "vbon/core/random.hpp"

namespace vbon::test {
using namespace text;
namespace {
struct Toy {
  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, std::string>> pairs;
  Bpe build(BpeOptions options = {}) const {
    std::vector<Vocabulary::Entry> entries;
    for (const auto& token : tokens) entries.emplace_back(token, static_cast<std::int64_t>(entries.size()));
    std::vector<Bpe::MergePair> merges;
    for (const auto& [left, right] : pairs) merges.emplace_back(left, right);
    return Bpe(std::make_shared<Vocabulary>(entries, "toy"), merges, std::move(options), "toy");
  }
};
std::vector<std::string> words_of(const Toy& toy, const Bpe& bpe, std::string_view word) {
  std::vector<TokenId> ids;
  Bpe::Session(bpe).encode(word, false, ids);
  std::vector<std::string> all;
  for (const TokenId id : ids) all.push_back(toy.tokens[static_cast<std::size_t>(id)]);
  return all;
}
/// Merges one pair at a time by the definition, over strings.
std::vector<std::string> by_definition(const Toy& toy, std::string_view word) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    std::size_t best = toy.pairs.size(), at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i)
      for (std::size_t r = 0; r < best; ++r)
        if (toy.pairs[r].first == parts[i] && toy.pairs[r].second == parts[i + 1]) best = r, at = i;
    if (best == toy.pairs.size()) return parts;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}
}  // namespace

TEST_CASE("short and long words are merged as the definition says", "[text][bpe][property]") {
  // Random merges over three letters, so that many orders of merging compete.
  const auto seed = GENERATE(range(0, 12));
  const RngKey key{static_cast<std::uint64_t>(seed), 0};
  Toy toy{{"a", "b", "c"}, {}};
  for (std::uint64_t i = 0; i < 40; ++i) {
    const auto pick = [&](std::uint64_t k) {
      return toy.tokens[static_cast<std::size_t>(key.below(2 * i + k, static_cast<Index>(toy.tokens.size())))];
    };
    const auto left = pick(0), right = pick(1);
    const bool known = std::find(toy.tokens.begin(), toy.tokens.end(), left + right) != toy.tokens.end();
    if (known || left.size() + right.size() > 8) continue;
    toy.tokens.push_back(left + right);
    toy.pairs.emplace_back(left, right);
  }
  const Bpe bpe = toy.build();
  for (const std::size_t length : {1u, 2u, 7u, 48u, 49u, 300u}) {
    std::string word;
    for (std::size_t i = 0; i < length; ++i) word += static_cast<char>('a' + key.fold(length).below(i, 3));
    CAPTURE(seed, word);
    CHECK(words_of(toy, bpe, word) == by_definition(toy, word));
    CHECK(words_of(toy, bpe, word) == by_definition(toy, word));  // now from memory
  }
}
TEST_CASE("a word of a million letters is merged in n log n", "[text][bpe]") {
  Toy toy{{"a", "aa", "aaaa", "aaaaaaaa"}, {{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}};
  const Bpe bpe = toy.build();
  std::vector<TokenId> ids;
  Bpe::Session(bpe).encode(std::string(1'000'000, 'a'), false, ids);
  CHECK(ids == std::vector<TokenId>(125'000, 3));
}
TEST_CASE("unknown characters follow the options", "[text][bpe]") {
  Toy toy{{"<unk>", "a", "b", "ab", "<0xC3>", "<0xA9>", "##b", "a##b", "b</w>"}, {}};
  using Words = std::vector<std::string>;
  CHECK(words_of(toy, toy.build(), "axyb") == Words{"a", "b"});
  CHECK(words_of(toy, toy.build({.unk_token = "<unk>"}), "axyb") == Words{"a", "<unk>", "<unk>", "b"});
  CHECK(words_of(toy, toy.build({.unk_token = "<unk>", .fuse_unk = true}), "axyb") == Words{"a", "<unk>", "b"});
  CHECK(words_of(toy, toy.build({.unk_token = "<unk>", .byte_fallback = true}), "a\xC3\xA9\xC3\xA8") ==
        Words{"a", "<0xC3>", "<0xA9>", "<unk>"});
  CHECK(words_of(toy, toy.build({.ignore_merges = true}), "ab") == Words{"ab"});
  CHECK(words_of(toy, toy.build({.continuing_subword_prefix = "##"}), "ab") == Words{"a", "##b"});
  CHECK(words_of(toy, toy.build({.end_of_word_suffix = "</w>"}), "ab") == Words{"a", "b</w>"});
}
TEST_CASE("a merge of what is not in the vocabulary is named", "[text][bpe][error]") {
  Toy toy{{"a", "b"}, {{"a", "b"}}};
  CHECK_THROWS_WITH(toy.build(),
                    Catch::Matchers::Contains("merge 0 (\"a\" + \"b\"): the token \"ab\" is not in the vocabulary"));
  CHECK_THROWS_AS(Toy({{"a"}, {}}).build({.unk_token = "<unk>"}), FormatError);
}
TEST_CASE("the byte alphabet spells every byte and reads it back", "[text][bpe]") {
  std::string bytes;
  for (int b = 0; b < 256; ++b) bytes += static_cast<char>(b);
  std::string back;
  byte_alphabet().unspell(byte_alphabet().spell(bytes), back);
  CHECK(back == bytes);
  CHECK(byte_alphabet().spell(" \n") == "\xC4\xA0\xC4\x8A");
  back.clear();
  byte_alphabet().unspell("two words", back);  // a space spells no byte
  CHECK(back == "two words");
}
}  // namespace vbon::test
