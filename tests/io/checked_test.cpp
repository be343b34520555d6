#include "vbon/io/checked.hpp"

#include <limits>

#include "support/catch.hpp"
#include "vbon/io/byte_reader.hpp"

namespace vbon::test {
using io::CheckedSize;
constexpr auto largest_size = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("sums and products that leave 64 bits fit no bound", "[io][checked]") {
  CHECK((CheckedSize(3) * 4 + 5).value() == 17);
  CHECK((CheckedSize(largest_size) + 0).fits(largest_size));
  CHECK_FALSE((CheckedSize(largest_size) + 1).fits(largest_size));
  CHECK_FALSE((CheckedSize(std::uint64_t{1} << 33) * (std::uint64_t{1} << 33)).fits(largest_size));
  CHECK_FALSE((CheckedSize(std::uint64_t{1} << 62) * 4 * 4).fits(largest_size));  // the product wraps to 0
}
TEST_CASE("an invalid size stays invalid", "[io][checked]") {
  CHECK_FALSE(((CheckedSize(largest_size) + 1) * 0).valid());
  CHECK_FALSE(CheckedSize(-1).valid());
  CHECK_FALSE((CheckedSize(-1) * -2).valid());  // two mistakes give no size
}
TEST_CASE("alignment rounds up, and near the end of 64 bits not at all", "[io][checked]") {
  CHECK(CheckedSize(33).aligned_to(32).value() == 64);
  CHECK(CheckedSize(64).aligned_to(32).value() == 64);
  CHECK_FALSE(CheckedSize(largest_size).aligned_to(32).valid());
}
TEST_CASE("a reader gives nothing beyond its bytes and names file and byte", "[io][reader][error]") {
  const std::string_view text = "abcdefghij";
  io::ByteReader reader(io::as_bytes(text), "some.bin");
  CHECK(io::as_text(reader.take(3, "a word")) == "abc");
  CHECK(reader.remaining() == 7);
  CHECK_THROWS_WITH(reader.number<std::uint64_t>("the length"),
                    "some.bin: byte 3: the length needs 8 bytes, but the file has only 7 left");
  CHECK_THROWS_AS(reader.take(CheckedSize(largest_size) + 1, "a word"), FormatError);
  CHECK(reader.position() == 3);
  CHECK(reader.number<std::uint8_t>("a byte") == 'd');
}
}  // namespace vbon::test
