// The message of the error that an action must end with.
#pragma once
#include <string>

#include "support/catch.hpp"
#include "vbon/core/error.hpp"

namespace vbon::test {
template <class Kind = Error, class F>
std::string failure(const F& f) {
  try {
    f();
  } catch (const Kind& error) {
    return error.what();
  }
  FAIL("an error was expected");
  return {};
}
}  // namespace vbon::test
