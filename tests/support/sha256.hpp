// SHA-256 of bytes, as lower-case hex: recorded digests stand for arrays too large to store.
// Source: FIPS 180-4.
#pragma once
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vbon::test {
class Sha256 {
 public:
  Sha256& add(std::span<const std::byte> bytes) {
    bits_ += 8 * static_cast<std::uint64_t>(bytes.size());
    for (; filled_ == 0 && bytes.size() >= 64; bytes = bytes.subspan(64)) compress(bytes.data());
    for (const std::byte b : bytes) put(b);
    return *this;
  }
  std::string hex() {
    const std::uint64_t bits = bits_;
    put(std::byte{0x80});
    while (filled_ != 56) put(std::byte{0});
    for (int i = 7; i >= 0; --i) put(static_cast<std::byte>(bits >> (8 * i)));
    std::string text;
    for (const std::uint32_t word : state_)
      for (int i = 28; i >= 0; i -= 4) text += "0123456789abcdef"[(word >> i) & 15u];
    return text;
  }

 private:
  /// The first 32 bits of the fractional part of a root of the n-th prime; k = 2 or 3.
  static std::array<std::uint32_t, 64> prime_roots(int k) {
    std::array<std::uint32_t, 64> all{};
    std::size_t count = 0;
    for (int n = 2; count < all.size(); ++n) {
      bool prime = true;
      for (int d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      const long double root = k == 2 ? std::sqrt(static_cast<long double>(n)) : std::cbrt(static_cast<long double>(n));
      all[count++] = static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0L);
    }
    return all;
  }
  void put(std::byte b) {
    block_[filled_++] = b;
    if (filled_ < 64) return;
    compress(block_.data());
    filled_ = 0;
  }
  void compress(const std::byte* block) {
    static const auto constant = prime_roots(3);
    std::array<std::uint32_t, 64> w{};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | std::to_integer<std::uint32_t>(block[i]);
    for (std::size_t i = 16; i < 64; ++i) {
      const std::uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
    }
    auto s = state_;
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
      const std::uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
      const std::uint32_t t1 =
          s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) + choice + constant[i] + w[i];
      const std::uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) + majority;
      for (std::size_t j = 7; j > 0; --j) s[j] = s[j - 1];
      s[4] += t1;
      s[0] = t1 + t2;
    }
    for (std::size_t j = 0; j < 8; ++j) state_[j] += s[j];
  }
  static std::array<std::uint32_t, 8> first_state() {
    const auto roots = prime_roots(2);
    std::array<std::uint32_t, 8> state{};
    for (std::size_t i = 0; i < 8; ++i) state[i] = roots[i];
    return state;
  }

  std::array<std::uint32_t, 8> state_ = first_state();
  std::array<std::byte, 64> block_{};
  std::size_t filled_ = 0;
  std::uint64_t bits_ = 0;
};
}  // namespace vbon::test
