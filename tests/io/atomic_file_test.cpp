#include "vbon/io/atomic_file.hpp"

#include <sys/resource.h>

#include <csignal>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/jsonl.hpp"

namespace vbon::test {
using Catch::Matchers::Contains;
namespace {
std::string content(const std::filesystem::path& path) { return std::string(io::MappedFile(path).text()); }
std::size_t files_in(const TemporaryFolder& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()));
}
/// Lets no file of this process grow beyond a size, as a full disk would.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};
}  // namespace

TEST_CASE("a file is replaced as a whole, or not at all", "[io][atomic]") {
  const TemporaryFolder folder;
  const auto path = folder / "a.txt";
  io::write_file_atomically(path, "old");
  {
    io::AtomicFile file(path);
    file.write("new");
    CHECK(content(path) == "old");
  }  // abandoned
  CHECK(content(path) == "old");
  CHECK(files_in(folder) == 1);
  const std::string large(200'000, 'x');
  io::AtomicFile file(path);
  file.write("head ");
  file.write(large);
  file.write(" tail");
  file.commit();
  CHECK(content(path) == "head " + large + " tail");
  CHECK(files_in(folder) == 1);
}
TEST_CASE("a full disk is named with the path, the bytes and a remedy, and nothing is lost", "[io][atomic][error]") {
  const TemporaryFolder folder;
  const auto path = folder / "a.txt";
  io::write_file_atomically(path, "old");
  io::JsonlWriter(folder / "rows.jsonl").append(io::Json{{"n", 1}});
  {
    const FullDisk full(100'000);
    try {
      io::write_file_atomically(path, std::string(150'000, 'x'));
      FAIL("the disk was not full");
    } catch (const RunError& error) {
      CHECK(error.code() == "no_space");
      CHECK_THAT(error.what(), Contains(path.string()) && Contains("50000 more bytes") && Contains("free space"));
    }
    io::JsonlWriter rows(folder / "rows.jsonl");
    CHECK_THROWS_AS(rows.append(io::Json(std::string(150'000, 'y'))), RunError);
    CHECK(content(folder / "rows.jsonl") == "{\"n\":1}\n");  // the part was taken back
  }
  CHECK(content(path) == "old");
  CHECK(files_in(folder) == 2);
}
TEST_CASE("what cannot be opened is named", "[io][atomic][error]") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(io::write_file_atomically(folder / "no/such/a.txt", "x"), Contains("no/such/a.txt"));
  CHECK_THROWS_WITH(io::MappedFile(folder / "absent"), Contains("cannot open") && Contains("absent"));
  CHECK_THROWS_WITH(io::MappedFile(folder.path()), Contains("it is a folder"));
  io::write_file_atomically(folder / "file", "x");
  CHECK_THROWS_WITH(io::make_folder(folder / "file/inner"), Contains("cannot create the folder"));
  CHECK_THROWS_AS(io::make_folder(folder / "file"), RunError);
  io::make_folder(folder / "a/b/c");
  CHECK(std::filesystem::is_directory(folder / "a/b/c"));
}
}  // namespace vbon::test
