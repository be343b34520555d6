// Skipping by name. A test that lacks its data says so; ctest shows it as skipped, never as passed.
// VBON_REQUIRE_DATA=1 (continuous integration) turns a missing folder into a failure.
#pragma once
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace vbon::test {
inline constexpr int skip_code = 77;  // SKIP_RETURN_CODE of every test

inline std::vector<std::string>& skipped() {
  static std::vector<std::string> reasons;
  return reasons;
}
/// True when missing data must fail instead of skip.
inline bool data_required() {
  const char* value = std::getenv("VBON_REQUIRE_DATA");
  return value != nullptr && std::string_view(value) == "1";
}
/// Notes that a case did not run. The caller returns right after.
inline void skip(std::string reason) { skipped().push_back(std::move(reason)); }
}  // namespace vbon::test
