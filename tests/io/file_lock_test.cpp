#include "vbon/io/file_lock.hpp"

#include <sys/wait.h>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
io::FileHandle opened(const std::filesystem::path& path) {
  return io::FileHandle(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
}
}  // namespace

TEST_CASE("a lock that is held is refused, one that was given up is not", "[io][lock]") {
  const TemporaryFolder folder;
  const auto second = opened(folder / "lock");
  {
    const auto first = opened(folder / "lock");
    CHECK(io::lock_file(first));
    CHECK_FALSE(io::lock_file(second, std::chrono::milliseconds(20)));
  }
  CHECK(io::lock_file(second, std::chrono::milliseconds(0)));
}

TEST_CASE("a child that has not reached exec yet does not keep a lock for good", "[io][lock]") {
  const TemporaryFolder folder;
  auto first = opened(folder / "lock");
  REQUIRE(io::lock_file(first));
  const pid_t child = ::fork();
  if (child == 0) {
    ::usleep(100'000);
    ::_exit(0);
  }
  first = io::FileHandle();  // the holder is gone; the child has its copy
  const auto second = opened(folder / "lock");
  CHECK_FALSE(io::lock_file(second, std::chrono::milliseconds(0)));
  CHECK(io::lock_file(second, std::chrono::milliseconds(10'000)));
  ::waitpid(child, nullptr, 0);
}
}  // namespace vbon::test
