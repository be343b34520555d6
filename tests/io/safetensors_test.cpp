#include "vbon/io/safetensors.hpp"

#include <fstream>
#include <limits>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/io/write_safetensors.hpp"

namespace vbon::test {
using Catch::Matchers::Contains;
using io::Dtype;
using io::TensorToWrite;
namespace {
std::vector<float> ramp(std::size_t n, float first) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = first + static_cast<float>(i);
  return values;
}
std::vector<float> read(const auto& file, const std::string& name) {
  std::vector<float> values(static_cast<std::size_t>(file.info(name).size));
  file.read_f32(name, std::span(values));
  return values;
}
std::string bytes_of(const std::filesystem::path& path) { return std::string(io::MappedFile(path).text()); }
std::filesystem::path write_raw(const TemporaryFolder& folder, const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::ofstream out(folder / "raw.safetensors", std::ios::binary);
  out << std::string(reinterpret_cast<const char*>(&length), 8) << header << data;
  return folder / "raw.safetensors";
}
}  // namespace

TEST_CASE("what is written is read back, in every type", "[io][safetensors]") {
  const TemporaryFolder folder;
  const auto a = ramp(6, 0.5f), b = ramp(5, -2), scalar = ramp(1, 7);
  const std::int64_t whole[] = {1, -2, std::numeric_limits<std::int64_t>::max()};
  const TensorToWrite tensors[] = {
      {"half", {5}, b, Dtype::f16}, {"b", {2, 3}, a},      {"brain", {3, 2}, a, Dtype::bf16},
      {"scalar", {}, scalar},       {"empty", {0, 4}, {}}, {"ids", {3}, {}, Dtype::i64, std::as_bytes(std::span(whole))}};
  io::write_safetensors(folder / "m.safetensors", tensors);
  const auto file = io::SafetensorsFile::open(folder / "m.safetensors");
  CHECK(file.names() == std::vector<std::string>{"b", "brain", "empty", "half", "ids", "scalar"});
  CHECK(file.metadata().at("format") == "pt");
  CHECK(read(file, "b") == a);
  CHECK(read(file, "brain") == a);
  CHECK(read(file, "half") == b);
  CHECK(read(file, "scalar") == scalar);
  CHECK(read(file, "empty").empty());
  CHECK(file.info("b").shape == std::vector<Index>{2, 3});
  CHECK(file.info("brain").dtype == Dtype::bf16);
  std::int64_t ids[3];
  file.read_i64("ids", ids);
  CHECK(std::equal(ids, ids + 3, whole));
  CHECK(file.view_f32("b").size() == 6);
  CHECK(file.view_f32("half").empty());
  CHECK_THROWS_AS(file.read_i64("b", ids), FormatError);
  CHECK_THROWS_WITH(read(file, "absent"), Contains("m.safetensors") && Contains("no tensor \"absent\""));
  for (const char* name : {"b", "brain"}) {
    float part[3];
    file.read_f32(name, 2, std::span<float>(part));
    CHECK(std::equal(part, part + 3, a.begin() + 2));
    CHECK_THROWS_WITH(file.read_f32(name, 4, std::span<float>(part)), Contains(name) && Contains("from value 4"));
    CHECK_THROWS_AS(file.read_f32(name, -1, std::span<float>(part)), ShapeError);
  }
  float wrong[4];
  CHECK_THROWS_AS(file.read_f32("b", std::span<float>(wrong)), ShapeError);
}
TEST_CASE("the same tensors give the same bytes in any order", "[io][safetensors]") {
  const TemporaryFolder folder;
  const auto a = ramp(6, 1);
  const TensorToWrite one[] = {{"x", {6}, a}, {"y", {6}, a, Dtype::f16}, {"w", {2, 3}, a}};
  const TensorToWrite two[] = {one[2], one[1], one[0]};
  io::write_safetensors(folder / "1", one);
  io::write_safetensors(folder / "2", two);
  CHECK(bytes_of(folder / "1") == bytes_of(folder / "2"));
}
TEST_CASE("values that are made when their turn comes give the same file", "[io][safetensors]") {
  const TemporaryFolder folder;
  const auto a = ramp(6, 1);
  const auto make = [&](std::span<float> out) { std::copy(a.begin(), a.end(), out.begin()); };
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    const TensorToWrite there[] = {{"x", {2, 3}, a, dtype}};
    const TensorToWrite made[] = {{.name = "x", .shape = {2, 3}, .dtype = dtype, .make = make}};
    io::write_safetensors(folder / "there", there);
    io::write_safetensors(folder / "made", made);
    CHECK(bytes_of(folder / "there") == bytes_of(folder / "made"));
  }
  const TensorToWrite both[] = {{.name = "x", .shape = {2, 3}, .values = a, .make = make}};
  CHECK_THROWS_AS(io::write_safetensors(folder / "both", both), ShapeError);
}
TEST_CASE("a large model is written in shards with an index, and read as one", "[io][safetensors]") {
  const TemporaryFolder folder;
  std::vector<std::vector<float>> values;
  std::vector<TensorToWrite> tensors;
  for (int i = 0; i < 7; ++i) values.push_back(ramp(10, static_cast<float>(100 * i)));
  for (std::size_t i = 0; i < 7; ++i) tensors.push_back({"t" + std::to_string(i), {10}, values[i]});
  io::write_safetensors_folder(folder.path(), tensors);
  CHECK(io::ShardedSafetensors::open(folder.path()).shard_count() == 1);
  io::write_safetensors_folder(folder.path(), tensors, 90);
  const auto all = io::ShardedSafetensors::open(folder.path());
  CHECK(all.shard_count() == 4);
  CHECK(all.names().size() == 7);
  for (std::size_t i = 0; i < 7; ++i) CHECK(read(all, "t" + std::to_string(i)) == values[i]);
  CHECK_THROWS_AS(all.info("t7"), FormatError);
  const TemporaryFolder empty;
  CHECK_THROWS_WITH(io::ShardedSafetensors::open(empty.path()), Contains("model.safetensors.index.json was expected"));
}
TEST_CASE("tensors that cannot be written to safetensors are named", "[io][safetensors][error]") {
  const TemporaryFolder folder;
  const auto a = ramp(6, 1);
  const auto write = [&](std::vector<TensorToWrite> tensors) { io::write_safetensors(folder / "m", tensors); };
  CHECK_THROWS_AS(write({{"x", {7}, a}}), ShapeError);
  CHECK_THROWS_AS(write({{"x", {-2, -3}, a}}), ShapeError);
  CHECK_THROWS_WITH(write({{"x", {6}, a, Dtype::i32}}), Contains("\"x\"") && Contains("not as I32"));
  CHECK_THROWS_WITH(write({{"x", {6}, a}, {"x", {6}, a}}), Contains("two tensors are named \"x\""));
  CHECK_FALSE(std::filesystem::exists(folder / "m"));
}
TEST_CASE("a header that lies is refused by tensor", "[io][safetensors][error]") {
  const TemporaryFolder folder;
  const auto open = [&](const std::string& header, std::size_t bytes) {
    io::SafetensorsFile::open(write_raw(folder, header, std::string(bytes, '\0')));
  };
  CHECK_THROWS_WITH(open(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}})", 12),
                    Contains("tensor \"a\"") && Contains("does not fill"));
  CHECK_THROWS_WITH(open(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4), Contains("leave the 4 bytes"));
  CHECK_THROWS_WITH(open(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), Contains("tensor \"a\""));
  CHECK_THROWS_WITH(
      open(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
           12),
      Contains("tensor \"b\" begins at data byte 8"));
  CHECK_THROWS_WITH(open(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 6),
                    Contains("data byte 4: 2 bytes belong to no tensor"));
  CHECK_THROWS_WITH(open(R"({"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}})", 4), Contains("unknown dtype \"Q7\""));
  CHECK_THROWS_WITH(open(R"([1])", 0), Contains("byte 8"));
}
}  // namespace vbon::test
