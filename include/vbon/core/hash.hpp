// vbon/core/hash.hpp
//
// A hash of bytes that is the same on every machine and in every version: data splits, cross-validation
// folds and the recognition of a file's content hang on it. FNV-1a with a final mix (splitmix64), not for
// secrets.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace vbon {
constexpr std::uint64_t stable_hash(std::string_view bytes, std::uint64_t seed = 0) {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ seed;
  for (const char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}
/// The same of the bytes of numbers as they lie in memory (little-endian machines agree).
template <class T>
std::uint64_t stable_hash(std::span<const T> values, std::uint64_t seed = 0) {
  return stable_hash(std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes()), seed);
}
}  // namespace vbon
