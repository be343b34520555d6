#include "vbon/io/json.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::test {
using Catch::Matchers::Contains;
using io::Json;

TEST_CASE("JSON is read with its numbers as they are", "[io][json]") {
  const Json value = io::parse_json(R"({"a": [1, -2, 2.5, 18446744073709551615, "x\u00e9", null, true]})", "t");
  CHECK(io::json_as<std::uint64_t>(value["a"][3], "t") == 18446744073709551615u);
  CHECK(io::json_as<int>(value["a"][1], "t") == -2);
  CHECK(io::json_as<double>(value["a"][2], "t") == 2.5);
  CHECK(io::json_as<std::string>(value["a"][4], "t") == "x\xC3\xA9");
  CHECK(io::json_find(value["a"][0], "key") == nullptr);
}
TEST_CASE("broken JSON is refused with the byte", "[io][json][error]") {
  const auto refused = [](std::string_view text) {
    try {
      io::parse_json(text, "file.json");
    } catch (const FormatError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refused(""), Contains("file.json: byte 0"));
  CHECK_THAT(refused(R"({"a": 1, "b": 2, "a": 3})"), Contains("byte 20") && Contains("\"a\" stands twice"));
  CHECK_THAT(refused("[1, NaN]"), Contains("file.json: byte 5"));
  CHECK_THAT(refused("[1e999]"), Contains("file.json: byte"));
  CHECK_THAT(refused("{} {}"), Contains("file.json: byte 4"));
  CHECK_THAT(refused("[\"\xFF\"]"), Contains("file.json: byte 3"));
  CHECK_THAT(refused(std::string(100000, '[')), Contains("byte 129") && Contains("deeper than 128"));
  CHECK_THAT(refused(R"(["\ud800"])"), Contains("file.json: byte"));
}
TEST_CASE("a field of another type is refused by name", "[io][json][error]") {
  const Json object = {{"n", "8"}, {"f", 1.5}, {"big", 300}, {"z", nullptr}};
  CHECK_THROWS_WITH(io::json_get<int>(object, "n", "config"), Contains("config: field \"n\": an integer in"));
  CHECK_THROWS_WITH(io::json_get<int>(object, "f", "config"), Contains("got 1.5"));
  CHECK_THROWS_AS(io::json_get<std::int8_t>(object, "big", "config"), FormatError);
  CHECK_THROWS_WITH(io::json_get<int>(object, "z", "config"), "config: the field \"z\" is missing");
  CHECK_THROWS_AS(io::json_get<bool>(object, "f", "config"), FormatError);
  CHECK_THROWS_AS(io::json_get<double>(object, "n", "config"), FormatError);
  CHECK_THROWS_AS(io::json_get<std::string>(object, "f", "config"), FormatError);
  CHECK(io::json_get_or<int>(object, "z", 7, "config") == 7);
}

TEST_CASE("lines end at LF or CR LF only, and blank ones are passed over", "[io][jsonl]") {
  std::vector<std::size_t> lines;
  const auto note = [&](const Json&, std::size_t line) { lines.push_back(line); };
  CHECK(io::parse_jsonl("\xEF\xBB\xBF{\"a\": \"\xE2\x80\xA8\xC2\x85\"}\r\n\n \t\n[2]", "t", note) == 2);
  CHECK(lines == std::vector<std::size_t>{1, 4});
}
TEST_CASE("a broken line is named, a cut last one forgiven only on demand", "[io][jsonl][error]") {
  const auto ignore = [](const Json&, std::size_t) {};
  CHECK_THROWS_WITH(io::parse_jsonl("{}\n{\"a\": \n", "f.jsonl", ignore), Contains("f.jsonl: line 2: byte 6"));
  CHECK_THROWS_AS(io::parse_jsonl("{}\n{\"a\": ", "f.jsonl", ignore), FormatError);
  CHECK(io::parse_jsonl("{}\n{\"a\": ", "f.jsonl", ignore, {.allow_cut_last_line = true}) == 1);
  CHECK(io::parse_jsonl("{}\n{\"a\": 1}", "f.jsonl", ignore, {.allow_cut_last_line = true}) == 2);
  CHECK_THROWS_AS(io::parse_jsonl("{}\n{\"a\": \n", "f.jsonl", ignore, {.allow_cut_last_line = true}), FormatError);
  CHECK_THROWS_AS(io::read_jsonl("/nowhere/f.jsonl", ignore), RunError);
}
TEST_CASE("a writer goes on behind what a crash left", "[io][jsonl]") {
  const TemporaryFolder folder;
  const auto path = folder / "rows.jsonl";
  const auto content = [&] { return std::string(io::MappedFile(path).text()); };
  io::JsonlWriter(path).append(Json{{"n", 1}});
  CHECK(content() == "{\"n\":1}\n");
  SECTION("a cut line is removed") {
    std::ofstream(path, std::ios::app) << "{\"n\": 2, \"te" << std::string(10000, 'x');
    io::JsonlWriter(path).append(Json{{"n", 3}});
    CHECK(content() == "{\"n\":1}\n{\"n\":3}\n");
  }
  SECTION("a whole line that lacks only its end is kept") {
    std::ofstream(path, std::ios::app) << "{\"n\": 2}";
    io::JsonlWriter(path).append(Json{{"n", 3}});
    CHECK(content() == "{\"n\":1}\n{\"n\": 2}\n{\"n\":3}\n");
  }
}
}  // namespace vbon::test
