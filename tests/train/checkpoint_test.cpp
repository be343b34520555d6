#include "vbon/train/checkpoint.hpp"

#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace vbon;
using train::CheckpointStore;

TEST_CASE("a checksum does not tell how the bytes were cut into pieces", "[train][checkpoint]") {
  std::vector<std::byte> bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
  train::detail::Checksum whole;
  whole.add(bytes);
  for (const std::size_t piece : {1u, 7u, 32u, 33u, 999u}) {
    train::detail::Checksum parts;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      parts.add(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    CHECK(parts.value() == whole.value());
  }
  for (const std::size_t flipped : {0u, 500u, 999u}) {
    auto other = bytes;
    other[flipped] ^= std::byte{16};
    train::detail::Checksum changed;
    changed.add(other);
    CHECK(changed.value() != whole.value());
  }
}

TEST_CASE("a checkpoint with arrays of any length is read back, the newest that is whole", "[train][checkpoint]") {
  const auto size = GENERATE(range(1, 18));
  const test::TemporaryFolder folder;
  std::vector<float> first(static_cast<std::size_t>(size)), second(first), third(1);
  const train::CheckpointArrays arrays = {first, second, third};
  CheckpointStore store(folder.path());
  store.reserve(arrays);
  CHECK_FALSE(store.read(arrays).has_value());
  for (const int step : {1, 2}) {
    std::iota(first.begin(), first.end(), static_cast<float>(step));
    std::iota(second.begin(), second.end(), static_cast<float>(10 * step));
    third[0] = static_cast<float>(-step);
    store.write({{"step", step}}, arrays);
  }
  const auto kept_first = first, kept_second = second;
  for (auto* array : {&first, &second, &third}) std::fill(array->begin(), array->end(), 0.0F);
  const auto about = CheckpointStore(folder.path()).read(arrays);
  REQUIRE(about.has_value());
  CHECK(about->at("step") == 2);
  CHECK((first == kept_first && second == kept_second && third[0] == -2));
}

TEST_CASE("a checkpoint of several pieces is written over an older one and read back", "[train][checkpoint]") {
  const test::TemporaryFolder folder;
  std::vector<float> first((std::size_t{20} << 20) + 3), second(std::size_t{6} << 20), kept;  // 104 MiB: pieces are of 32
  const train::CheckpointArrays arrays = {first, second};
  CheckpointStore store(folder.path());
  store.reserve(arrays);
  for (const int step : {1, 2, 3}) {
    std::iota(first.begin(), first.end(), static_cast<float>(step));
    std::iota(second.begin(), second.end(), static_cast<float>(-step));
    store.write({{"step", step}}, arrays);
  }
  kept = first;
  std::fill(first.begin(), first.end(), 0.0F);
  std::fill(second.begin(), second.end(), 0.0F);
  const auto about = CheckpointStore(folder.path()).read(arrays);
  REQUIRE(about.has_value());
  CHECK(about->at("step") == 3);
  CHECK(first == kept);
  CHECK(second.front() == -3);
  CHECK(second[1] == -2);
}
