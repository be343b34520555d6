#include "vbon/io/mapped_file.hpp"

#include <fstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
namespace {
std::string refusal(const std::filesystem::path& path) {
  try {
    const io::MappedFile file(path);
  } catch (const RunError& error) {
    return error.what();
  }
  return "";
}
}  // namespace

TEST_CASE("a file is mapped whole, an empty one too", "[io][mapped]") {
  const TemporaryFolder folder;
  std::ofstream(folder / "a") << "text";
  std::ofstream(folder / "b") << "";
  CHECK(io::MappedFile(folder / "a").text() == "text");
  CHECK(io::MappedFile(folder / "b").text().empty());
}

TEST_CASE("what is no file is refused by name, without waiting for a writer", "[io][mapped][error]") {
  using Catch::Matchers::Contains;
  const TemporaryFolder folder;
  const auto pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THAT(refusal(pipe), Contains(pipe.string()) && Contains("is no regular file"));
  CHECK_THAT(refusal("/dev/null"), Contains("/dev/null") && Contains("is no regular file"));
  CHECK_THAT(refusal(folder.path()), Contains("is a folder"));
  CHECK_THAT(refusal(folder / "absent"), Contains("cannot open"));
}
}  // namespace vbon::test
