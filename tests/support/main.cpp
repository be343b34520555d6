// The entry point of every Catch2 test program, and the place that turns skipped cases into exit code 77.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"
#include "support/skip.hpp"

int main(int argc, char** argv) {
  const int failed = Catch::Session().run(argc, argv);
  if (failed != 0) return failed;
  for (const auto& reason : vbon::test::skipped()) std::cout << "SKIPPED: " << reason << '\n';
  return vbon::test::skipped().empty() ? 0 : vbon::test::skip_code;
}
