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
  struct Processor {
    const char *name, *lacks;
    bool wanted;
  };
  for (const auto& [name, lacks, wanted] :
       {Processor{"qemu64", "SSE4.2", XSIMD_WITH_SSE4_2}, Processor{"Nehalem", "AVX", XSIMD_WITH_AVX}}) {
    const auto run = run_program(qemu, {"-cpu", name, VBON_PROGRAM, "--version"});
    INFO(name << ": " << run.err);
    if (wanted) {
      CHECK(run.code == 1);
      check_refused(
          run, "vbon",
          {std::string("compiled for processors with ") + lacks, "build it on this machine", "-march=x86-64 for any"});
    } else {
      CHECK(run.code == 0);
    }
  }
  CHECK(kernel::missing_instruction_set() == nullptr);  // this processor runs this test
  CHECK(vbon({"--version"}).code == 0);
}
}  // namespace vbon::test
