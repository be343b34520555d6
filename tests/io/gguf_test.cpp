#include "vbon/io/gguf.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/write_gguf.hpp"
#include "vbon/kernel/dequantize.hpp"

namespace vbon::test {
using Catch::Matchers::Contains;
namespace {
std::vector<float> wave(std::size_t n) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::sin(static_cast<float>(i) * 0.7f) * static_cast<float>(i % 5);
  return values;
}
std::vector<float> read(const io::GgufFile& file, const std::string& name) {
  std::vector<float> values(static_cast<std::size_t>(file.tensor(name).size));
  file.read_f32(name, values);
  return values;
}
}  // namespace

TEST_CASE("metadata of every type comes back", "[io][gguf]") {
  const TemporaryFolder folder;
  io::GgufMetadata metadata;
  metadata.add("u8", std::uint8_t{200});
  metadata.add("i16", std::int16_t{-3});
  metadata.add("u64", std::uint64_t{1} << 40);
  metadata.add("f32", 1.5f);
  metadata.add("f64", 0.1);
  metadata.add("flag", true);
  metadata.add("text", "h\xC3\xA9llo");
  metadata.add("texts", std::vector<std::string>{"a", "", "bc"});
  metadata.add("ints", std::vector<std::int32_t>{1, -2, 3});
  io::write_gguf(folder / "m.gguf", metadata, {});
  const auto file = io::GgufFile::open(folder / "m.gguf");
  CHECK(file.version() == 3);
  CHECK(file.keys().size() == 9);
  CHECK(file.get<int>("u8") == 200);
  CHECK(file.get<int>("i16") == -3);
  CHECK(file.get<std::uint64_t>("u64") == std::uint64_t{1} << 40);
  CHECK(file.get<double>("f32") == 1.5);
  CHECK(file.get<double>("f64") == 0.1);
  CHECK(file.get<bool>("flag"));
  CHECK(file.get<std::string>("text") == "h\xC3\xA9llo");
  CHECK(file.strings("texts") == std::vector<std::string_view>{"a", "", "bc"});
  CHECK(file.numbers<int>("ints") == std::vector<int>{1, -2, 3});
  CHECK(file.get_or<int>("absent", 5) == 5);
  CHECK_FALSE(file.find<int>("absent"));
  CHECK_THROWS_WITH(file.get<int>("absent"), Contains("the key \"absent\" is missing"));
  CHECK_THROWS_WITH(file.get<int>("text"), Contains("key \"text\" is STRING, a number was expected"));
  CHECK_THROWS_WITH(file.get<std::int8_t>("u8"), Contains("it is 200"));
  CHECK_THROWS_AS(file.get<int>("f32"), FormatError);
  CHECK_THROWS_AS(file.get<bool>("u8"), FormatError);
  CHECK_THROWS_AS(file.strings("ints"), FormatError);
  CHECK_THROWS_AS(file.numbers<int>("text"), FormatError);
  CHECK_THROWS_AS(metadata.add("u8", 1), ConfigError);
}
TEST_CASE("tensors come back bit for bit, or as near as their type allows", "[io][gguf]") {
  const TemporaryFolder folder;
  const auto values = wave(3 * 64);
  const io::GgufTensorToWrite tensors[] = {{"f32", {3, 64}, values},
                                           {"f16", {3, 64}, values, BlockType::f16},
                                           {"bf16", {3, 64}, values, BlockType::bf16},
                                           {"q8_0", {3, 64}, values, BlockType::q8_0},
                                           {"odd", {3}, std::span(values).first(3)}};
  io::write_gguf(folder / "m.gguf", {}, tensors);
  const auto file = io::GgufFile::open(folder / "m.gguf");
  CHECK(file.tensor("f32").shape == std::vector<Index>{3, 64});
  CHECK(read(file, "f32") == values);
  CHECK(read(file, "odd").size() == 3);
  const auto f16 = read(file, "f16"), bf16 = read(file, "bf16"), q8 = read(file, "q8_0");
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(f16[i] == half_to_float(float_to_half(values[i])));
    CHECK(bf16[i] == bfloat16_to_float(float_to_bfloat16(values[i])));
    float largest = 0;
    for (std::size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) largest = std::max(largest, std::abs(values[j]));
    CHECK(std::abs(q8[i] - values[i]) <= 0.502f * largest / 127 + 127 * largest / 127 * 0x1p-11f);
  }
  std::vector<float> threads(values.size());
  kernel::dequantize(Cpu{}, BlockType::q8_0, file.tensor("q8_0").bytes, std::span(threads));
  CHECK(threads == q8);
  for (const char* name : {"f32", "q8_0"}) {
    const auto whole = read(file, name);
    std::vector<float> part(64);
    file.read_f32(name, 96, part);
    CHECK(part == std::vector<float>(whole.begin() + 96, whole.begin() + 160));
    CHECK_THROWS_WITH(file.read_f32(name, 160, part), Contains(name) && Contains("from value 160"));
    CHECK_THROWS_AS(file.read_f32(name, -32, part), ShapeError);
  }
  std::vector<float> block(32);
  CHECK_THROWS_WITH(file.read_f32("q8_0", 16, block), Contains("blocks of 32"));
  float wrong[4];
  CHECK_THROWS_AS(file.read_f32("f32", wrong), ShapeError);
  CHECK_THROWS_AS(kernel::dequantize(Cpu{}, BlockType::q8_0, file.tensor("q8_0").bytes, std::span<float>(wrong)),
                  ShapeError);
}
TEST_CASE("blocks are written with the bits that ggml gives them", "[io][gguf][known_answer]") {
  const TemporaryFolder folder;
  std::vector<float> values(96);
  for (int i = 0; i < 96; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i * 37 % 64 - 32) / 16;
  const io::GgufTensorToWrite tensors[] = {{"q4_0", {1, 96}, values, BlockType::q4_0},
                                           {"q8_0", {1, 96}, values, BlockType::q8_0}};
  io::write_gguf(folder / "m.gguf", {}, tensors);
  const auto file = io::GgufFile::open(folder / "m.gguf");
  const auto hex = [&](const char* name) {
    std::string text;
    for (const std::byte b : file.tensor(name).bytes)
      for (const int digit : {static_cast<int>(b) >> 4, static_cast<int>(b) & 15}) text += "0123456789abcdef"[digit];
    return text;
  };
  // From gguf-py's quantize().
  CHECK(hex("q4_0") ==
        "003440d973fc952ec851ea731da63fc862fbc033c851fb841da63fd962fb942eb740ea73003440d973fc952ec851ea731da63fc862fb");
  CHECK(hex("q8_0") ==
        "08248114a93cd063f88d20b547dc6f04992cc053e87b10a538cc5ff4891cb143d86b"
        "d023009129ba52e37b0c9e35c75ef08119aa42d36bfc8d25b64edf77089a31c35aec"
        "08248114a93cd063f88d20b547dc6f04992cc053e87b10a538cc5ff4891cb143d86b");
}
TEST_CASE("tensors that cannot be written are named", "[io][gguf][error]") {
  const TemporaryFolder folder;
  const auto values = wave(66);
  const auto write = [&](std::vector<io::GgufTensorToWrite> tensors) { io::write_gguf(folder / "m.gguf", {}, tensors); };
  CHECK_THROWS_WITH(write({{"x", {2, 33}, values, BlockType::q8_0}}), Contains("\"x\": rows of 33"));
  CHECK_THROWS_WITH(write({{"x", {66}, values, BlockType::q4_1}}),
                    Contains("Q4_1 cannot be written; known: F32, F16, BF16, Q4_0, Q8_0"));
  CHECK_THROWS_AS(write({{"x", {65}, values}}), ShapeError);
  CHECK_THROWS_AS(write({{"x", {66}, values}, {"x", {66}, values}}), ConfigError);
}
TEST_CASE("a file cut at any byte is refused", "[io][gguf][error][property]") {
  const TemporaryFolder folder;
  const auto values = wave(32);
  io::GgufMetadata metadata;
  metadata.add("text", "hello");
  metadata.add("list", std::vector<std::string>{"a", "b"});
  const io::GgufTensorToWrite tensors[] = {{"x", {32}, values}};
  io::write_gguf(folder / "m.gguf", metadata, tensors);
  const std::string whole(io::MappedFile(folder / "m.gguf").text());
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    std::ofstream(folder / "cut.gguf", std::ios::binary).write(whole.data(), static_cast<std::streamsize>(cut));
    CHECK_THROWS_AS(io::GgufFile::open(folder / "cut.gguf"), FormatError);
  }
}
TEST_CASE("a file with any byte changed gives tensors or an error, nothing else", "[io][gguf][property]") {
  const TemporaryFolder folder;
  const auto values = wave(64);
  io::GgufMetadata metadata;
  metadata.add("general.alignment", std::uint32_t{32});
  metadata.add("list", std::vector<std::int32_t>{1, 2});
  const io::GgufTensorToWrite tensors[] = {{"x", {32}, std::span(values).first(32)},
                                           {"y", {2, 32}, values, BlockType::q8_0}};
  io::write_gguf(folder / "m.gguf", metadata, tensors);
  const std::string whole(io::MappedFile(folder / "m.gguf").text());
  int accepted = 0;
  for (std::size_t at = 0; at < 260; ++at)
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      std::ofstream(folder / "changed.gguf", std::ios::binary) << changed;
      try {
        const auto file = io::GgufFile::open(folder / "changed.gguf");
        for (const auto& tensor : file.tensors()) read(file, tensor.name);
        ++accepted;
      } catch (const FormatError&) {
      }
    }
  CHECK(accepted > 0);
}
}  // namespace vbon::test
