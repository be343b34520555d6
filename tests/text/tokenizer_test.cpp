#include "vbon/text/tokenizer.hpp"

#include <thread>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/text/write_gguf_tokenizer.hpp"

namespace vbon::test {
using namespace text;
using Catch::Matchers::Contains;
using io::Json;
namespace {
using Ids = std::vector<TokenId>;

/// A byte-level tokenizer whose tokens are single characters, and "ab".
Json byte_level() {
  Json vocab = Json::object();
  for (int c = '!'; c <= '~'; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  vocab["\xC4\xA0"] = ' ';
  vocab["ab"] = 127;
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array({Json::array({"a", "b"})})}}}};
}
Json with_added(Json file, std::vector<Json> added) {
  TokenId id = 128;
  for (Json& token : added) {
    token["id"] = id++;
    file["added_tokens"].push_back(token);
  }
  return file;
}
Tokenizer build(const Json& file) { return Tokenizer(read_tokenizer_parts(file, "toy.json")); }
Ids ids_of(const Tokenizer& tokenizer, std::string_view text) { return tokenizer.encode(text); }
}  // namespace

TEST_CASE("added tokens are found before the text is divided", "[text][tokenizer]") {
  const auto tokenizer = build(with_added(byte_level(), {{{"content", "<s>"}, {"special", true}},
                                                         {{"content", "<stop>"}, {"special", true}},
                                                         {{"content", "cat"}, {"single_word", true}},
                                                         {{"content", "|L|"}, {"lstrip", true}, {"rstrip", true}},
                                                         {{"content", "  "}}}));
  CHECK(ids_of(tokenizer, "a<s>b") == Ids{'a', 128, 'b'});
  CHECK(ids_of(tokenizer, "<stop><s>") == Ids{129, 128});  // the longest wins
  CHECK(ids_of(tokenizer, "cat cats") == Ids{130, ' ', 'c', 'a', 't', 's'});
  CHECK(ids_of(tokenizer, "a |L|\n b") == Ids{'a', 131, 'b'});
  CHECK(ids_of(tokenizer, "a   b") == Ids{'a', 132, ' ', 'b'});
  CHECK(tokenizer.decode(Ids{'a', 128, 'b', 130}) == "abcat");
  CHECK(tokenizer.decode(Ids{'a', 128, 'b'}, false) == "a<s>b");
  CHECK(tokenizer.vocab_size() == 133);
  CHECK(tokenizer.token_id("<s>") == 128);
  CHECK(tokenizer.token_id("ab") == 127);
  CHECK_FALSE(tokenizer.token_id("nothing"));
  CHECK(tokenizer.is_special(128));
  CHECK_FALSE(tokenizer.is_special(130));
  CHECK(tokenizer.decode(Ids{'a', 9999, -1, 3, 'b'}) == "ab");
}
TEST_CASE("added tokens that are normalised are looked for in normalised text", "[text][tokenizer]") {
  Json file =
      with_added(byte_level(), {{{"content", "CAT"}, {"normalized", true}}, {{"content", "DOG"}, {"normalized", false}}});
  file["normalizer"] = {{"type", "Lowercase"}};
  const auto tokenizer = build(file);
  CHECK(ids_of(tokenizer, "Cat") == Ids{128});
  CHECK(ids_of(tokenizer, "Dog") == Ids{'d', 'o', 'g'});
  CHECK(ids_of(tokenizer, "DOG") == Ids{129});
}
TEST_CASE("a tokenizer is the same after it was saved", "[text][tokenizer]") {
  Json file = with_added(byte_level(), {{{"content", "<s>"}, {"special", true}}, {{"content", "</s>"}, {"special", true}}});
  file["truncation"] = {{"max_length", 5}, {"strategy", "LongestFirst"}, {"stride", 0}, {"direction", "Left"}};
  file["padding"] = {
      {"strategy", {{"Fixed", 8}}}, {"direction", "Left"}, {"pad_id", 128}, {"pad_type_id", 2}, {"pad_token", "<s>"}};
  file["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", {"</s>", 129}}, {"cls", {"<s>", 128}}};
  auto tokenizer = build(file);
  tokenizer.set_special_tokens({.bos = "<s>", .eos = "</s>", .pad = "", .unk = ""});
  const TemporaryFolder folder;
  tokenizer.save(folder.path());
  const auto again = Tokenizer::from_json(folder.path());
  CHECK(again.bos() == 128);
  CHECK(again.eos() == 129);
  CHECK_FALSE(again.pad());
  const std::vector<std::string> texts = {"abcdef"};
  for (const Tokenizer* t : {static_cast<const Tokenizer*>(&tokenizer), &again}) {
    const auto got = t->encode_batch(texts, {.truncation = t->truncation(), .padding = t->padding()})[0];
    CHECK(got.ids == Ids{128, 128, 128, 128, 'd', 'e', 'f', 129});
    CHECK(got.attention_mask == std::vector<int>{0, 0, 0, 1, 1, 1, 1, 1});
    CHECK(got.type_ids == std::vector<int>{2, 2, 2, 0, 0, 0, 0, 0});
    const auto pair = t->encode_pair("a", "c");
    CHECK(pair.ids == Ids{128, 'a', 129, 129, 'c', 129});
    CHECK(pair.special_mask == std::vector<int>{1, 0, 1, 1, 0, 1});
    CHECK(t->encode("ab") == Ids{128, 127, 129});
    CHECK(t->encode("ab", false) == Ids{127});
  }
}
TEST_CASE("the longer of two sequences gives way first", "[text][tokenizer]") {
  const auto lengths = [](std::size_t a, std::size_t b, Truncation options) {
    Ids first(a), second(b);
    truncate(first, &second, 3, options);
    return std::pair(first.size(), second.size());
  };
  using Pair = std::pair<std::size_t, std::size_t>;
  CHECK(lengths(4, 5, {.max_length = 12}) == Pair{4, 5});
  CHECK(lengths(2, 20, {.max_length = 13}) == Pair{2, 8});
  CHECK(lengths(20, 2, {.max_length = 13}) == Pair{8, 2});
  CHECK(lengths(20, 30, {.max_length = 14}) == Pair{5, 6});
  CHECK(lengths(20, 4, {.max_length = 14, .strategy = Truncation::Strategy::only_first}) == Pair{7, 4});
  CHECK_THROWS_AS(lengths(3, 20, {.max_length = 14, .strategy = Truncation::Strategy::only_first}), DomainError);
}
TEST_CASE("an unknown or broken part is refused by name", "[text][tokenizer][error]") {
  const auto refuses = [](const char* part, const Json& value, const char* text) {
    Json file = byte_level();
    file[part] = value;
    CHECK_THROWS_WITH(build(file), Contains("toy.json") && Contains(text));
  };
  refuses("normalizer", {{"type", "Mystery"}}, "normalizer: the kind \"Mystery\" is not supported; known:");
  refuses("pre_tokenizer", {{"type", "Mystery"}}, "pre_tokenizer: the kind \"Mystery\"");
  refuses("post_processor", {{"type", "Mystery"}}, "post_processor: the kind \"Mystery\"");
  refuses("decoder", {{"type", "Mystery"}}, "decoder: the kind \"Mystery\"");
  refuses("pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "(["}}}}, "does not compile");
  refuses("post_processor", {{"type", "BertProcessing"}, {"sep", {"x", 999}}, {"cls", {"y", 1}}}, "there is no token 999");
  refuses("post_processor", {{"type", "TemplateProcessing"}, {"single", Json::array()}, {"pair", Json::array()}},
          "lacks a sequence");
  refuses("padding", {{"strategy", "Sometimes"}}, "padding: the strategy");
  refuses("truncation", {{"max_length", -1}}, "truncation: field \"max_length\"");
  refuses("added_tokens", {{{"id", 1000000}, {"content", "x y"}}}, "does not fit the vocabulary");
  refuses("added_tokens", {{{"id", 'b'}, {"content", "x y"}}}, "added_tokens[0]");
  refuses("model", {{"type", "Unigram"}}, "the type \"Unigram\" is not supported; known: BPE, WordPiece");
  CHECK_THROWS_AS(Tokenizer::from_json("/nowhere/tokenizer.json"), RunError);
}
TEST_CASE("many threads encode alike", "[text][tokenizer]") {
  const auto tokenizer = build(byte_level());
  const std::string text = "abab cab ab-ab! some more words, ab 123";
  const Ids want = tokenizer.encode(text);
  std::vector<int> equal(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) equal[t] += tokenizer.encode(text) == want;
    });
  for (auto& thread : threads) thread.join();
  CHECK(equal == std::vector<int>(4, 200));
}
TEST_CASE("a tokenizer goes into a GGUF file and comes back", "[text][tokenizer][gguf]") {
  Json file = with_added(byte_level(), {{{"content", "<s>"}, {"special", true}, {"normalized", false}}});
  file["pre_tokenizer"]["trim_offsets"] = true;
  auto tokenizer = build(file);
  tokenizer.set_special_tokens({.bos = "<s>", .eos = "<s>", .pad = "", .unk = ""});
  io::GgufMetadata metadata;
  add_gguf_tokenizer(metadata, tokenizer, 140);
  const TemporaryFolder folder;
  io::write_gguf(folder / "m.gguf", metadata, {});
  const auto gguf = io::GgufFile::open(folder / "m.gguf");
  const auto again = Tokenizer::from_gguf(gguf);
  CHECK(again.vocab_size() == 140);
  CHECK(again.eos() == 128);
  for (const char* text : {"ab cab", "<s>hello", ""}) CHECK(again.encode(text) == tokenizer.encode(text));
  file["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  io::GgufMetadata other;
  CHECK_THROWS_AS(add_gguf_tokenizer(other, build(file), 140), ConfigError);
}
TEST_CASE("an unknown pre-tokenizer of a GGUF file is named with the known ones", "[text][tokenizer][error]") {
  const TemporaryFolder folder;
  const auto open = [&](const char* model, const char* pre, std::vector<std::string> merges) {
    io::GgufMetadata metadata;
    metadata.add("tokenizer.ggml.model", model);
    metadata.add("tokenizer.ggml.pre", pre);
    metadata.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
    metadata.add("tokenizer.ggml.merges", merges);
    io::write_gguf(folder / "m.gguf", metadata, {});
    const auto file = io::GgufFile::open(folder / "m.gguf");
    return Tokenizer::from_gguf(file).encode("ab");
  };
  CHECK(open("gpt2", "smollm", {"a b"}) == Ids{2});
  CHECK_THROWS_WITH(open("gpt2", "mystery", {"a b"}),
                    Contains("the pre-tokenizer \"mystery\" is not known; known: gpt-2") && Contains("smollm"));
  io::GgufMetadata unnamed;
  unnamed.add("tokenizer.ggml.model", "gpt2");
  unnamed.add("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab"});
  unnamed.add("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  io::write_gguf(folder / "unnamed.gguf", unnamed, {});
  const auto file = io::GgufFile::open(folder / "unnamed.gguf");
  CHECK_THROWS_WITH(Tokenizer::from_gguf(file),
                    Contains("tokenizer.ggml.pre") && Contains("missing") && Contains("known: gpt-2"));
  CHECK_THROWS_WITH(open("t5", "smollm", {"a b"}), Contains("the tokenizer \"t5\" is not supported"));
  CHECK_THROWS_WITH(open("gpt2", "smollm", {"ab"}), Contains("entry 0 is not two tokens"));
}
TEST_CASE("SentencePiece scores in a GGUF file give merges in their order", "[text][tokenizer][gguf]") {
  const TemporaryFolder folder;
  const std::string mark = "\xE2\x96\x81";
  io::GgufMetadata metadata;
  metadata.add("tokenizer.ggml.model", "llama");
  metadata.add("tokenizer.ggml.tokens",
               std::vector<std::string>{"<unk>", "<s>", "a", "b", mark, "ab", mark + "a", mark + "ab", "<0xC3>", "<0xA9>"});
  metadata.add("tokenizer.ggml.scores", std::vector<float>{0, 0, -10, -11, -12, -2, -1, -3, 0, 0});
  metadata.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 1, 1, 1, 1, 1, 1, 6, 6});
  metadata.add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  metadata.add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  io::write_gguf(folder / "m.gguf", metadata, {});
  const auto file = io::GgufFile::open(folder / "m.gguf");
  const auto tokenizer = Tokenizer::from_gguf(file);
  CHECK(tokenizer.encode("ab ab") == Ids{1, 7, 7});
  CHECK(tokenizer.encode("ba") == Ids{1, 4, 3, 2});
  CHECK(tokenizer.encode("a\xC3\xA9z") == Ids{1, 6, 8, 9, 0});
  CHECK(tokenizer.decode(tokenizer.encode("ab a\xC3\xA9")) == "ab a\xC3\xA9");

  // Written again, as GGUF with a row of the embedding too many and as tokenizer.json, it is the same tokenizer.
  io::GgufMetadata written;
  add_gguf_tokenizer(written, tokenizer, 11);
  io::write_gguf(folder / "again.gguf", written, {});
  const auto second = io::GgufFile::open(folder / "again.gguf");
  const auto again = Tokenizer::from_gguf(second);
  tokenizer.save(folder / "saved");
  const auto saved = Tokenizer::from_json(folder / "saved");
  CHECK(again.vocab_size() == 11);
  for (const char* text : {"ab ab", "ba", "a\xC3\xA9z", "", "  ab b"}) {
    CAPTURE(text);
    CHECK(again.encode(text) == tokenizer.encode(text));
    CHECK(saved.encode(text) == tokenizer.encode(text));
    CHECK(again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text)));
  }
}
}  // namespace vbon::test
