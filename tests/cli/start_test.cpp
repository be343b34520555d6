// The program on a processor that lacks what it was compiled for, which an emulator (Debian: qemu-user) stands in for.
#include <filesystem>
#include <xsimd/xsimd.hpp>

#include "cli/support.hpp"
#include "support/skip.hpp"
#include "vbon/kernel/instruction_set.hpp"

namespace vbon::test {
namespace {
/// Empty where there is none.
std::string emulator() {
  std::istringstream folders(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const auto file = std::filesystem::path(folder) / "qemu-x86_64"; std::filesystem::exists(file)) return file.string();
  return "";
}
}  // namespace

TEST_CASE("the program says which instruction set its processor lacks", "[cli][error]") {
  if (sanitized) return skip("start on another processor: an emulator does not run sanitizers");
  const std::string qemu = emulator();
  if (qemu.empty()) return skip("start on another processor: qemu-x86_64 is not installed (Debian: qemu-user)");
  const auto run = run_program(qemu, {"-cpu", "qemu64", VBON_PROGRAM, "--version"});
  INFO(run.err);
  if (XSIMD_WITH_SSE4_2) {
    CHECK(run.code == 1);
    check_refused(run, "vbon", {"compiled for processors with SSE4.2", "build it on this machine", "-march=x86-64 for any"});
  } else {
    CHECK(run.code == 0);
  }
  CHECK(kernel::missing_instruction_set() == nullptr);  // this processor runs this test
  CHECK(vbon({"--version"}).code == 0);
}
}  // namespace vbon::test
