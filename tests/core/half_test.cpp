#include "vbon/core/half.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"

namespace vbon::test {
TEST_CASE("every half and bfloat16 survives a float", "[core][half][property]") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto b = static_cast<std::uint16_t>(bits);
    if (std::isnan(half_to_float(b)))
      CHECK(std::isnan(half_to_float(float_to_half(half_to_float(b)))));
    else if (float_to_half(half_to_float(b)) != b)
      FAIL("half " << bits);
    if (std::isnan(bfloat16_to_float(b)))
      CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(bfloat16_to_float(b)))));
    else if (float_to_bfloat16(bfloat16_to_float(b)) != b)
      FAIL("bfloat16 " << bits);
  }
}
TEST_CASE("between two neighbours the nearer is taken, and the even one of a tie", "[core][half][property]") {
  for (unsigned bits = 0; bits + 1 < 0x7c00; ++bits) {
    const float low = half_to_float(static_cast<std::uint16_t>(bits)),
                high = half_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    const bool ok = float_to_half(middle) == even && float_to_half(std::nextafter(middle, low)) == bits &&
                    float_to_half(std::nextafter(middle, high)) == bits + 1 && float_to_half(-middle) == (even | 0x8000u);
    if (!ok) FAIL("half " << bits);
  }
}
TEST_CASE("the largest numbers become infinite where they round past the range", "[core][half]") {
  CHECK(float_to_half(65519.0f) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(float_to_half(std::numeric_limits<float>::max()) == 0x7c00);
  CHECK(float_to_half(-std::numeric_limits<float>::infinity()) == 0xfc00);
  CHECK(float_to_bfloat16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(float_to_half(0x1p-26f) == 0);
}
}  // namespace vbon::test
